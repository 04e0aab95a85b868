"""python3 -m twotower demo: data that is made up, a model trained on it, and what it recommends."""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Sequence

import twotower


def _print(results: twotower.Results, users: Sequence[str]) -> None:
    for user, hits in zip(users, results):
        print(user, "\t".join(f"{hit.title or hit.id} {hit.score:.3f}" for hit in hits), sep="\t")


def demo(out: str | None) -> None:
    """Simulates, trains and recommends, in a folder that is kept if it is given."""
    with contextlib.ExitStack() as stack:
        folder = out or stack.enter_context(tempfile.TemporaryDirectory(prefix="twotower_"))
        def tell(text: object) -> None:
            print(text, file=sys.stderr)

        tell("making the log of 500 users in a shop of 300 items")
        data = twotower.simulate(f"{folder}/data", users=500, items=300, impressions=40000)
        run = twotower.train(data, f"{folder}/run", model="history", set={"epochs": 3}, progress=tell)
        with run.open() as model:
            tell(f"{model!r}: the best 5 of")
            users = ["u0", "u1", "u2"]
            _print(model.recommend(users, k=5), users)
            seen = twotower.User(history=model.recommend("u0", k=2).ids[0])
            print("who took u0's first two", end="\t")
            _print(model.recommend(seen, k=5), [""])
        if out:
            tell(f'next: with twotower.open("{run.bundle}") as model: ...')


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python3 -m twotower", description="Two-tower retrieval from Python.")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("demo", help="makes data, trains a small model, prints what it recommends")
    command.add_argument("--out", help="keep the data and the run in this folder")
    command = commands.add_parser("recommend", help="the best items of users whom a bundle knows")
    command.add_argument("bundle")
    command.add_argument("users", nargs="+", metavar="user")
    command.add_argument("-k", type=int, default=10)
    given = parser.parse_args(arguments)
    try:
        if given.command == "demo":
            demo(given.out)
        else:
            with twotower.open(given.bundle) as model:
                _print(model.recommend(given.users, k=given.k), given.users)
    except twotower.Error as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
