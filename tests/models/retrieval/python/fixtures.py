"""A small shop and models trained on it, once for all tests."""

import atexit
import functools
import os
import pathlib
import random
import shutil
import tempfile
import unittest

try:
    import numpy  # noqa: F401
except ImportError:
    raise unittest.SkipTest("there is no numpy")

import twotower

USERS, ITEMS = 150, 120
GENRES = ["Drama", "Comedy", "Ölfilm"]


@functools.lru_cache(maxsize=None)
def scratch():
    folder = tempfile.mkdtemp(prefix="twotower_python_")
    atexit.register(shutil.rmtree, folder)
    return pathlib.Path(folder)


@functools.lru_cache(maxsize=None)
def data():
    """Users u0 ... with an age and a town, items i0 ... with a title, a year and one or two genres."""
    chance, folder = random.Random(3), scratch()
    with open(folder / "users.csv", "w") as out:
        print("user,age,town", file=out)
        for u in range(USERS):
            print(f"u{u},{20 + u % 40},{'xy'[u % 2]}", file=out)
    with open(folder / "items.csv", "w", encoding="utf-8") as out:
        print("item,title,year,genre", file=out)
        for i in range(ITEMS):
            genre = GENRES[i % 3] + ("|Long" if i % 4 == 0 else "")
            print(f"i{i},The {i}th,{1950 + i % 60},{genre}", file=out)
    with open(folder / "log.csv", "w") as out:
        print("user,item,time,click", file=out)
        for t in range(6000):
            u, i = chance.randrange(USERS), chance.randrange(ITEMS)
            print(f"u{u},i{i},{t},{int(chance.random() < (0.7 if u % 3 == i % 3 else 0.2))}", file=out)
    twotower.run_program("import", "csv", "--train", folder / "log.csv", "--user", folder / "users.csv", "--item",
                         folder / "items.csv", "--label", "click=click>=1", "--split", "time:0.8", "--out",
                         folder / "data")
    return folder / "data"


@functools.lru_cache(maxsize=None)
def run(rung="history"):
    settings = {"epochs": 2, "item_id_embedding_dim": 16}
    if rung == "light":
        settings.update(debias="none", num_mips_items=30)
    return twotower.train(data(), scratch() / rung, model=rung, set=settings, threads=1)


@functools.lru_cache(maxsize=None)
def without_users():
    path = scratch() / "no_users.safetensors"
    twotower.run_program("pack", "--run", run().folder, "--no-users", "--out", path)
    return path


def bundle():
    return run().bundle


def aligned_copy(path):
    """A file's bytes in an array of numpy, aligned as a mapped file is."""
    content = pathlib.Path(path).read_bytes()
    memory = numpy.empty(len(content) + 64, numpy.uint8)
    begin = -memory.ctypes.data % 64
    memory[begin:begin + len(content)] = numpy.frombuffer(content, numpy.uint8)
    return memory[begin:begin + len(content)]


def in_child(work):
    """Runs work() in a child of fork(); returns whether it came to its end without an exception."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
