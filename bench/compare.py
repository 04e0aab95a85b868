#!/usr/bin/env python3
"""Training steps of twotower beside PyTorch's, eager and tuned, in one run: same models, shapes and thread count.
bench/compare.py --build build [--sizes small,medium] [--models base,history] [--threads 2]

Prints a markdown table with ratios. "oneDNN's share" is the part of the matrix products' FLOPs that oneDNN served by the
library's own choice; "all by oneDNN" is the same step with every product forced upon it ("-" in a build without). PyTorch
is left out where this python has none (see peers/README.md for its BLAS) and at `large`, where it would hold dense
gradients and moments of 1M-row tables.
"""
import argparse
import json
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
RUNGS = ["base", "history", "position", "user", "debias", "light", "kd", "reward"]


def lines(command):
    """The JSON objects that a program prints."""
    run = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    if run.returncode != 0:
        sys.exit(f"compare: {command[0]} failed: {run.stderr.strip().splitlines()[-1:]}")
    return [json.loads(line) for line in run.stdout.splitlines() if line.startswith("{")]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build", help="meson's build folder")
    parser.add_argument("--sizes", default="small,medium")
    parser.add_argument("--models", default="all")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=3, help="to measure each model for")
    parser.add_argument("--python", default=sys.executable, help="the python whose torch to run")
    parser.add_argument("--out", help="also write every line of JSON here")
    arguments = parser.parse_args()
    models = RUNGS if arguments.models == "all" else arguments.models.split(",")
    torch = subprocess.run([arguments.python, "-c", "import torch"], capture_output=True).returncode == 0
    if not torch:
        print("compare: no torch here, so twotower alone (Debian: python3-torch)", file=sys.stderr)
    record = []

    print("| size | model | ms (p10 .. p90) | of bound | oneDNN's share | all by oneDNN ms | all by oneDNN / ours | "
          "eager ms | tuned ms | eager / ours | tuned / ours | peak MiB |")
    print("| --- " * 12 + "|")
    for size in arguments.sizes.split(","):
        for model in models:
            shape = ["--model", model, "--size", size, "--threads", arguments.threads,
                     "--seconds", arguments.seconds, "--json"]
            bench_step = pathlib.Path(arguments.build) / "bench" / "bench_step"
            ours = lines([bench_step, *shape])[0]
            record.append(ours)
            forced_ms = forced_ratio = "-"
            if ours["onednn"]:
                forced = lines([bench_step, *shape, "--products", "onednn"])[0]
                record.append({**forced, "products": "onednn"})
                forced_ms = f"{forced['median_ms']:.2f}"
                forced_ratio = f"{forced['median_ms'] / ours['median_ms']:.2f}"
            cells, ratios = [], []
            for mode in ("eager", "tuned"):
                peer = {}
                if torch and size != "large":
                    script = HERE / "peers" / "torch_step.py"
                    peer = lines([arguments.python, script, *shape, "--mode", mode])[0]
                    record.append(peer)
                cells.append(f"{peer['median_ms']:.2f}" if "median_ms" in peer else "-")
                ratios.append(f"{peer['median_ms'] / ours['median_ms']:.1f}" if "median_ms" in peer else "-")
            print(f"| {size} | {model} | {ours['median_ms']:.2f} ({ours['p10_ms']:.2f} .. {ours['p90_ms']:.2f}) | "
                  f"{100 * ours['roofline_share']:.0f} % | {100 * ours['onednn_share']:.1f} % | {forced_ms} | "
                  f"{forced_ratio} | {' | '.join(cells + ratios)} | "
                  f"{ours['peak_rss_mib']:.0f} |", flush=True)
    if arguments.out:
        pathlib.Path(arguments.out).write_text("".join(json.dumps(line) + "\n" for line in record))


if __name__ == "__main__":
    main()
