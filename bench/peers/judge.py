#!/usr/bin/env python3
"""The measures of `twotower evaluate`, of any scores: whatever ranks the corpus is judged alike.

    bench/peers/judge.py RUN DATA --twotower TWOTOWER     # our numbers beside twotower's own, of a run without histories

A user counts who acted, in the split, on an item not shown before; items shown in the splits before are left out, and the
truth is asked as of the user's first impression in the split. Items not on offer are neither returned nor expected.
"""
import argparse
import json
import os
import subprocess
import tempfile

import numpy as np

from dataset import Dataset, read_safetensors

FUNNEL_N, FUNNEL_K = 10, 100  # the ranker shows its best N of the K retrieved
TRUE_RELEVANT = 20            # items of highest true value that count as relevant


def best(scores, k):
    """The columns of the k highest of each row, best first; of equal ones the smaller column first."""
    return np.argsort(-scores, axis=1, kind="stable")[:, :k]


def at(values, columns):
    return np.take_along_axis(values, columns, axis=1)


def overlap(returned, relevant, items):
    """How many of each row's relevant columns are among those returned."""
    is_relevant = np.zeros((len(returned), items), bool)
    np.put_along_axis(is_relevant, relevant, True, axis=1)
    return at(is_relevant, returned).sum(1)


def kendall_of_order(values):
    """Kendall's tau-b between the order of each row's columns and falling values; -inf: the row has fewer columns."""
    first, second = np.triu_indices(values.shape[1], 1)
    pairs = np.isfinite(values)[:, first] & np.isfinite(values)[:, second]
    with np.errstate(invalid="ignore"):
        signs = np.where(pairs, np.sign(values[:, first] - values[:, second]), 0)
        return signs.sum(1) / np.sqrt(np.abs(signs).sum(1) * pairs.sum(1))


# Users by the most impressions that train has of them, as `twotower evaluate --by impressions` groups them.
GROUPS = [(0, "0"), (1, "1"), (3, "2-3"), (10, "4-10"), (30, "11-30"), (100, "31-100"), (np.inf, ">100")]


class Judge:
    """Who is asked, what the truth says of them, and the measures of given scores."""

    def __init__(self, data, split="test"):
        log = data.log[split]
        shown_before = data.seen_before(split)
        expected = np.zeros_like(shown_before)
        acted_on = (log["labels"] > 0).any(1)
        expected[log["user"][acted_on], log["item"][acted_on]] = True
        expected &= ~shown_before & data.available
        first = np.full(data.num_users, np.inf)
        np.minimum.at(first, log["user"], log["time"])
        self.users = np.flatnonzero(expected.any(1))
        self.times = first[self.users]
        self.left_out = shown_before[self.users] | ~data.available
        if (~self.left_out).sum(1).min() < TRUE_RELEVANT:
            raise SystemExit(f"{data.folder}: to some user fewer than {TRUE_RELEVANT} items can be returned; "
                             "simulate a world of more items")
        self.expected = expected[self.users]
        self.impressions = np.bincount(data.log["train"]["user"], minlength=data.num_users)[self.users]
        self.ranker = self._corpus(data.ranker_values(self.users, self.times))
        self.true = self._corpus(data.true_values(self.users, self.times)) if data.has_truth() else None

    def _corpus(self, scores):
        # As floats, as twotower compares them: ties are the same ties.
        return np.where(self.left_out, -np.inf, scores.astype(np.float32))

    def per_user(self, scores):
        """Each measure of each user; scores: [users, items], a row for each of self.users."""
        items = self.expected.shape[1]
        returned = best(self._corpus(scores), FUNNEL_K)
        ranker_order = best(self.ranker, FUNNEL_K)
        retrieved_value = at(self.ranker, returned)
        shown = at(returned, best(retrieved_value, FUNNEL_N))  # by the ranker, of what was retrieved

        def value_share(values, order):
            return at(values, shown).sum(1, dtype=np.float64) / at(values, order[:, :FUNNEL_N]).sum(1, dtype=np.float64)

        measures = {
            "recall@20": at(self.expected, returned[:, :20]).sum(1) / self.expected.sum(1),
            "agreement@20": overlap(returned[:, :20], ranker_order[:, :20], items) / 20,
            "agreement@10:100": overlap(returned, ranker_order[:, :FUNNEL_N], items) / FUNNEL_N,
            "kendall@100": kendall_of_order(retrieved_value),
            "funnel_value@10:100": value_share(self.ranker, ranker_order),
        }
        if self.true is not None:
            true_order, discount = best(self.true, TRUE_RELEVANT), 1 / np.log2(np.arange(2, 12))
            measures |= {
                "true_funnel_value@10:100": value_share(self.true, true_order),
                "true_recall@20": overlap(returned[:, :20], true_order, items) / TRUE_RELEVANT,
                "true_ndcg@10": (at(self.true, returned[:, :10]) @ discount) / (at(self.true, true_order[:, :10]) @ discount),
            }
        return measures

    def judge(self, scores):
        """The means over users, and over each group of users, in the form of `twotower evaluate --json`."""
        per_user = self.per_user(scores)

        def means(chosen):
            return {name: float(np.nanmean(values[chosen])) for name, values in per_user.items()}

        groups, above = [], -1
        for most, name in GROUPS:
            chosen = (self.impressions > above) & (self.impressions <= most)
            if chosen.any():
                groups.append({"impressions": name, "users": int(chosen.sum()), "measures": means(chosen)})
            above = most
        return {"measures": means(slice(None)), "groups": groups}


def exported(twotower, run, what):
    """The vectors of a run's items or users."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, what + ".safetensors")
        subprocess.run([twotower, "export", "--run", run, f"--{what}", "--out", path, "--quiet"], check=True)
        return next(iter(read_safetensors(path).values()))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("data")
    parser.add_argument("--twotower", default="build/train/commands/twotower")
    arguments = parser.parse_args()
    judge = Judge(Dataset(arguments.data))
    users, items = (exported(arguments.twotower, arguments.run, what) for what in ("users", "items"))
    ours = judge.judge(users[judge.users] @ items.T)["measures"]
    output = subprocess.run([arguments.twotower, "evaluate", "--run", arguments.run, "--data", arguments.data, "--json",
                             "--no-baselines", "--no-intervals"], check=True, stdout=subprocess.PIPE).stdout
    theirs = json.loads(output)["measures"]
    worst = 0
    for name, value in ours.items():
        print(f"{name:26} {value:.6f}  twotower evaluate {theirs.get(name, float('nan')):.6f}")
        worst = max(worst, abs(value - theirs.get(name, value)))
    if worst > 1e-4:
        raise SystemExit(f"bench/peers/judge.py: the two differ by up to {worst:.6f}; does the run read histories, "
                         "or order by a light ranker? Its exported vectors then are not what is evaluated")


if __name__ == "__main__":
    main()
