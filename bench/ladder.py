#!/usr/bin/env python3
"""The ladder on the simulator, several seeds: what each rung brings over the one it stands on, and beside its peers.

    bench/ladder.py --twotower build/train/commands/twotower --seeds 1,2,3,4,5 --out out/ladder
    bench/ladder.py --world drifting --simulate=--score-noise=0.5 --models debias,kd --out out/noisy

Each seed is a world of its own (`twotower simulate --seed S`). Half of its users pick each rung's best epoch and the other
half judge it: all measures are of users who chose nothing. A rung with a light ranker has a row for its towers alone. The
peers (bench/peers/peers.py; needs numpy, and PyTorch for `torch`) learn from the same log and are judged alike. Prints
means with standard errors, measures by how much the log knows of a user, paired differences and, where `oracle` is among
--models and the world is static, shares of what it reaches. The oracle is told the ranker's values as of the end of train;
in the drifting world it is judged at later moments and no ceiling. What --out holds already is not computed again.
"""
import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tomllib

MEASURES = ["recall@20", "true_recall@20", "true_ndcg@10", "agreement@20", "agreement@10:100", "kendall@100",
            "funnel_value@10:100", "true_funnel_value@10:100"]
RUNGS = ["base", "history", "position", "user", "debias", "light", "kd", "reward", "aligned"]
PEERS = ["als", "torch", "svd 8", "svd 16", "svd 64", "svd of logits 8", "svd of logits 16", "svd of logits 64", "ranker"]
ORACLE_SHARE, ORACLE_EPOCHS = 0.5, 6
SHARED = ["agreement@20", "agreement@10:100", "true_recall@20", "true_ndcg@10"]  # read as shares of oracle - debias
GROUPED = ["agreement@20", "true_ndcg@10"]  # shown by how many impressions train has of a user
# (measure, rung, the row it must beat)
CLAIMS = [("true_recall@20", "history", "base"), ("true_ndcg@10", "history", "base"), ("agreement@20", "history", "base"),
          ("true_recall@20", "position", "history"),
          ("true_recall@20", "debias", "history"), ("true_ndcg@10", "light", "debias"),
          ("agreement@20", "kd", "light"), ("agreement@10:100", "kd", "light"),
          ("agreement@20", "reward", "debias"), ("agreement@10:100", "reward", "debias"),
          *[(measure, rung, peer) for rung in ("kd", "reward", "aligned") for peer in ("als", "torch")
            for measure in ("agreement@20", "funnel_value@10:100", "true_ndcg@10")]]


def mean_and_error(values):
    error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else float("nan")
    return statistics.mean(values), error


def with_error(values, sign=""):
    m, e = mean_and_error(values)
    return f"{m:{sign}.4f}" + ("" if math.isnan(e) else f" ± {e:.4f}")


def correlation(a, b):
    ma, mb = statistics.mean(a), statistics.mean(b)
    cov = sum((x - ma) * (y - mb) for x, y in zip(a, b))
    return cov / math.sqrt(sum((x - ma) ** 2 for x in a) * sum((y - mb) ** 2 for y in b))


def table(header, rows):
    print("| " + " | ".join(header) + " |\n|" + " --- |" * len(header))
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print()


class World:
    """One seed's world: its dataset, its runs, and a row of results for each model, kept in files."""

    def __init__(self, arguments, seed):
        self.arguments, self.seed = arguments, str(seed)
        self.folder = os.path.join(arguments.out, f"seed{seed}")
        self.data = os.path.join(self.folder, "data")
        self.rows = {}
        if not os.path.exists(self.data):
            os.makedirs(self.folder, exist_ok=True)
            self.run("simulate", "--out", self.data, "--world", arguments.world, "--users", arguments.users, "--items",
                     arguments.items, "--impressions", arguments.impressions, "--seed", seed, *arguments.simulate)

    def climb_all(self):
        self.add("rungs", self.arguments.models, self.climb)
        self.add("peers", self.arguments.peers, self.ask_peers)
        return self

    def command(self, words):
        words = [str(word) for word in words]
        done = subprocess.run(words, check=False, stdout=subprocess.PIPE)
        if done.returncode != 0:
            raise SystemExit(f"bench/ladder.py: this command failed: {' '.join(words)}")
        return done.stdout

    def run(self, *words):
        """Standard output of a twotower command."""
        return self.command([self.arguments.twotower, *words, "--threads", self.arguments.threads,
                             *([] if words[0] in ("evaluate", "candidates") else ["--quiet"])])

    def add(self, kind, names, compute):
        """The rows of these names from the kind's file, after those that it lacks are computed and added to it."""
        path, known = os.path.join(self.folder, kind + ".json"), []
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                known = json.load(file)
        done = {row["model"] for row in known}
        for name in names:
            if name not in done:
                known += [row for row in compute(name) if row["model"] not in done]
                done = {row["model"] for row in known}
                with open(path + ".new", "w", encoding="utf-8") as file:
                    json.dump(known, file)
                os.replace(path + ".new", path)
        self.rows.update({row["model"]: row for row in known})

    def climb(self, rung):
        """The rung, trained as `twotower demo` does, its towers alone, and the baselines."""
        if rung == "oracle":
            return self.oracle()
        rows = json.loads(self.run("demo", "--data", self.data, "--out", self.folder, "--seed", self.seed, "--json",
                                   "--epochs", self.arguments.epochs, "--models", rung,
                                   *[word for setting in self.arguments.set for word in ("--set", setting)]))
        run = self.run_of(rung)
        rows[-1].update(self.evaluate(run))
        with open(os.path.join(run, "config.toml"), "rb") as file:
            if tomllib.load(file)["model"]["light_ranker"]:
                rows.append({**rows[-1], "model": f"{rung}, towers alone", **self.evaluate(run, "--towers")})
        return rows

    def oracle(self):
        """The towers of kd, told the main ranker's value of half of all pairs as of the end of train, trained until that
        helps no more."""
        scores = self.ask(self.run_of("debias"), "oracle", "--share", ORACLE_SHARE, "--uniform", 1)
        summary = self.train("oracle", "kd", [scores], f"epochs={ORACLE_EPOCHS}", "weight_decay=0.02",
                             "monitor=agreement@20")
        return [{"model": "oracle", **summary, **self.evaluate(self.run_of("oracle"), "--towers")}]

    def ask(self, run, name, *options):
        """The main ranker's scores of the pairs that a run would ask about: a file."""
        pairs, scores = (os.path.join(self.folder, f"{name}.{kind}.csv") for kind in ("pairs", "scores"))
        self.run("candidates", "--run", run, "--out", pairs, "--seed", self.seed, *options)
        self.command([self.arguments.twotower, "score", "--data", self.data, "--pairs", pairs, "--out", scores])
        return scores

    def train(self, name, rung, scores, *settings):
        """A run of this name, told these files of scores; how long it took and its best epoch."""
        files = [word for file in scores for word in ("--ranker-pairs", file)]
        sets = [word for setting in (*settings, *self.arguments.set) for word in ("--set", setting)]
        summary = json.loads(self.run("train", "--data", self.data, "--out", self.run_of(name), "--model", rung, "--seed",
                                      self.seed, "--json", *files, *sets))
        return {"seconds": summary["seconds"], "best_epoch": summary["best_epoch"]}

    def run_of(self, rung):
        return os.path.join(self.folder, rung)

    def evaluate(self, run, *flags):
        found = json.loads(self.run("evaluate", "--run", run, "--json", "--no-baselines", "--no-intervals", "--by",
                                    "impressions", *flags))
        return {"measures": found["measures"], "groups": found["groups"]}

    def ask_peers(self, peer):
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "peers", "peers.py")
        return json.loads(self.command([sys.executable, script, self.data, "--peers", peer]))

    def learned_curve(self, rung):
        """The examination curve of the rung's best epoch; none where it learns none."""
        with open(os.path.join(self.run_of(rung), "metrics.jsonl"), encoding="utf-8") as lines:
            for line in map(json.loads, lines):
                if line["epoch"] == self.rows[rung]["best_epoch"]:
                    return line.get("position_curve", [])[:10]
        raise SystemExit(f"{self.run_of(rung)}/metrics.jsonl has no epoch {self.rows[rung]['best_epoch']}")


def print_rows(worlds, models):
    def cell(model, measure):
        values = [world.rows[model]["measures"].get(measure) for world in worlds]
        return "" if None in values else with_error(values)

    table(["model", *MEASURES, "seconds"],
          [[model, *[cell(model, measure) for measure in MEASURES],
            f"{statistics.median(world.rows[model]['seconds'] for world in worlds):.1f}"] for model in models])


def print_shares(worlds, models):
    """How much of the way from debias to the oracle each model goes."""
    def share(world, model, measure):
        value, low, high = (world.rows[row]["measures"][measure] for row in (model, "debias", "oracle"))
        return (value - low) / (high - low)

    table(["share of (oracle - debias)", *SHARED],
          [[model, *[with_error([share(world, model, measure) for world in worlds]) for measure in SHARED]]
           for model in models if model not in ("random", "popularity", "recent")])


def print_groups(worlds, models, measure):
    """By how many impressions train has of a user; a mean over the worlds that have such users, each user counting alike."""
    def groups(model):
        return [group for world in worlds for group in world.rows[model].get("groups", [])]

    models = [model for model in models if groups(model)]
    names = sorted({group["impressions"] for model in models for group in groups(model)},
                   key=lambda name: (name.startswith(">"), int(name.strip(">").split("-")[0])))

    def cell(model, name):
        found = [(group["users"], group["measures"][measure]) for group in groups(model) if group["impressions"] == name]
        return f"{sum(n * value for n, value in found) / sum(n for n, _ in found):.4f}" if found else ""

    table([f"{measure} by impressions", *names], [[model, *[cell(model, name) for name in names]] for model in models])


def print_claims(worlds, models):
    lines = []
    for measure, rung, below in CLAIMS:
        if rung in models and below in models:
            differences = [world.rows[rung]["measures"][measure] - world.rows[below]["measures"][measure] for world in worlds]
            lines.append([measure, rung, below, with_error(differences, "+"),
                          f"{sum(d > 0 for d in differences)} of {len(worlds)}"])
    table(["measure", "rung", "over", "difference", "seeds where it is better"], lines)


def print_examination(worlds, rungs):
    true_curve = [(1 + p) ** -0.7 for p in range(10)]  # the simulator's default examination curve
    for rung in rungs:
        curves = [world.learned_curve(rung) for world in worlds]
        if all(curves):
            found = [correlation(curve, true_curve) for curve in curves]
            print(f"examination curve, {rung}: correlation with the true one {min(found):.4f} to {max(found):.4f}")


def names(text):
    return [name for name in text.split(",") if name]


def options(description, out):
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--twotower", default="build/train/commands/twotower")
    parser.add_argument("--seeds", default="1,2,3,4,5", type=lambda text: [int(seed) for seed in text.split(",")])
    parser.add_argument("--out", default=out, help="what is there must be of the same worlds and settings")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--set", default=[], action="append", help="KEY=VALUE for every rung's config")
    parser.add_argument("--world", default="static", choices=["static", "drifting"])
    parser.add_argument("--users", type=int, default=1000)
    parser.add_argument("--items", type=int, default=500)
    parser.add_argument("--impressions", type=int, default=50000)
    parser.add_argument("--simulate", default=[], action="append", metavar="OPTION", help="more for `twotower simulate`")
    return parser


def main():
    parser = options(__doc__, "out/ladder")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--models", default=RUNGS, type=names)
    parser.add_argument("--peers", default=PEERS, type=names)
    arguments = parser.parse_args()
    worlds = [World(arguments, seed).climb_all() for seed in arguments.seeds]
    models = [model for model in worlds[0].rows if all(model in world.rows for world in worlds)]
    print_rows(worlds, models)
    if arguments.world == "static" and "oracle" in models and "debias" in models:
        print_shares(worlds, models)
    for measure in GROUPED:
        print_groups(worlds, models, measure)
    print_claims(worlds, models)
    print_examination(worlds, [rung for rung in arguments.models if rung in models])


if __name__ == "__main__":
    main()
