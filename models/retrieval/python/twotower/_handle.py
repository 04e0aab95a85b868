"""Handles of the library that no call outlives, on whatever thread they are closed."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable

from .errors import BusyError, HandleError

# Held for a few instructions at a time. It may be taken again by its thread: a collection of garbage closes handles
# wherever it happens to run. A child of fork() gets it free.
guard = threading.RLock()
os.register_at_fork(before=guard.acquire, after_in_parent=guard.release, after_in_child=guard.release)


class Handle:
    """What a tt_..._open() made. Closing waits for nobody: the last call that runs on it does it."""

    def __init__(self, kind: str, value: int, close: Callable[[int], object], *keep: object) -> None:
        self._kind, self._value, self._close = kind, value, close
        self._keep: tuple[object, ...] = keep  # what the library borrows for as long
        self._calls = 0
        self._closed = False

    def begin(self, alone: bool = False) -> int:
        """Begins a call, or several that need the handle for themselves; end() must follow."""
        with guard:
            if self._closed:
                raise HandleError(f"[{self._kind}] it is closed; open another")
            if alone and self._calls > 0:
                raise BusyError(f"[{self._kind}] it is in a call already; give each thread one of its own")
            self._calls += 1
        return self._value

    def end(self) -> None:
        with guard:
            self._calls -= 1
            last = self._closed and self._calls == 0
        if last:
            self._release()

    def close(self) -> None:
        with guard:
            if self._closed:
                return
            self._closed = True
            idle = self._calls == 0
        if idle:
            self._release()

    def close_with(self, owner: object) -> None:
        """Closes it when the owner is gone, or Python ends."""
        weakref.finalize(owner, self.close)

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def kept(self) -> tuple[object, ...]:
        """For handles made of this one, which the library may need as long as them. To be read during a call."""
        return self._keep

    def __enter__(self) -> int:
        return self.begin()

    def __exit__(self, *_: object) -> None:
        self.end()

    def _release(self) -> None:
        self._close(self._value)
        self._keep = ()


class Unpicklable:
    """Of objects that stand for memory of this process."""

    def __reduce_ex__(self, protocol: object) -> tuple[object, ...]:
        raise TypeError(f"a twotower.{type(self).__name__} cannot be pickled or copied; open the bundle in each "
                        "process, or fork after it was opened")
