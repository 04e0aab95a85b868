"""libtwotower-c: where it is, its structs and its functions, as twotower.h has them."""

from __future__ import annotations

import ctypes
import functools
import os
import pathlib
import sysconfig
from ctypes import POINTER, c_char_p, c_float, c_int, c_int32, c_size_t, c_void_p

from .errors import LibraryError, error_of

SONAME = "libtwotower-c.so.0"
VERSION = (0, 1)  # of the interface; until 1.0 a minor version may change it

LogFunction = ctypes.CFUNCTYPE(None, c_void_p, c_int32, c_char_p)


class OpenOptions(ctypes.Structure):
    _fields_ = [("struct_size", c_size_t), ("verify", c_int32), ("copy", c_int32), ("log", LogFunction),
                ("log_data", c_void_p)]


class Info(ctypes.Structure):
    _fields_ = [("struct_size", c_size_t), ("dimension", c_size_t), ("items", c_size_t),
                ("items_available", c_size_t), ("users", c_size_t), ("history_length", c_size_t),
                ("candidates", c_size_t), ("adds_items", c_int32), ("reserved", c_int32)]


class Feature(ctypes.Structure):
    _fields_ = [("name", c_char_p), ("value", c_char_p)]


class User(ctypes.Structure):
    _fields_ = [("struct_size", c_size_t), ("id", c_char_p), ("features", POINTER(Feature)),
                ("num_features", c_size_t), ("history", POINTER(c_char_p)), ("num_history", c_size_t),
                ("exclude", POINTER(c_char_p)), ("num_exclude", c_size_t)]


class Item(ctypes.Structure):
    _fields_ = [("struct_size", c_size_t), ("id", c_char_p), ("features", POINTER(Feature)),
                ("num_features", c_size_t)]


class Condition(ctypes.Structure):
    _fields_ = [("column", c_char_p), ("values", POINTER(c_char_p)), ("num_values", c_size_t)]


class FilterOptions(ctypes.Structure):
    _fields_ = [("struct_size", c_size_t), ("allowed", POINTER(c_char_p)), ("num_allowed", c_size_t),
                ("excluded", POINTER(c_char_p)), ("num_excluded", c_size_t), ("conditions", POINTER(Condition)),
                ("num_conditions", c_size_t)]


class SessionOptions(ctypes.Structure):
    _fields_ = [("struct_size", c_size_t), ("threads", c_int32), ("reserved", c_int32)]


class Results(ctypes.Structure):
    _fields_ = [("queries", c_size_t), ("k", c_size_t), ("counts", POINTER(c_size_t)), ("ids", POINTER(c_char_p)),
                ("titles", POINTER(c_char_p)), ("scores", POINTER(c_float)), ("unknown_values", c_size_t),
                ("unknown_items", c_size_t)]


class QueryOptions(ctypes.Structure):
    _fields_ = [("struct_size", c_size_t), ("filter", c_void_p), ("candidates", c_size_t),
                ("include_seen", c_int32), ("no_rerank", c_int32)]


_P, _N = c_void_p, c_size_t
FUNCTIONS: dict[str, tuple[object, list[object]]] = {  # what each returns and takes; any pointer is one
    "tt_version_number": (c_int, []),
    "tt_version_string": (c_char_p, []),
    "tt_status_name": (c_char_p, [c_int32]),
    "tt_last_error": (c_char_p, []),
    "tt_model_open": (c_int32, [c_char_p, _P, _P]),
    "tt_model_open_memory": (c_int32, [_P, _N, _P, _P]),
    "tt_model_close": (c_int32, [_P]),
    "tt_model_info": (c_int32, [_P, _P]),
    "tt_model_user_feature": (c_char_p, [_P, _N]),
    "tt_model_item_feature": (c_char_p, [_P, _N]),
    "tt_model_filter_column": (c_char_p, [_P, _N]),
    "tt_filter_open": (c_int32, [_P, _P, _P]),
    "tt_filter_close": (c_int32, [_P]),
    "tt_session_open": (c_int32, [_P, _P, _P]),
    "tt_session_close": (c_int32, [_P]),
    "tt_session_error": (c_char_p, [_P]),
    "tt_recommend": (c_int32, [_P, _P, _N, _N, _P, _P]),
    "tt_search": (c_int32, [_P, _P, _N, _N, _N, _P, _P]),
    "tt_score": (c_int32, [_P, _P, _N, _P, _P, _N, _P, _P]),
    "tt_embed_users": (c_int32, [_P, _P, _N, _P, _N]),
    "tt_embed_items": (c_int32, [_P, _P, _N, _P, _N]),
    "tt_model_add_items": (c_int32, [_P, _P, _N, _P]),
    "tt_model_replace_items": (c_int32, [_P, _P, _N, _P]),
    "tt_model_remove_items": (c_int32, [_P, _P, _N]),
    "tt_model_set_available": (c_int32, [_P, _P, _N, c_int32]),
    "tt_model_save": (c_int32, [_P, c_char_p]),
}


def installed(*names: str) -> str | None:
    """The first of these files of the installation that this package is a part of, if it is of one."""
    for folder in pathlib.Path(__file__).resolve().parents:  # PREFIX/lib/python3.11/site-packages/twotower
        if folder.name in ("lib", "lib64"):
            return next((str(folder.parent / name) for name in names if (folder.parent / name).is_file()), None)
    return None


def _path() -> str:
    given = os.environ.get("TWOTOWER_LIBRARY")
    if given:
        return os.path.join(given, SONAME) if os.path.isdir(given) else given
    beside = pathlib.Path(__file__).resolve().parent / SONAME
    if beside.is_file():
        return str(beside)
    folders = ("lib", "lib64", f"lib/{sysconfig.get_config_var('MULTIARCH')}")
    # Else the loader's own search: LD_LIBRARY_PATH, ld.so.cache.
    return installed(*(f"{folder}/{SONAME}" for folder in folders)) or SONAME


@functools.lru_cache(maxsize=None)
def native() -> ctypes.CDLL:
    """libtwotower-c, loaded at its first use. Its calls run without the interpreter's lock."""
    path = _path()
    try:
        found = ctypes.CDLL(path)
    except OSError as error:
        raise LibraryError(f"[twotower] {SONAME} cannot be loaded: {error}; install the library (meson install), or "
                           "set TWOTOWER_LIBRARY to the file or its folder") from None
    for name, (returns, takes) in FUNCTIONS.items():
        function = getattr(found, name, None)
        if function is None:
            raise LibraryError(f"[twotower] {path} has no {name}; set TWOTOWER_LIBRARY to a {SONAME} of version "
                               "{}.{}".format(*VERSION))
        function.restype, function.argtypes = returns, takes
        if name == "tt_version_number" and divmod(function() // 100, 100) != VERSION:
            raise LibraryError("[twotower] {} is version {}.{}, this package is for {}.{}; install the two together"
                               .format(path, *divmod(function() // 100, 100), *VERSION))
    return found


def check(status: int) -> None:
    """Raises what the calling thread's last call failed at."""
    if status != 0:
        raise error_of(status, native().tt_last_error().decode("utf-8", "replace"))
