"""A dataset folder of twotower in numpy: logs, features and, of simulated data, the truth (docs/formats.md)."""
import json
import os

import numpy as np

TYPES = {"F32": np.float32, "F64": np.float64, "I32": np.int32, "I64": np.int64, "U8": np.uint8}


def read_safetensors(path):
    """All tensors of the file by name: 8 bytes of length, a JSON header, then the raw numbers."""
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        numbers = file.read()
    tensors = {}
    for name, entry in header.items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            tensors[name] = np.frombuffer(numbers[begin:end], TYPES[entry["dtype"]]).reshape(entry["shape"])
    return tensors


def texts(tensors):
    """The original ids, a row each."""
    text, offsets = tensors["id_bytes"].tobytes(), tensors["id_offsets"]
    return [text[begin:end].decode() for begin, end in zip(offsets[:-1], offsets[1:])]


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def logit(p):
    p = np.clip(p.astype(np.float64), 1e-4, 1 - 1e-4)  # as models/list_batch.h takes them
    return np.log(p / (1 - p))


class LatentModel:
    """The truth of a simulated world, or its main ranker. A row of `user` is a user or, where interests move, a user as of
    some time.

        logit_t(row, i) = offset_t + gain_t (sum_k user_k task_tk item_ik + quality_i) + shift_i
    """

    def __init__(self, tensors, prefix):
        names = ("user", "item", "quality", "task", "offset", "gain")
        self.user, self.item, self.quality, self.task, self.offset, self.gain = (
            tensors[f"{prefix}.{name}"].astype(np.float64) for name in names)
        self.shift = tensors.get(prefix + ".shift", 0)

    def values(self, rows, weights):
        """Value of every item for each of the rows: the weighted sum of the probabilities, [rows, items]."""
        return sum(w * sigmoid(offset + gain * (self.user[rows] * task @ self.item.T + self.quality) + self.shift)
                   for w, task, offset, gain in zip(weights, self.task, self.offset, self.gain))


class Dataset:
    def __init__(self, folder):
        self.folder = folder
        with open(os.path.join(folder, "dataset.json"), encoding="utf-8") as file:
            self.info = json.load(file)
        self.num_users, self.num_items = self.info["users"], self.info["items"]
        self.value_weights = np.array(self.info["value_weights"])
        self.log = {split: self._read(split) for split, rows in self.info["impressions"].items() if rows > 0}
        users, items = self._read("users"), self._read("items")
        self.user_ids, self.item_ids = texts(users), texts(items)
        self.user_features, self.item_features = users["features"], items["features"]
        self.available = items.get("available", np.ones(self.num_items)) > 0  # may be returned
        if self.has_truth():
            tensors = self._read("truth")
            self.truth, self.ranker = LatentModel(tensors, "truth"), LatentModel(tensors, "ranker")
            self._offsets, self._since = tensors.get("user_offsets"), tensors.get("user_since")

    def has_truth(self):
        return os.path.exists(self._path("truth"))

    def _path(self, name):
        return os.path.join(self.folder, name + ".safetensors")

    def _read(self, name):
        return read_safetensors(self._path(name))

    def _rows(self, users, times):
        """The users' rows as of the times: the last that began before, or a user's first."""
        if self._offsets is None:
            return users
        first, end = self._offsets[users], self._offsets[users + 1]
        return np.array([max(a, a + np.searchsorted(self._since[a:b], time, "right") - 1)
                         for a, b, time in zip(first, end, times)], dtype=np.int64)

    def true_values(self, users, times):
        """What each item is truly worth to each user at that user's moment, [users, items]."""
        return self.truth.values(self._rows(users, times), self.value_weights)

    def ranker_values(self, users, times):
        """What the main ranker thinks it is worth."""
        return self.ranker.values(self._rows(users, times), self.value_weights)

    def seen_before(self, split):
        """[users, items]: shown to the user in a split before this one."""
        seen = np.zeros((self.num_users, self.num_items), bool)
        for earlier in ("train", "valid", "test"):
            if earlier == split:
                return seen
            if earlier in self.log:
                seen[self.log[earlier]["user"], self.log[earlier]["item"]] = True
        raise ValueError(f"no split {split}")

    def scored_pairs(self, split="train"):
        """User, item and target of each pair of which the main ranker's word is known, as it was logged or, in training,
        asked for: the mean over tasks of the logits of its scores, weighted as the tasks are valued."""
        sources = [self.log[split]]
        if split == "train" and os.path.exists(self._path("ranker_pairs")):
            sources.append(self._read("ranker_pairs"))
        users, items = (np.concatenate([source[name] for source in sources]).astype(np.int64) for name in ("user", "item"))
        scores = np.concatenate([source["ranker_scores" if "ranker_scores" in source else "scores"] for source in sources])
        return users, items, logit(scores) @ self.value_weights / self.value_weights.sum()
