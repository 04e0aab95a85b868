"""What the Python package adds to a call: recommend() beside the library's function with its arguments made ready.

    python3 bench/python_call.py BUNDLE [-k 10] [--users 1,8,64]

Medians in microseconds, of calls that take turns. The bundle needs users u0, u1, ..., as simulated ones have.
"""

import argparse
import ctypes
import statistics
import time

import twotower
from twotower import _library, inputs

parser = argparse.ArgumentParser()
parser.add_argument("bundle")
parser.add_argument("-k", type=int, default=10)
parser.add_argument("--users", default="1,8,64")
parser.add_argument("--calls", type=int, default=3000)
given = parser.parse_args()

library = _library.native()
model = twotower.open(given.bundle)
session = model.session()
print(model)
for count in map(int, given.users.split(",")):
    users = [f"u{u}" for u in range(count)]
    ready, out = inputs.users_of(users), ctypes.POINTER(_library.Results)()
    taken = {"library": [], "package": []}
    with session._handle as handle:
        arguments = (ctypes.c_void_p(handle), ready, ctypes.c_size_t(count), ctypes.c_size_t(given.k), None,
                     ctypes.byref(out))
    for call in range(given.calls + 100):
        begin = time.perf_counter()
        library.tt_recommend(*arguments)
        middle = time.perf_counter()
        session.recommend(users, k=given.k)
        end = time.perf_counter()
        if call >= 100:
            taken["library"].append(1e6 * (middle - begin))
            taken["package"].append(1e6 * (end - middle))
    alone, whole = (statistics.median(taken[name]) for name in ("library", "package"))
    print(f"{count:4} users, k {given.k}: library {alone:8.1f} us, package {whole:8.1f} us, {whole - alone:6.1f} more")
