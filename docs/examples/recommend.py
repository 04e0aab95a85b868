"""Serves a bundle from Python: the best items for a user whom it knows, or for one described in words.

    python3 recommend.py bundle.safetensors --user u3
    python3 recommend.py bundle.safetensors age=25 occupation=student --history i50 i181
"""

import argparse
import sys

import twotower

parser = argparse.ArgumentParser()
parser.add_argument("bundle")
parser.add_argument("--user", help="a user's id")
parser.add_argument("features", nargs="*", default=[], help="column=value")
parser.add_argument("--history", nargs="*", default=[], help="item ids, newest first")
given = parser.parse_args()
features = dict(feature.split("=", 1) for feature in given.features)

try:
    with twotower.open(given.bundle) as model:
        found = model.recommend(given.user or twotower.User(features=features, history=given.history), k=10)
except twotower.Error as error:
    sys.exit(str(error))
if found.unknown_values + found.unknown_items > 0:
    print(f"note: {found.unknown_values} values and {found.unknown_items} items are not known to the model",
          file=sys.stderr)
for hit in found[0]:
    print(f"{hit.id}\t{hit.score:.4f}\t{hit.title}")
