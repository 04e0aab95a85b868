#!/usr/bin/env python3
"""What others make of the main ranker's scores on a simulated dataset, judged as `twotower evaluate` judges.

    bench/peers/peers.py DATA [--peers als,torch] > peers.json

`als` and `torch` learn from the logged scores alone, with the ridge or weight decay that suits the validation split's
(choice.py); their `seconds` are those of the one training with it. `svd K` are the best inner products of width K that
know the ranker's value of every pair, `svd of logits K` those of its logit, the same order; `ranker` is the ranker
itself: ceilings.
"""
import argparse
import json
import os
import time

os.environ["OMP_NUM_THREADS"] = "1"  # one thread, as it is timed

import numpy as np

import als
from dataset import Dataset, logit
from judge import Judge


def best_inner_products(matrix, width):
    u, s, v = np.linalg.svd(matrix, full_matrices=False)
    return (u[:, :width] * s[:width]) @ v[:width]


def timed(compute):
    """As the other peers: scores, and seconds."""
    def scores(data, judge):
        begin = time.monotonic()
        found = compute(data, judge)
        return found, time.monotonic() - begin
    return scores


def svd(width, transform=lambda data, values: values):
    @timed
    def scores(data, judge):
        times = np.full(data.num_users, np.inf)  # those who are not judged as they were last
        times[judge.users] = judge.times
        values = transform(data, data.ranker_values(np.arange(data.num_users), times))
        # A constant of each user changes no order.
        return best_inner_products(values - values.mean(1, keepdims=True), width)[judge.users]
    return scores


def logit_of_value(data, values):
    return logit(values / data.value_weights.sum())


def torch(data, judge):
    import torch_two_tower  # so that the others run where there is no PyTorch
    return torch_two_tower.scores(data, judge.users)


PEERS = {
    "als": lambda data, judge: als.scores(data, judge.users),
    "torch": torch,
    **{f"svd {width}": svd(width) for width in (8, 16, 64)},
    **{f"svd of logits {width}": svd(width, logit_of_value) for width in (8, 16, 64)},
    "ranker": timed(lambda data, judge: data.ranker_values(judge.users, judge.times)),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--peers", default=",".join(PEERS))
    arguments = parser.parse_args()
    data = Dataset(arguments.data)
    if not data.has_truth() or "ranker_scores" not in data.log["train"]:
        raise SystemExit(f"bench/peers/peers.py: {arguments.data} has no truth or no ranker scores; "
                         "give a dataset that `twotower simulate` made")
    judge = Judge(data)
    rows = []
    for name in arguments.peers.split(","):
        scores, seconds = PEERS[name](data, judge)
        rows.append({"model": name, "seconds": seconds, **judge.judge(scores)})
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
