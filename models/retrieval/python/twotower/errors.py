"""What can go wrong: an Error has the library's number and its line, and is also the builtin exception that fits."""

from __future__ import annotations

import enum


class Status(enum.IntEnum):
    """The numbers of twotower.h, which never change their meaning."""

    OK = 0
    ARGUMENT = 1
    HANDLE = 2
    BUSY = 3
    NOT_FOUND = 4
    EXISTS = 5
    UNSUPPORTED = 6
    IO = 7
    CORRUPT = 8
    MEMORY = 9
    INTERNAL = 10


class Error(Exception):
    """Base of all that follows. Its text is one line: what was wrong, and how to mend it."""

    #: The library's number; None of errors that are not the library's.
    status: int | None = None

    def __str__(self) -> str:  # KeyError would quote it
        return str(self.args[0]) if self.args else ""


class ArgumentError(Error, ValueError):
    """What was given cannot be: a wrong shape, NaN, k = 0, a zero byte in an id."""

    status = Status.ARGUMENT


class HandleError(Error, ValueError):
    """What was used is closed, or belongs to another model."""

    status = Status.HANDLE


class BusyError(Error, RuntimeError):
    """The session is in a call already. Each thread needs one of its own; a Model sees to that by itself."""

    status = Status.BUSY


class NotFoundError(Error, KeyError):
    """A user, item, column or value that the model does not have."""

    status = Status.NOT_FOUND


class ExistsError(Error, ValueError):
    """An item that is there already."""

    status = Status.EXISTS


class UnsupportedError(Error, NotImplementedError):
    """This model cannot: it holds no users, has no item features, no light ranker."""

    status = Status.UNSUPPORTED


class FileError(Error, OSError):
    """A file cannot be opened, read or written."""

    status = Status.IO


class FileMissingError(FileError, FileNotFoundError):
    """There is no such file."""


class CorruptError(Error, ValueError):
    """No bundle, one of another version, or a damaged one."""

    status = Status.CORRUPT


class OutOfMemoryError(Error, MemoryError):
    """There is no memory for this call. What was open stays usable."""

    status = Status.MEMORY


class InternalError(Error, RuntimeError):
    """A bug of the library."""

    status = Status.INTERNAL


class LibraryError(Error, ImportError):
    """libtwotower-c is not there, or is of a version that does not fit this package."""


class ProgramError(Error, RuntimeError):
    """The program twotower failed, or is not there. `exit_status` is its own: 2 for a mistake of the caller's; negative
    where a signal ended it; None where it did not start."""

    def __init__(self, text: str, exit_status: int | None = None) -> None:
        super().__init__(text)
        self.exit_status = exit_status


_BY_STATUS: dict[int, type[Error]] = {
    Status.ARGUMENT: ArgumentError,
    Status.HANDLE: HandleError,
    Status.BUSY: BusyError,
    Status.NOT_FOUND: NotFoundError,
    Status.EXISTS: ExistsError,
    Status.UNSUPPORTED: UnsupportedError,
    Status.IO: FileError,
    Status.CORRUPT: CorruptError,
    Status.MEMORY: OutOfMemoryError,
    Status.INTERNAL: InternalError,
}


def error_of(status: int, text: str) -> Error:
    """The exception for a number of the library; a plain Error for one of a later version."""
    error = _BY_STATUS.get(status, Error)(text)
    if error.status is None:
        error.status = status
    return error
