"""A bundle, opened."""

from __future__ import annotations

import ctypes
import dataclasses
import logging
import os
import threading
import weakref
from collections.abc import Callable, Mapping
from typing import Any, Union

import numpy as np

from . import _library as c
from ._handle import Handle, guard
from .errors import ArgumentError, FileError, FileMissingError, HandleError
from .inputs import Ids, Item, Items, Value, Where, decoded, items_of, texts
from .searching import Core, Filter, Searching, Session

#: A bundle's path (a str or os.PathLike), or its bytes: whatever has a buffer, such as bytes, mmap or a numpy array.
Source = Union[str, "os.PathLike[str]", bytes, bytearray, memoryview, Any]
#: Gets a level of the module logging and a line: logging.getLogger("twotower").log, for one.
Log = Callable[[int, str], object]
#: Items to add or replace: Items with ids and features, or {id: {name: value}}.
Described = Union[Items, Mapping[str, Mapping[str, Value]]]

_LEVELS = {1: logging.INFO, 2: logging.WARNING, 3: logging.ERROR}


@dataclasses.dataclass(frozen=True)
class Info:
    """What a model is, and its items as they are now."""

    dimension: int  #: floats of a user's or an item's vector
    items: int  #: in the catalog, on offer or not
    items_available: int  #: of these, on offer
    users: int  #: known by id; 0 in a bundle without users
    history_length: int  #: how many items of a history are read, the newest; 0: none
    candidates: int  #: how many the light ranker puts in order; 0: there is none
    adds_items: bool  #: items can be added from their features


class Model(Searching):
    """A bundle, and its items as they are now; made by twotower.open().

    Any thread may use it at any time: each gets a session of its own on its first call. Use it in a `with`, or close
    it, or leave it to the garbage collector.
    """

    def __init__(self, source: Source, *, verify: bool = False, copy: bool = False, threads: int = 1,
                 log: Log | None = None) -> None:
        options = c.OpenOptions(ctypes.sizeof(c.OpenOptions), bool(verify), bool(copy))
        kept: list[object] = []
        if log is not None:
            options.log = _log_function(log)
            kept.append(options.log)
        out = ctypes.c_void_p()
        if isinstance(source, (str, os.PathLike)):
            status = c.native().tt_model_open(_path(source), ctypes.byref(options), ctypes.byref(out))
            _check_file(status, os.fspath(source))
        else:
            data, nbytes = _bytes_of(source)
            c.check(c.native().tt_model_open_memory(data.ctypes.data, nbytes, ctypes.byref(options),
                                                     ctypes.byref(out)))
            if not copy:
                kept.append(data)
        handle = Handle("model", out.value or 0, c.native().tt_model_close, *kept)
        handle.close_with(self)
        self._core = Core(handle, 0)
        self._core.dimension = self.info.dimension
        self._threads = threads
        self._own = threading.local()
        self._sessions: weakref.WeakSet[Session] = weakref.WeakSet()

    # ---- What it is

    @property
    def info(self) -> Info:
        """Numbers of the model and of its items as they are now."""
        out = c.Info(ctypes.sizeof(c.Info))
        with self._core.handle as model:
            c.check(c.native().tt_model_info(model, ctypes.byref(out)))
        return Info(out.dimension, out.items, out.items_available, out.users, out.history_length, out.candidates,
                    bool(out.adds_items))

    @property
    def dimension(self) -> int:
        """Floats of a user's or an item's vector."""
        return self._core.dimension

    @property
    def user_features(self) -> tuple[str, ...]:
        """The names of the features that a user can be described by."""
        return self._names(c.native().tt_model_user_feature)

    @property
    def item_features(self) -> tuple[str, ...]:
        """The names of the features that an item can be described by."""
        return self._names(c.native().tt_model_item_feature)

    @property
    def filter_columns(self) -> tuple[str, ...]:
        """The names of the columns that `where` can ask for."""
        return self._names(c.native().tt_model_filter_column)

    def _names(self, name_of: Callable[[int, int], bytes | None]) -> tuple[str, ...]:
        names: list[str] = []
        with self._core.handle as model:
            while (name := name_of(model, len(names))) is not None:
                names.append(decoded(name))
        return tuple(names)

    # ---- Asking

    def session(self, threads: int = 1) -> Session:
        """A session for one thread at a time, whose calls may run on so many threads; answers have the same bits."""
        return Session(self._core, threads)

    def filter(self, *, where: Where | None = None, allow: Ids | None = None, exclude: Ids | None = None) -> Filter:
        """Items whose columns have one of these values, that are among `allow` and not among `exclude`.

        Ids that the model does not have match nothing; a column or value that no item has raises NotFoundError.
        """
        return Filter(self._core, where, allow, exclude)

    def _session(self) -> Handle:
        session: Session | None = getattr(self._own, "session", None)
        if session is None:
            session = self._own.session = Session(self._core, self._threads)
            with guard:
                self._sessions.add(session)
        if self._core.handle.closed:  # also where it was closed just now, unaware of this session
            session.close()
            raise HandleError("[model] it is closed; open another")
        return session._handle

    # ---- Items that come, change and go. All are changed or, on an error, none; calls that run see them as they were.

    def add(self, items: Described) -> int:
        """New items from their features, on offer at once. Returns how many values are not known and count as missing.

        items: Items with an id and features, or {id: {name: value}}. Features may be columns of filters that the model
        does not read, too. An item that training has met has what was learnt of it. Raises ExistsError for an id that
        is there, UnsupportedError where the model has no item features.
        """
        return self._put(c.native().tt_model_add_items, items)

    def replace(self, items: Described) -> int:
        """The same for items that are there: they get new features. Raises NotFoundError for one that is not."""
        return self._put(c.native().tt_model_replace_items, items)

    def remove(self, ids: Ids) -> None:
        """Takes items out of the catalog. Raises NotFoundError for one that is not there."""
        array = texts(ids, "an item's id")
        with self._core.handle as model:
            c.check(c.native().tt_model_remove_items(model, array, len(array)))

    def set_available(self, ids: Ids, available: bool) -> None:
        """Takes items off the offer, or puts them back. One off the offer is found by no call, and can be scored."""
        array = texts(ids, "an item's id")
        with self._core.handle as model:
            c.check(c.native().tt_model_set_available(model, array, len(array), bool(available)))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes a bundle with the items as they are now: the file is the old one or the whole new one."""
        with self._core.handle as model:
            _check_file(c.native().tt_model_save(model, _path(path)), os.path.dirname(os.path.abspath(path)))

    def _put(self, function: Callable[..., int], items: Described) -> int:
        if isinstance(items, Mapping):
            items = [Item(id, features) for id, features in items.items()]
        given, unknown = items_of(items), ctypes.c_size_t()
        with self._core.handle as model:
            c.check(function(model, given, len(given), ctypes.byref(unknown)))
        return unknown.value

    # ---- Its end

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._core.handle.closed

    def close(self) -> None:
        """Closes the model and the sessions that it keeps. Closing twice does no harm, calls that run go on to their
        end, and what session() and filter() made stays open."""
        self._core.handle.close()
        with guard:
            sessions = list(self._sessions)
        for session in sessions:
            session.close()

    def __enter__(self) -> Model:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        if self.closed:
            return "<twotower.Model, closed>"
        info = self.info
        return f"<twotower.Model of {info.users} users and {info.items} items, {info.dimension} floats each>"


def _log_function(log: Log) -> Any:
    def tell(_: object, level: int, text: bytes) -> None:  # what it raises, sys.unraisablehook gets
        log(_LEVELS.get(level, level), decoded(text))

    return c.LogFunction(tell)


def _bytes_of(source: Any) -> tuple[Any, int]:
    """A bundle in memory, where it is: an array that holds on to it."""
    try:
        view = memoryview(source)
    except TypeError:
        raise TypeError(f"a bundle is a path or bytes, not a {type(source).__name__}") from None
    if not view.c_contiguous:
        raise ArgumentError("[bundle] its bytes do not lie side by side; give a contiguous buffer")
    if view.nbytes == 0:
        return np.zeros(1, np.uint8), 0
    return np.frombuffer(view, np.uint8), view.nbytes


def _path(path: str | os.PathLike[str]) -> bytes:
    out = os.fsencode(path)
    if b"\0" in out:
        raise ArgumentError(f"the path {path!r} holds a zero byte; leave it out")
    return out


def _check_file(status: int, needed: str) -> None:
    """check(), of a call that needs this file or folder to be there."""
    try:
        c.check(status)
    except FileError as error:
        try:
            os.stat(needed)
        except FileNotFoundError:
            raise FileMissingError(str(error)) from None
        except OSError:
            pass
        raise


def open(source: Source, *, verify: bool = False, copy: bool = False, threads: int = 1,
         log: Log | None = None) -> Model:
    """Opens a bundle.

    source: its path, or its bytes, which are borrowed: the model keeps a reference, and they must not change before it
    is closed; best aligned to 64 bytes. copy=True copies them. verify=True reads all of it and refuses one of which any
    byte was changed. threads: so many may work on a call of the sessions that the model keeps itself. log: gets a level
    of the module logging and a line, such as logging.getLogger("twotower").log.

    Raises FileError or FileMissingError, CorruptError, OutOfMemoryError; LibraryError where libtwotower-c is not there.
    """
    return Model(source, verify=verify, copy=copy, threads=threads, log=log)
