"""Users and items in words, and how what Python says becomes what C reads."""

from __future__ import annotations

import ctypes
import dataclasses
import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Union

from . import _library as c
from .errors import ArgumentError

#: A feature's value as in the data: text or a number; several categories of a set; None: missing.
Value = Union[str, float, Iterable[str], None]


@dataclasses.dataclass(frozen=True)
class User:
    """A user by id, or one in words: features by the names of the raw data's columns, and a history.

    history holds item ids, newest first. exclude: ids that shall not be returned, on top of what the user has seen.
    With an id there can be no features and no history. What is not named is missing.
    """

    id: str | None = None
    features: Mapping[str, Value] = dataclasses.field(default_factory=dict)
    history: Sequence[str] = ()
    exclude: Sequence[str] = ()


@dataclasses.dataclass(frozen=True)
class Item:
    """An item by id, or one in words; to add or replace one takes both."""

    id: str | None = None
    features: Mapping[str, Value] = dataclasses.field(default_factory=dict)


#: One user, or several; an id is a str.
Users = Union[str, User, Iterable[Union[str, User]]]
#: One item, or several; an id is a str.
Items = Union[str, Item, Iterable[Union[str, Item]]]
#: One id, or several.
Ids = Union[str, Iterable[str]]
#: Which values each column may have: {"genre": ["Drama", "Comedy"]}.
Where = Mapping[str, Ids]


def encoded(text: str, what: str) -> bytes:
    """As C reads it. Bytes that are no UTF-8 come and go as surrogates, as os.fsdecode() has it."""
    if not isinstance(text, str):
        raise TypeError(f"{what} is a {type(text).__name__}; give a str")
    try:
        out = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise ArgumentError(f"{what} {text!r} is no text: {error.reason}") from None
    if b"\0" in out:
        raise ArgumentError(f"{what} {text!r} holds a zero byte; leave it out")
    return out


def decoded(text: bytes) -> str:
    return text.decode("utf-8", "surrogateescape")


def size(value: int, what: str) -> int:
    """A number that fits a size_t, which ctypes would cut to size without a word."""
    number = operator.index(value)
    if not 0 <= number < 2**64:
        raise ArgumentError(f"{what} = {number}; give a number from 0 to 2^64 - 1")
    return number


def texts(ids: Ids, what: str) -> Any:
    """An array of pointers that keeps what they point to."""
    all_of_them = [encoded(text, what) for text in ((ids,) if isinstance(ids, str) else ids)]
    return (ctypes.c_char_p * len(all_of_them))(*all_of_them)


def _value(value: Value, name: str) -> bytes:
    if value is None:
        return b""
    if isinstance(value, str):
        text = value
    elif isinstance(value, Iterable) and not isinstance(value, (bytes, bytearray)):
        text = "|".join(value)
    else:
        text = str(value)
    return encoded(text, f"the value of {name!r}")


def _features(features: Mapping[str, Value]) -> Any:
    rows = [c.Feature(encoded(name, "a feature's name"), _value(value, name)) for name, value in features.items()]
    return (c.Feature * len(rows))(*rows)


_USER, _ITEM = ctypes.sizeof(c.User), ctypes.sizeof(c.Item)


def _user(user: str | User) -> c.User:
    if isinstance(user, str):
        return c.User(_USER, encoded(user, "a user's id"))
    if not isinstance(user, User):
        raise TypeError(f"a user is an id (str) or a twotower.User, not a {type(user).__name__}")
    features = _features(user.features)
    history, exclude = texts(user.history, "an id in history"), texts(user.exclude, "an id in exclude")
    return c.User(_USER, None if user.id is None else encoded(user.id, "a user's id"), features, len(features), history,
                  len(history), exclude, len(exclude))


def _item(item: str | Item) -> c.Item:
    if isinstance(item, str):
        return c.Item(_ITEM, encoded(item, "an item's id"))
    if not isinstance(item, Item):
        raise TypeError(f"an item is an id (str) or a twotower.Item, not a {type(item).__name__}")
    features = _features(item.features)
    return c.Item(_ITEM, None if item.id is None else encoded(item.id, "an item's id"), features, len(features))


def users_of(users: Users) -> Any:
    """tt_user[]; it keeps all that it points to."""
    rows = [_user(user) for user in ((users,) if isinstance(users, (str, User)) else users)]
    return (c.User * len(rows))(*rows)


def items_of(items: Items) -> Any:
    """tt_item[]; it keeps all that it points to."""
    rows = [_item(item) for item in ((items,) if isinstance(items, (str, Item)) else items)]
    return (c.Item * len(rows))(*rows)
