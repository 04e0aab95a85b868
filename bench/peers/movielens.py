#!/usr/bin/env python3
"""Alignment with a main ranker on MovieLens 100K: the ladder and its peers, without a truth.

    bench/peers/movielens.py --data DATA --twotower build/train/commands/twotower --out out/movielens

DATA holds ml-100k/ (docs/quality.md says in what form); nothing is downloaded. The last fifth of each user's ratings is held
out: those of every other user choose epochs, those of the rest judge. The main ranker (history_ranker.py; needs
PyTorch) is trained on the training ratings from all features, ids of items and histories. What the rungs and the peers get
of it is its score of each rating in the log and of --asked random pairs a user. What is in --out is not computed again.
"""
import argparse
import csv
import json
import os
import subprocess

import numpy as np

import als
import history_ranker
import torch_two_tower
from dataset import Dataset
from judge import FUNNEL_K, Judge

RUNGS = ["base", "history", "light", "kd", "reward", "aligned"]
LIKED = 4  # stars


class Ratings:
    """ml-100k in time order a user, split, with rows in place of ids."""

    def __init__(self, folder):
        def lines(name):
            with open(os.path.join(folder, "ml-100k." + name), encoding="utf-8") as file:
                return list(csv.DictReader((line.replace(":token_seq", "").replace(":token", "").replace(":float", "")
                                            if number == 0 else line for number, line in enumerate(file)), delimiter="\t"))

        ratings = lines("inter")
        self.user_table, self.item_table = lines("user"), lines("item")
        self.user_ids = [line["user_id"] for line in self.user_table]
        self.item_ids = [line["item_id"] for line in self.item_table]
        row_of_user = {name: row for row, name in enumerate(self.user_ids)}
        row_of_item = {name: row for row, name in enumerate(self.item_ids)}
        self.user = np.array([row_of_user[line["user_id"]] for line in ratings])
        self.item = np.array([row_of_item[line["item_id"]] for line in ratings])
        self.time = np.array([float(line["timestamp"]) for line in ratings])
        self.like = np.array([float(line["rating"]) >= LIKED for line in ratings])
        order = np.lexsort((self.item, self.time, self.user))
        self.user, self.item, self.time, self.like = (x[order] for x in (self.user, self.item, self.time, self.like))
        place = np.arange(len(self.user)) - np.searchsorted(self.user, self.user)
        self.held_out = place >= 0.8 * np.bincount(self.user)[self.user]
        self.train_end = np.full(len(self.user_ids), -np.inf)
        np.maximum.at(self.train_end, self.user[~self.held_out], self.time[~self.held_out])
        self.split = np.where(~self.held_out, "train", np.where(self.user % 2 == 0, "valid", "test"))
        self.likes = []
        for user in range(len(self.user_ids)):
            mine = (self.user == user) & self.like & (self.split != "test")
            self.likes.append((self.time[mine], self.item[mine]))

    def features(self):
        """Of users and of items: numbers in units of their spread, categories as ones and zeros."""
        def matrix(table, numeric, sets):
            columns = []
            for name in numeric:
                values = np.array([float(line[name]) if line[name].isdigit() else np.nan for line in table])
                columns.append(np.nan_to_num((values - np.nanmean(values)) / np.nanstd(values)))
            for name in sets:
                for value in sorted({value for line in table for value in line[name].split()}):
                    columns.append(np.array([value in line[name].split() for line in table], float))
            return np.stack(columns, 1)
        return (matrix(self.user_table, ["age"], ["gender", "occupation"]),
                matrix(self.item_table, ["release_year"], ["class"]))


class Judged(Dataset):
    """The imported dataset, with the ranker's values in its order of rows."""

    def __init__(self, folder, ratings, values):
        super().__init__(folder)
        row_of_user = {name: row for row, name in enumerate(ratings.user_ids)}
        row_of_item = {name: row for row, name in enumerate(ratings.item_ids)}
        self.values = values[[row_of_user[name] for name in self.user_ids]][:, [row_of_item[name] for name in self.item_ids]]

    def ranker_values(self, users, times):
        return self.values[users]


class Bench:
    def __init__(self, arguments):
        self.arguments, self.out = arguments, arguments.out
        os.makedirs(self.out, exist_ok=True)

    def path(self, name):
        return os.path.join(self.out, name)

    def twotower(self, *words):
        words = [self.arguments.twotower, *[str(word) for word in words], "--quiet"]
        done = subprocess.run(words, check=False, stdout=subprocess.PIPE)
        if done.returncode != 0:
            raise SystemExit(f"bench/peers/movielens.py: this command failed: {' '.join(words)}")
        return done.stdout

    def prepare(self, ratings):
        """Trains the main ranker, has it score, and imports: `data` to judge by, `served` the same without the test part."""
        ranker = history_ranker.HistoryRanker(*ratings.features())
        histories = history_ranker.recent(ratings.likes, list(zip(ratings.user, ratings.time)))
        train = ratings.split == "train"
        history_ranker.train(ranker, ratings.user[train], histories[train], ratings.item[train], ratings.like[train])
        logged = history_ranker.probabilities(ranker, ratings.user, histories, ratings.item[:, None])[:, 0]
        users = np.arange(len(ratings.user_ids))
        # As of after training, which for those who judge is the moment before their test ratings.
        values = history_ranker.probabilities(
            ranker, users, history_ranker.recent(ratings.likes, [(user, ratings.train_end[user] + 1) for user in users]))
        np.save(self.path("values.npy"), values)

        for part in ("train", "valid", "test"):
            with open(self.path(part + ".csv"), "w", encoding="utf-8", newline="") as file:
                writer = csv.writer(file)
                writer.writerow(["user", "item", "time", "like", "ranker"])
                for row in np.flatnonzero(ratings.split == part):
                    writer.writerow([ratings.user_ids[ratings.user[row]], ratings.item_ids[ratings.item[row]],
                                     int(ratings.time[row]), int(ratings.like[row]), logged[row]])
        chance = np.random.default_rng(1)
        with open(self.path("asked.csv"), "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["user", "item", "like"])
            for user in users:
                for item in chance.choice(len(ratings.item_ids), self.arguments.asked, replace=False):
                    writer.writerow([ratings.user_ids[user], ratings.item_ids[item], values[user, item]])
        for name, table, columns in (("users", ratings.user_table, ["user_id", "age", "gender", "occupation"]),
                                     ("items", ratings.item_table, ["item_id", "release_year", "class"])):
            with open(self.path(name + ".csv"), "w", encoding="utf-8", newline="") as file:
                writer = csv.writer(file)
                writer.writerow([column.replace("user_id", "user").replace("item_id", "item") for column in columns])
                for line in table:
                    writer.writerow([line[column].replace(" ", "|") for column in columns])
        for name, parts in (("data", ("train", "valid", "test")), ("served", ("train", "valid"))):
            self.twotower("import", "csv", *[word for part in parts for word in ("--" + part, self.path(part + ".csv"))],
                          "--user", self.path("users.csv"), "--item", self.path("items.csv"), "--label", "like=like",
                          "--ranker", "like=ranker", "--ranker-pairs", self.path("asked.csv"), "--out", self.path(name))

    def returned(self, run, data, judge, *flags):
        """What a run returns to those who judge, as scores: the first has the highest."""
        with open(self.path("judges.txt"), "w", encoding="utf-8") as file:
            file.writelines(data.user_ids[user] + "\n" for user in judge.users)
        lists = json.loads(self.twotower("retrieve", "--run", run, "--users", self.path("judges.txt"), "-k", FUNNEL_K,
                                         "--json", *flags))
        row_of_item = {name: row for row, name in enumerate(data.item_ids)}
        scores = np.full((len(judge.users), data.num_items), -1e9)
        for row, answer in zip(scores, lists, strict=True):
            for place, item in enumerate(answer["items"]):
                row[row_of_item[item["item"]]] = -place
        return scores

    def rung_rows(self, data, judge):
        for rung in self.arguments.models:
            run, summary = self.path(rung), self.path(rung + ".json")
            if not os.path.exists(summary):
                output = self.twotower("train", "--data", self.path("served"), "--out", run, "--model", rung, "--json",
                                       "--threads", self.arguments.threads, "--set", "debias=none",  # ratings have no slots
                                       *[word for setting in self.arguments.set for word in ("--set", setting)])
                with open(summary, "wb") as file:
                    file.write(output)
            with open(summary, encoding="utf-8") as file:
                seconds = json.load(file)["seconds"]
            whole = judge.judge(self.returned(run, data, judge))["measures"]
            towers = judge.judge(self.returned(run, data, judge, "--towers"))["measures"]
            yield rung, whole, seconds
            if towers != whole:
                yield rung + ", towers alone", towers, seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="the folder with ml-100k/")
    parser.add_argument("--twotower", default="build/train/commands/twotower")
    parser.add_argument("--out", default="out/movielens")
    parser.add_argument("--models", default=RUNGS, type=lambda text: text.split(","))
    parser.add_argument("--set", default=[], action="append", help="KEY=VALUE for every rung's config")
    parser.add_argument("--asked", type=int, default=50, help="random pairs a user that the ranker is asked about")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    bench, ratings = Bench(arguments), Ratings(os.path.join(arguments.data, "ml-100k"))
    if not os.path.exists(bench.path("served")):
        bench.prepare(ratings)
    data = Judged(bench.path("data"), ratings, np.load(bench.path("values.npy")))
    judge = Judge(data)
    popularity = np.bincount(data.log["train"]["item"][data.log["train"]["labels"][:, 0] > 0], minlength=data.num_items)

    def peer_row(name, peer):
        scores, seconds = peer.scores(data, judge.users)
        return name, judge.judge(scores)["measures"], seconds

    rows = [("popularity", judge.judge(np.tile(popularity, (len(judge.users), 1)))["measures"], None),
            *bench.rung_rows(data, judge),
            peer_row("als", als), peer_row("torch", torch_two_tower),
            ("ranker", judge.judge(data.ranker_values(judge.users, judge.times))["measures"], None)]
    measures = list(rows[0][1])
    print("| model | " + " | ".join(measures) + " | seconds |\n|" + " --- |" * (len(measures) + 2))
    for name, found, seconds in rows:
        print(f"| {name} | " + " | ".join(f"{found[measure]:.4f}" for measure in measures) +
              f" | {'' if seconds is None else f'{seconds:.1f}'} |")
    print(f"\n{len(judge.users)} users judge.")


if __name__ == "__main__":
    main()
