#!/usr/bin/env python3
"""Held-out quality beside published numbers: one command for each public table's row.

    bench/quality.py ml-1m --data DATA                 # trains, tests, prints our row beside the published ones
    bench/quality.py all --data DATA
    bench/quality.py ablation --data DATA              # one option at a time, on the validation parts

DATA holds a folder for each dataset (docs/quality.md says in what form); nothing is downloaded. A result that --out has
already is not computed again. Every row prints its protocol, the mean over seeds with its standard error, what simple
methods give on the same split (`twotower evaluate --baselines all`), the published numbers with their sources, and the
time and peak memory of the training.
"""
import argparse
import json
import math
import os
import re
import shutil
import statistics
import subprocess
import sys
import time

from quality_rows import ABLATIONS, ROWS


def mean_and_error(values):
    error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else float("nan")
    return statistics.mean(values), error


def run(command):
    """Standard output, seconds and peak memory in MiB of a command; what it says goes to standard error."""
    begin = time.monotonic()
    process = subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"bench/quality.py: this command failed: {' '.join(str(word) for word in command)}")
    return output, time.monotonic() - begin, usage.ru_maxrss / 1024


def with_error(value, error, sign=""):
    return f"{value:{sign}.4f}" + ("" if math.isnan(error) else f" ± {error:.4f}")


def label(way, measure):
    return measure if way == "seen removed" else f"{measure}, {way}"


def change_text(key, value):
    return f"without `{key}`" if value is None else f"`{key} = {value}`"


class Bench:
    def __init__(self, arguments):
        self.twotower = os.path.join(arguments.build, "train/commands/twotower")
        self.data, self.out, self.threads = arguments.data, arguments.out, arguments.threads
        self.seeds = arguments.seeds
        if not os.path.exists(self.twotower):
            raise SystemExit(f"bench/quality.py: {self.twotower} is not there; build first, or name the folder with --build")

    def dataset(self, row, seed, part):
        """Imports the row's data: for `part` valid with a validation part, for test with all of it trained on."""
        folder = os.path.join(self.out, "data", row["name"] + (f"-{seed}" if row["split_seeds"] else "") + "-" + part)
        if not os.path.exists(os.path.join(folder, "dataset.json")):
            if not os.path.isdir(os.path.join(self.data, row["folder"])):
                raise SystemExit(f"bench/quality.py: {self.data} has no folder {row['folder']}; name the folder that has with "
                                 "--data")
            options = row["import"](self.data, folder, seed, part)
            run([self.twotower, "import", *options, "--out", folder, "--quiet", "--json"])
        return folder

    def result(self, row, name, rung, settings, seed, part, baselines=False):
        """Trains one model and measures it on `part`; with baselines, what simple methods give there, too."""
        file = os.path.join(self.out, "results", re.sub(r"[^A-Za-z0-9.]+", "_", f"{row['name']} {name} {seed} {part}") + ".json")
        wanted = {"settings": settings, "rung": rung}
        if os.path.exists(file):
            with open(file, encoding="utf-8") as old:
                found = json.load(old)
            if found["wanted"] == wanted:
                return found
        folder = self.dataset(row, seed, part)
        model = file[:-5] + ".run"
        shutil.rmtree(model, ignore_errors=True)
        command = [self.twotower, "train", "--data", folder, "--out", model, "--model", rung, "--threads", self.threads,
                   "--seed", seed, "--quiet", "--json"]
        for key, value in settings.items():
            command += ["--set", f"{key}={value}"]
        summary, seconds, memory = run(command)
        found = {"wanted": wanted, "seconds": seconds, "memory": memory, "epochs": json.loads(summary)["best_epoch"]}
        for way, flags in row["evaluate"].items():
            beside = ["--baselines", "all"] if baselines else ["--no-baselines"]
            output, seconds, memory = run([self.twotower, "evaluate", "--run", model, "--split", part, "--json",
                                           "--threads", self.threads, "--k", row["k"], *beside, *flags])
            found[way] = {**json.loads(output), "seconds": seconds, "memory": memory}
        shutil.rmtree(model)
        os.makedirs(os.path.dirname(file), exist_ok=True)
        with open(file, "w", encoding="utf-8") as new:
            json.dump(found, new)
        return found

    def simple(self, row, seeds, part):
        """What simple methods give on `part`, a split each where seeds split. They need a run and do not depend on it."""
        return [self.result(row, "simple methods", "base", {"epochs": 1, "patience": 0}, seed, part, baselines=True)
                for seed in (seeds if row["split_seeds"] else seeds[:1])]


def cells(results, measures, baseline=None):
    out = []
    for way, measure in measures:
        values = [(r[way]["baselines"][baseline] if baseline else r[way]["measures"])[measure] for r in results]
        m, e = mean_and_error(values)
        if len(values) > 1:
            out.append(with_error(m, e))
        elif baseline:
            out.append(f"{m:.4f}")
        else:
            interval = results[0][way]["intervals"].get(measure)
            out.append(f"{m:.4f}" + (f" ({interval[0]:.4f} .. {interval[1]:.4f})" if interval else ""))
    return out


def table(header, rows):
    print("| " + " | ".join(header) + " |\n|" + " --- |" * len(header))
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print()


def simple_rows(row, results, measures, before=()):
    """A line for each simple method; a Markov chain is none where a user's actions have no order."""
    names = [name for name in results[0][measures[0][0]]["baselines"]
             if name != "random" and (row["ordered"] or name != "markov")]
    return [[name, *before, *cells(results, measures, name)] for name in names]


def print_row(bench, row):
    print(f"## {row['title']}\n\n{row['protocol']}\n", flush=True)
    measures, lines, all_results, seeds = row["measures"], [], [], bench.seeds or row["seeds"]
    for name, model in row["models"].items():
        results = [bench.result(row, name, model["rung"], model["settings"], seed, "test") for seed in seeds]
        all_results.append(results)
        lines.append([name, *cells(results, measures), f"{statistics.mean(r['seconds'] for r in results):.0f} s",
                      f"{max(r['memory'] for r in results):.0f} MiB"])
    simple = bench.simple(row, seeds, "test")
    lines += [[*line, "", ""] for line in simple_rows(row, simple, measures)]
    for name, values, source in row["published"]:
        lines.append([f"{name} ({source})", *[values.get(f"{way} {measure}", "") for way, measure in measures], "", ""])
    table(["model", *[label(way, measure) for way, measure in measures], "time", "memory"], lines)
    first = simple[0][measures[0][0]]
    print(f"The simple methods together: {first['seconds']:.0f} s, {first['memory']:.0f} MiB.\n\n"
          f"As measured: {all_results[0][0][measures[0][0]]['protocol']}.\n", flush=True)


def print_ablation(bench, study):
    row = ROWS[study["row"]]
    measures = study["measures"]
    print(f"## Ablation: {study['title']}\n\n{study['protocol']}\n", flush=True)
    seeds = bench.seeds or study["seeds"]
    base = study["base"]
    base_results, lines = None, []
    for name, changes in study["changes"].items():
        settings = {key: value for key, value in {**base["settings"], **changes}.items() if value is not None}
        results = [bench.result(row, "ablation " + name, base["rung"], settings, seed, "valid") for seed in seeds]
        base_results = base_results or results
        line = [name, ", ".join(change_text(k, v) for k, v in changes.items()) or "as in the row above"]
        for way, measure in measures:
            values = [r[way]["measures"][measure] for r in results]
            m, e = mean_and_error(values)
            if results is base_results:
                line.append(with_error(m, e))
                continue
            differences = [a - b[way]["measures"][measure] for a, b in zip(values, base_results)]
            dm, de = mean_and_error(differences)
            line.append(f"{m:.4f} ({with_error(dm, de, '+')})")
        lines.append(line + [f"{statistics.mean(r['seconds'] for r in results):.0f} s"])
        print(f"  {name}: done", file=sys.stderr, flush=True)
    lines += [[*line, ""] for line in simple_rows(row, bench.simple(row, seeds, "valid"), measures, ["simple method"])]
    table(["model", "change", *[label(way, measure) for way, measure in measures], "time"], lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("row", choices=[*ROWS, "all", "ablation"])
    parser.add_argument("--data", required=True, help="the folder with ml-1m/, gowalla/, ...")
    parser.add_argument("--build", default="build", help="the build folder")
    parser.add_argument("--out", default="out/quality", help="where datasets and results go")
    parser.add_argument("--seeds", type=lambda text: [int(s) for s in text.split(",")], help="instead of the row's own")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", help="of the ablations, the one of this dataset")
    arguments = parser.parse_args()
    bench = Bench(arguments)
    if arguments.row == "ablation":
        for study in ABLATIONS:
            if arguments.only in (None, study["row"]):
                print_ablation(bench, study)
        return
    for name in ROWS if arguments.row == "all" else [arguments.row]:
        print_row(bench, ROWS[name])


if __name__ == "__main__":
    main()
