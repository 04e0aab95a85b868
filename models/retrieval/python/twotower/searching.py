"""What can be asked of a model, by a Session or by the Model itself."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _library as c
from ._handle import Handle, Unpicklable
from .errors import ArgumentError
from .inputs import Ids, Items, Users, Where, encoded, items_of, size, texts, users_of
from .results import Results

Floats = npt.NDArray[np.float32]


class Core:
    """A model as those share it that ask it."""

    def __init__(self, handle: Handle, dimension: int) -> None:
        self.handle, self.dimension = handle, dimension


class Filter(Unpicklable):
    """Which items may be returned, made by Model.filter(): once, for any number of calls on any threads.

    It follows the items: one that is added later passes if it fits. Items that are not on offer never pass. Close it,
    or leave it to the garbage collector.
    """

    def __init__(self, core: Core, where: Where | None, allow: Ids | None, exclude: Ids | None) -> None:
        conditions = []
        for column, values in (where or {}).items():
            array = texts(values, f"a value of {column!r}")
            conditions.append(c.Condition(encoded(column, "a column"), array, len(array)))
        options = c.FilterOptions(ctypes.sizeof(c.FilterOptions))
        if allow is not None:
            allowed = texts(allow, "an id in allow")
            options.allowed, options.num_allowed = allowed, len(allowed)  # not NULL where nothing is allowed
        if exclude is not None:
            excluded = texts(exclude, "an id in exclude")
            options.excluded, options.num_excluded = excluded, len(excluded)
        if conditions:
            options.conditions = (c.Condition * len(conditions))(*conditions)
            options.num_conditions = len(conditions)
        out = ctypes.c_void_p()
        with core.handle as model:
            c.check(c.native().tt_filter_open(model, ctypes.byref(options), ctypes.byref(out)))
            self._handle = Handle("filter", out.value or 0, c.native().tt_filter_close, *core.handle.kept)
        self._handle.close_with(self)

    def close(self) -> None:
        """Closing twice does no harm; a call that uses it goes on to its end."""
        self._handle.close()

    def __enter__(self) -> Filter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def as_vectors(vectors: npt.ArrayLike, dimension: int) -> Floats:
    """[n, dimension] float32, C-contiguous: the same memory where it is that already, else a copy."""
    array = np.asarray(vectors)
    if not np.can_cast(array.dtype, np.float32, "same_kind"):
        raise TypeError(f"vectors are {array.dtype}; give floats")
    array = np.require(array, np.float32, ("C", "A"))
    if array.ndim == 1:
        array = array[np.newaxis, :]
    if array.ndim != 2 or array.shape[1] != dimension:
        raise ArgumentError(f"[vectors] their shape is {np.shape(vectors)}; the model wants [n, {dimension}]")
    return array


def _buffer(out: Floats | None, n: int, dimension: int) -> Floats:
    if out is None:
        return np.empty((n, dimension), np.float32)
    if not isinstance(out, np.ndarray) or out.dtype != np.float32 or not out.dtype.isnative:
        raise ArgumentError("[out] give an array of float32")
    if out.shape != (n, dimension):
        raise ArgumentError(f"[out] its shape is {out.shape}; {n} vectors want [{n}, {dimension}]")
    if not (out.flags.c_contiguous and out.flags.aligned and out.flags.writeable):
        raise ArgumentError("[out] give an array that is C-contiguous and may be written")
    return out


class Searching(Unpicklable):
    """What can be asked of a model. A call runs without the interpreter's lock."""

    _core: Core

    def _session(self) -> Handle:
        raise NotImplementedError

    def recommend(self, users: Users, k: int = 10, *, filter: Filter | None = None, where: Where | None = None,
                  allow: Ids | None = None, exclude: Ids | None = None, candidates: int = 0,
                  include_seen: bool = False, rerank: bool = True) -> Results:
        """The k best items of each user, of those on offer that the user has not seen; fewer where fewer are left.

        users: an id or a User, or several. Which items may come: those whose columns have one of the values of `where`,
        that are among `allow` and not among `exclude`; or what a Filter says, which is faster where many calls want the
        same. candidates: how many the light ranker puts in order, 0: as many as the model says. include_seen: items
        that the user was shown, or has in the history, may come, too. rerank=False leaves the light ranker out.

        Raises NotFoundError for a user, a feature's name, a column or a value that the model does not have,
        ArgumentError for k = 0 or k above the candidates, UnsupportedError for ids in a bundle without users.
        """
        given = users_of(users)
        options = c.QueryOptions(ctypes.sizeof(c.QueryOptions), None, size(candidates, "candidates"), bool(include_seen),
                            not rerank)
        lib, most = c.native(), size(k, "k")

        def call(session: int, out: Any) -> Any:
            return lib.tt_recommend(session, given, len(given), most, ctypes.byref(options), out)

        return self._find(call, options, filter, where, allow, exclude)

    def search(self, vectors: npt.ArrayLike, k: int = 10, *, filter: Filter | None = None,
               where: Where | None = None, allow: Ids | None = None, exclude: Ids | None = None) -> Results:
        """The k items of highest inner product with each vector.

        vectors: [n, dimension], or one [dimension]. A C-contiguous array of float32 is read where it is; others are
        converted first. The items that may come are chosen as in recommend(). Raises ArgumentError for NaN and
        infinities.
        """
        array = as_vectors(vectors, self._core.dimension)
        options = c.QueryOptions(ctypes.sizeof(c.QueryOptions))
        lib, most = c.native(), size(k, "k")

        def call(session: int, out: Any) -> Any:
            return lib.tt_search(session, array.ctypes.data, len(array), array.shape[1], most, ctypes.byref(options),
                                 out)

        return self._find(call, options, filter, where, allow, exclude)

    def score(self, users: Users, items: Ids, *, user_of: npt.ArrayLike | None = None, rerank: bool = True) -> Floats:
        """The scores by which recommend() orders, one for each of `items`: float32 [pairs].

        Pair p is of items[p] and the one user; or, of several, user p; or users[user_of[p]]. Items need not be on
        offer.
        """
        given, ids = users_of(users), texts(items, "an item's id")
        which = None
        if user_of is not None:
            which = np.asarray(user_of)
            if which.shape != (len(ids),) or not np.issubdtype(which.dtype, np.integer) or (which < 0).any():
                raise ArgumentError(f"[user_of] give the number of a user for each of the {len(ids)} items")
            which = np.require(which, np.uintp, ("C", "A"))
        options = c.QueryOptions(ctypes.sizeof(c.QueryOptions), None, 0, 0, not rerank)
        out = np.empty(len(ids), np.float32)
        with _Alone(self._session()) as session:
            c.check(c.native().tt_score(session, given, len(given), None if which is None else which.ctypes.data, ids,
                                         len(ids), ctypes.byref(options), out.ctypes.data))
        return out

    def embed_users(self, users: Users, out: Floats | None = None) -> Floats:
        """The users' vectors, float32 [n, dimension].

        They are written into `out` itself if it is given: a C-contiguous float32 array of that shape, a part of a
        larger one or a np.memmap as well. What is in it after an error is not defined.
        """
        given = users_of(users)
        return self._embed(c.native().tt_embed_users, given, out)

    def embed_items(self, items: Items, out: Floats | None = None) -> Floats:
        """The items' vectors, float32 [n, dimension]: of an id the catalog's, of an Item without an id what the model
        makes of its features. out: as in embed_users()."""
        given = items_of(items)
        return self._embed(c.native().tt_embed_items, given, out)

    def _embed(self, function: Callable[..., int], given: Any, out: Floats | None) -> Floats:
        vectors = _buffer(out, len(given), self._core.dimension)
        with _Alone(self._session()) as session:
            c.check(function(session, given, len(given), vectors.ctypes.data, vectors.size))
        return vectors

    def _find(self, call: Callable[[int, Any], Any], options: c.QueryOptions, filter: Filter | None, where: Where | None,
              allow: Ids | None, exclude: Ids | None) -> Results:
        passing = None
        if where is not None or allow is not None or exclude is not None:
            if filter is not None:
                raise ArgumentError("[filter] give a filter, or where, allow and exclude, not both")
            filter = passing = Filter(self._core, where, allow, exclude)
        try:
            if filter is None:
                return self._answer(call)
            if not isinstance(filter, Filter):
                raise TypeError(f"a filter is made by Model.filter(), not a {type(filter).__name__}")
            with filter._handle as options.filter:
                return self._answer(call)
        finally:
            if passing is not None:
                passing.close()

    def _answer(self, call: Callable[[int, Any], Any]) -> Results:
        out = ctypes.POINTER(c.Results)()
        with _Alone(self._session()) as session:  # until the answers are copied
            c.check(call(session, ctypes.byref(out)))
            return Results(out.contents)


class _Alone:
    """A call, or several, that no other thread's may come between."""

    def __init__(self, handle: Handle) -> None:
        self._handle = handle

    def __enter__(self) -> int:
        return self._handle.begin(alone=True)

    def __exit__(self, *_: object) -> None:
        self._handle.end()


class Session(Searching):
    """What one thread needs to ask a model, made by Model.session(); a Model keeps one a thread by itself.

    It outlives the model it was made of. A call while another thread's runs raises BusyError.
    """

    def __init__(self, core: Core, threads: int = 1) -> None:
        options = c.SessionOptions(ctypes.sizeof(c.SessionOptions), min(size(threads, "threads"), 2**31 - 1))
        out = ctypes.c_void_p()
        with core.handle as model:
            c.check(c.native().tt_session_open(model, ctypes.byref(options), ctypes.byref(out)))
            self._handle = Handle("session", out.value or 0, c.native().tt_session_close, *core.handle.kept)
        self._core = core
        self._handle.close_with(self)

    def _session(self) -> Handle:
        return self._handle

    def close(self) -> None:
        """Closing twice does no harm; a call that runs goes on to its end."""
        self._handle.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
