#!/usr/bin/env python3
"""The ladder on the simulator, several seeds: what each rung brings over the one it stands on.

    bench/ladder.py --twotower build/train/commands/twotower --seeds 1,2,3,4,5 --out out/ladder

Each seed is a world of its own (`twotower demo --seed S`), in which half of the users pick each rung's best epoch and the
other half judge it: all measures are of users who chose nothing. Prints a table of means with standard errors, the paired
differences that the rungs are for, and the correlation of the learned with the true examination curve. A seed that has
its result file in --out already is not run again.
"""
import argparse
import json
import math
import os
import statistics
import subprocess

MEASURES = ["recall@20", "true_recall@20", "true_ndcg@10", "value_lost@10", "agreement@20", "agreement@10:100"]
RUNGS = ["base", "history", "position", "user", "debias", "light", "kd", "reward"]
# (measure, rung, the rung it must beat)
CLAIMS = [("true_recall@20", "history", "base"), ("true_ndcg@10", "history", "base"), ("agreement@20", "history", "base"),
          ("true_recall@20", "position", "history"),
          ("true_recall@20", "debias", "history"), ("true_ndcg@10", "light", "debias"),
          ("agreement@20", "kd", "light"), ("agreement@10:100", "kd", "light"),
          ("agreement@20", "reward", "debias"), ("agreement@10:100", "reward", "debias")]


def mean_and_error(values):
    error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else float("nan")
    return statistics.mean(values), error


def correlation(a, b):
    ma, mb = statistics.mean(a), statistics.mean(b)
    cov = sum((x - ma) * (y - mb) for x, y in zip(a, b))
    return cov / math.sqrt(sum((x - ma) ** 2 for x in a) * sum((y - mb) ** 2 for y in b))


def learned_curve(run, best_epoch):
    with open(os.path.join(run, "metrics.jsonl"), encoding="utf-8") as lines:
        for line in map(json.loads, lines):
            if line["epoch"] == best_epoch:
                return line["position_curve"][:10]
    raise SystemExit(f"{run}/metrics.jsonl has no epoch {best_epoch}")


def run_seed(arguments, seed):
    folder = os.path.join(arguments.out, f"seed{seed}")
    result = os.path.join(folder, "ladder.json")
    if not os.path.exists(result):
        command = [arguments.twotower, "demo", "--out", folder, "--seed", str(seed), "--json", "--quiet",
                   "--threads", str(arguments.threads), "--epochs", str(arguments.epochs),
                   "--users", str(arguments.users), "--impressions", str(arguments.impressions),
                   "--models", arguments.models]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
        with open(result, "wb") as file:
            file.write(output)
    with open(result, encoding="utf-8") as file:
        return {rung["model"]: rung for rung in json.load(file)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--twotower", default="build/train/commands/twotower")
    parser.add_argument("--seeds", default="1,2,3,4,5")
    parser.add_argument("--out", default="out/ladder")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--models", default=",".join(RUNGS))
    parser.add_argument("--users", type=int, default=1000)
    parser.add_argument("--impressions", type=int, default=50000)
    arguments = parser.parse_args()
    os.makedirs(arguments.out, exist_ok=True)
    seeds = [int(s) for s in arguments.seeds.split(",")]
    worlds = [run_seed(arguments, seed) for seed in seeds]

    print("| model | " + " | ".join(MEASURES) + " | seconds |")
    print("|" + " --- |" * (len(MEASURES) + 2))
    for model in worlds[0]:
        cells = []
        for measure in MEASURES:
            m, e = mean_and_error([w[model]["measures"][measure] for w in worlds])
            cells.append(f"{m:.4f} ± {e:.4f}")
        seconds = statistics.median(w[model]["seconds"] for w in worlds)
        print(f"| {model} | " + " | ".join(cells) + f" | {seconds:.0f} |")

    print("\n| measure | rung | over | difference | seeds where it is better |")
    print("|" + " --- |" * 5)
    for measure, rung, below in CLAIMS:
        if rung not in worlds[0] or below not in worlds[0]:
            continue
        differences = [w[rung]["measures"][measure] - w[below]["measures"][measure] for w in worlds]
        m, e = mean_and_error(differences)
        print(f"| {measure} | {rung} | {below} | {m:+.4f} ± {e:.4f} | {sum(d > 0 for d in differences)} of {len(worlds)} |")

    true_curve = [(1 + p) ** -0.7 for p in range(10)]  # the simulator's default examination curve
    print()
    for model in [m for m in worlds[0] if m in ("position", "debias", "light", "kd", "reward")]:
        found = [correlation(learned_curve(os.path.join(arguments.out, f"seed{s}", model), w[model]["best_epoch"]),
                             true_curve) for s, w in zip(seeds, worlds)]
        print(f"examination curve, {model}: correlation with the true one {min(found):.4f} to {max(found):.4f}")


if __name__ == "__main__":
    main()
