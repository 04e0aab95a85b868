#!/usr/bin/env python3
"""Exact top K of queries x rows by torch.matmul and torch.topk, the peer of bench_retrieval:
bench/peers/torch_retrieval.py --rows 1000000 --width 64 --k 100 --threads 2

Large batches go in slices of queries, the fastest of a few sizes, so that the scores do not fill memory. Prints one
JSON object a batch size.
"""
import argparse
import json
import os
import time

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--rows", type=int, default=1_000_000)
parser.add_argument("--width", type=int, default=64)
parser.add_argument("--k", type=int, default=100)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--batches", default="1,64,1024")
parser.add_argument("--repeats", type=int, default=20)
parser.add_argument("--json", action="store_true", help="accepted for symmetry: the output is always JSON")
arguments = parser.parse_args()
os.environ["OMP_NUM_THREADS"] = str(arguments.threads)    # before torch starts its pools

import torch  # noqa: E402


@torch.no_grad()
def search(queries, corpus, k, slice_size):
    found = [torch.topk(part @ corpus.T, k, dim=1) for part in queries.split(slice_size)]
    return torch.cat([f.values for f in found]), torch.cat([f.indices for f in found])


def timed(f):
    begin = time.perf_counter()
    f()
    return 1e3 * (time.perf_counter() - begin)


def main():
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(1)
    corpus = torch.randn(arguments.rows, arguments.width)
    for batch in map(int, arguments.batches.split(",")):
        queries = torch.randn(batch, arguments.width)
        sizes = [s for s in (4, 16, 64) if s < batch] or [batch]
        for size in sizes:
            search(queries[:size], corpus, arguments.k, size)    # warm
        some = queries[:min(batch, 64)]
        best = min(sizes, key=lambda s: min(timed(lambda: search(some, corpus, arguments.k, s)) for _ in range(2)))
        repeats = arguments.repeats if batch <= 64 else 3
        times = sorted(timed(lambda: search(queries, corpus, arguments.k, best)) for _ in range(repeats))
        median = times[len(times) // 2]
        print(json.dumps({"batch": batch, "median_ms": round(median, 3), "queries_per_s": round(1e3 * batch / median),
                          "rows": arguments.rows, "width": arguments.width, "k": arguments.k,
                          "threads": arguments.threads, "torch": torch.__version__}), flush=True)


if __name__ == "__main__":
    main()
