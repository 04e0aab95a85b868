#!/usr/bin/env python3
"""Writes golden/als_ranker/: what bench/peers/als.py makes of the main ranker's scores in a small simulated world, from the
start that the baseline als_ranker has. Least squares of products have several minima, so without the same start the two
need not agree.

    tests/parity/write_als_golden.py --twotower build/train/commands/twotower
    tests/parity/write_als_golden.py --twotower ... --check      # compares with what is there
"""
import argparse
import os
import pathlib
import subprocess
import sys
import tempfile

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch

from safetensors_io import load_file, save_file

HERE = pathlib.Path(__file__).resolve().parent
GOLDEN = HERE / "golden/als_ranker/als_ranker.safetensors"
sys.path.insert(0, str(HERE.parents[1] / "bench/peers"))

from als import alternating_least_squares
from dataset import Dataset, logit

USERS, ITEMS, IMPRESSIONS = 40, 30, 750
RIDGE, WIDTH, SWEEPS = 1, 3, 40
ASKED = 5  # one pair of so many counts as one that the ranker was asked about


def philox_normals(n, seed):
    """tensor/random.h: Philox4x32-10, two normals a block by Box-Muller."""
    mask, half = np.uint64(0xFFFFFFFF), np.uint64(32)
    index = np.arange((n + 1) // 2, dtype=np.uint64)
    c = [index & mask, index >> half, np.zeros_like(index), np.zeros_like(index)]
    keys = [seed & 0xFFFFFFFF, seed >> 32]
    for _ in range(10):
        p0, p1 = np.uint64(0xD2511F53) * c[0], np.uint64(0xCD9E8D57) * c[2]
        c = [(p1 >> half) ^ c[1] ^ np.uint64(keys[0]), p1 & mask, (p0 >> half) ^ c[3] ^ np.uint64(keys[1]), p0 & mask]
        keys = [(keys[0] + 0x9E3779B9) & 0xFFFFFFFF, (keys[1] + 0xBB67AE85) & 0xFFFFFFFF]
    uniform = [((c[i] << half | c[i + 1]) >> np.uint64(11)).astype(np.float64) * 2.0**-53 for i in (0, 2)]
    radius, angle = np.sqrt(-2 * np.log(1 - uniform[0])), 2 * np.pi * uniform[1]
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1).ravel()[:n]


def compute(twotower):
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([twotower, "simulate", "--out", folder + "/world", "--users", str(USERS), "--items", str(ITEMS),
                        "--impressions", str(IMPRESSIONS), "--tasks", "2", "--quiet"], check=True, stdout=subprocess.DEVNULL)
        data = Dataset(folder + "/world")
    log, weights = data.log["train"], data.value_weights
    users, items, scores = log["user"], log["item"], log["ranker_scores"]
    asked = np.unique(users * ITEMS + items, return_index=True)[1][::ASKED]
    columns = {name: np.delete(log[name], asked, axis=0) for name in ("user", "item", "ranker_scores")}
    columns |= {"asked_user": users[asked], "asked_item": items[asked], "asked_scores": scores[asked]}
    u, v = alternating_least_squares(users.astype(np.int64), items.astype(np.int64), logit(scores) @ weights / weights.sum(),
                                     (USERS, ITEMS), RIDGE, WIDTH, SWEEPS,
                                     start=0.1 * philox_normals(ITEMS * (WIDTH + 1), 1).reshape(ITEMS, WIDTH + 1))
    columns["value_weights"], columns["expected"] = weights.astype(np.float32), (u @ v.T).astype(np.float32)
    return {name: torch.tensor(np.ascontiguousarray(column)) for name, column in columns.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--twotower", required=True)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    found = compute(arguments.twotower)
    if arguments.check:
        golden = load_file(GOLDEN)
        worst = max((found[name].double() - golden[name].double()).abs().max().item() for name in golden)
        sys.exit(f"{GOLDEN} differs by up to {worst:.3g}" if worst > 1e-5 else 0)
    GOLDEN.parent.mkdir(exist_ok=True)
    save_file(found, str(GOLDEN))


if __name__ == "__main__":
    main()
