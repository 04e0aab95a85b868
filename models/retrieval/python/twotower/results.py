"""What a model answers."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
from typing import Any, NamedTuple, Union, overload

import numpy as np
import numpy.typing as npt

from .inputs import decoded


class Hit(NamedTuple):
    """An item that was found. title is its name for people, "" where the model has none."""

    id: str
    score: float
    title: str


class Results(Sequence[list[Hit]]):
    """The answers to some users or vectors, best first: results[q] is a list of Hits.

    All is a copy that stays as it is, whatever becomes of the model.
    """

    #: [queries, k] float32: inner products or, with a light ranker, its values; -inf beyond counts[q].
    scores: npt.NDArray[np.float32]
    #: [queries] how many items each has; fewer than k where fewer are left.
    counts: npt.NDArray[np.intp]
    #: ids[q]: counts[q] of them.
    ids: list[list[str]]
    #: Values of features that the model cannot read, of all users together.
    unknown_values: int
    #: Ids in histories and exclude that it does not have.
    unknown_items: int

    def __init__(self, answered: Any) -> None:
        """Copies a tt_results, which is valid until its session's next call."""
        queries, k = answered.queries, answered.k
        places = queries * k
        self.scores = np.empty((queries, k), np.float32)
        ctypes.memmove(self.scores.ctypes.data, answered.scores, self.scores.nbytes)
        counts = answered.counts[:queries]
        self.counts = np.array(counts, np.intp)
        self.unknown_values, self.unknown_items = answered.unknown_values, answered.unknown_items
        ids = answered.ids[:places]
        self.ids = [[decoded(text) for text in ids[q * k:q * k + n]] for q, n in enumerate(counts)]
        self._titles = [answered.titles[q * k:q * k + n] for q, n in enumerate(counts)]

    @functools.cached_property
    def titles(self) -> list[list[str]]:
        """titles[q]: names for people, beside ids[q]; "" where there are none."""
        return [[decoded(text) for text in row] for row in self._titles]

    def __len__(self) -> int:
        return len(self.ids)

    @overload
    def __getitem__(self, q: int) -> list[Hit]: ...

    @overload
    def __getitem__(self, q: slice) -> list[list[Hit]]: ...

    def __getitem__(self, q: Union[int, slice]) -> Union[list[Hit], list[list[Hit]]]:
        if isinstance(q, slice):
            return [self[i] for i in range(*q.indices(len(self)))]
        return [Hit(*hit) for hit in zip(self.ids[q], self.scores[q].tolist(), self.titles[q])]

    def __repr__(self) -> str:
        return f"<twotower.Results of {len(self)} queries, {int(self.counts.sum())} items>"
