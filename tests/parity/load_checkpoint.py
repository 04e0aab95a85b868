#!/usr/bin/env python3
"""Loads a twotower checkpoint into the PyTorch model (strict: no name missing, none left over), runs one forward and
backward pass, and compares with what `twotower step` wrote for the same numbers:

    twotower step --config F.toml --weights W --batch B --out O
    tests/parity/load_checkpoint.py --config F.toml --weights W --batch B --out O

Without --out it only loads, runs, and prints. Exit status 1 if a number is further off than allowed.
"""
import argparse
import sys

import torch

from safetensors_io import load_file
from write_golden import compare, compute, read_config


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", required=True, help="a TOML file with a [model] table, compat = \"reference\"")
    parser.add_argument("--weights", required=True, help="weights, e.g. a run's weights.safetensors")
    parser.add_argument("--batch", required=True)
    parser.add_argument("--out", help="what `twotower step` wrote")
    arguments = parser.parse_args()

    config = read_config(arguments.config)
    weights, batch = load_file(arguments.weights), load_file(arguments.batch)
    expected = compute(config, weights, batch, torch.float64)
    print(f"{len(weights)} tensors loaded, {sum(t.numel() for t in weights.values())} parameters; "
          f"loss {expected['loss'].item():.9g}")
    if not arguments.out:
        return
    found = load_file(arguments.out)
    missing = sorted(expected.keys() - found.keys())
    if missing:
        sys.exit(f"{arguments.out} lacks {', '.join(missing)}")
    shares = compare(expected, found)
    print(f"{'':58} {'largest error':>14} {'of largest':>11} {'allowed used':>13}")
    for name in expected:
        if not expected[name].numel() or expected[name].shape != found[name].shape:
            print(f"{name:58} expected {list(expected[name].shape)}, found {list(found[name].shape)}")
            continue
        error = (expected[name].double() - found[name].double()).abs().max().item()
        scale = expected[name].double().abs().max().item()
        print(f"{name:58} {error:14.3e} {error / scale if scale else 0.0:11.1e} {100 * shares[name]:12.1f}%")
    failed = [name for name, share in shares.items() if not share <= 1]
    print("FAILED: " + ", ".join(failed) if failed else "agrees with PyTorch")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
