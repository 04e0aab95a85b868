"""The rows of bench/quality.py: protocols, our settings, published numbers; and the ablations behind the settings."""
import functools
import math
import os
import random

# Full softmax for ids alone: rows are users, towers without heads, so plain matrix factorisation on the sphere.
FACTORS = {"rows": "users", "full_softmax": "true", "normalize": "true", "tower_head": "sum", "patience": 0,
           "evaluate_every": 1000}
# An impression a row with the history before it, against all items.
SEQUENCES = {"full_softmax": "true", "normalize": "true", "temperature": 0.1, "batch_size": 512, "learning_rate": 0.002,
             "ema": 0.995, "dropout": 0.2, "user_id_dropout": 0,
             "monitor": "ndcg@10", "patience": 0}
# A user's actions in one pass of a causal encoder, users known by these alone.
CAUSAL = {"rows": "sequences", "causal": "true", "full_softmax": "true", "mask_user_positives": "true", "normalize": "true",
          "user_id_dropout": 1, "attention_layers": 1, "attention_heads": 8, "monitor": "ndcg@10", "patience": 0}
CAUSAL_100K = {**CAUSAL, "temperature": 0.1, "batch_size": 512, "learning_rate": 0.002, "ema": 0.995, "dropout": 0.2,
               "epochs": 16}
CAUSAL_BEAUTY = {**CAUSAL, "temperature": 0.05, "batch_size": 1024, "learning_rate": 0.005, "ema": 0.998, "dropout": 0.4,
                 "epochs": 11}
TRANSFORMER = {"attention_layers": 1, "attention_heads": 2, "transformer_blocks": "true"}


def lists(name, data, folder, seed, part):
    """A given split. For choosing settings, a tenth of each user's training items, rounded up, as that of ml-1m has."""
    train = os.path.join(data, name, "train.txt")
    if part == "test":
        return ["lists", "--train", train, "--test", os.path.join(data, name, "test.txt")]
    chance = random.Random(7)
    paths = [folder + "-train.txt", folder + "-valid.txt"]
    os.makedirs(os.path.dirname(folder), exist_ok=True)
    with open(train, encoding="utf-8") as lines, open(paths[0], "w", encoding="utf-8") as kept, \
            open(paths[1], "w", encoding="utf-8") as held:
        for line in lines:
            user, *items = line.split()
            chance.shuffle(items)
            share = math.ceil(len(items) / 10)
            held.write(" ".join([user, *items[:share]]) + "\n")
            kept.write(" ".join([user, *items[share:]]) + "\n")
    return ["lists", "--train", paths[0], "--valid", paths[1]]


def ratings(data, folder, seed, part):
    """ml-100k without its times, every rating a positive: the split is random, and a user has no order."""
    path = folder + ".inter"
    os.makedirs(os.path.dirname(folder), exist_ok=True)
    with open(os.path.join(data, "ml-100k", "ml-100k.inter"), encoding="utf-8") as lines, \
            open(path, "w", encoding="utf-8") as out:
        for line in lines:
            out.write("\t".join(line.split("\t")[:3]) + "\n")
    return ["recbole", "--inter", path, "--label", "rated=rating>=0", "--split", "random:0.8", "--seed", seed,
            "--hold-out", 0.1 if part == "valid" else 0]


def last_out(data, folder, seed, part):
    """ml-100k in time order: the last rating of each user is test, the one before it valid."""
    return ["recbole", "--inter", os.path.join(data, "ml-100k", "ml-100k.inter"), "--label", "rated=rating>=0", "--split",
            "leave-last-out"]


def sequences(data, folder, seed, part):
    """Beauty in time order: the last item of each user is test, the one before it valid."""
    return ["sequences", "--train", os.path.join(data, "beauty", "sequences.txt"), "--split", "leave-last-out"]


REMOVED, KEPT = "seen removed", "seen kept"
ML_1M = {**FACTORS, "temperature": 0.15, "mask_user_positives": "true", "batch_size": 128, "learning_rate": 0.01,
         "beta1": 0.5, "user_table_rate": 2, "user_weight_power": 0.25, "dropout": 0.1, "ema": 0.998, "epochs": 50}
ML_100K = {**FACTORS, "temperature": 0.22, "mask_user_positives": "true", "batch_size": 64, "learning_rate": 0.005,
           "user_table_rate": 4, "user_weight_power": 0.8, "ema": 0.99, "dropout": 0.1, "epochs": 60}

RECALL_20 = [(REMOVED, "recall@20"), (REMOVED, "ndcg@20")]
TOP_10 = [(REMOVED, "hit@10"), (REMOVED, "ndcg@10")]


def published(measures, rows):
    """rows: a name, a value for each measure, the source."""
    return [(name, {f"{way} {measure}": value for (way, measure), value in zip(measures, values)}, source)
            for name, *values, source in rows]


def given_split(name, title, settings, chosen, others):
    """A dataset of the LightGCN family: train.txt and test.txt, a line a user, in no order."""
    return {
        "name": name,
        "title": title + ", the split of the LightGCN family",
        "protocol": "Given split; ids alone, width 64; all items ranked, training items removed; recall@20 is hits / number of "
                    "the user's test items, NDCG@20 has the ideal of min(20, test items); averages over users. Settings and "
                    f"epochs {chosen}; the run here trains on all training items.",
        "folder": name, "import": functools.partial(lists, name), "ordered": False, "split_seeds": False,
        "seeds": [1, 2, 3], "k": "20", "evaluate": {REMOVED: []}, "measures": RECALL_20,
        "models": {"ours: full softmax": {"rung": "base", "settings": settings}},
        "published": published(RECALL_20, others),
    }


ESASREC = "Tikhonovich et al. 2025, eSASRec"

ROWS = {
    "ml-1m": given_split("ml-1m", "MovieLens 1M", ML_1M, "were chosen on a tenth of each user's training items", [
        ("LightGCN", "0.2576", "0.2427", "Mao et al. 2021, UltraGCN"),
        ("UltraGCN", "0.2787", "0.2642", "Mao et al. 2021, UltraGCN"),
        ("SimpleX", "0.2802", "0.2670", "Mao et al. 2021, SimpleX"),
        ("MF, softmax loss", "0.2809", "0.2662", "Mao et al. 2021, SimpleX"),
    ]),
    "ml-100k": {
        "name": "ml-100k",
        "title": "MovieLens 100K, the protocol of TensorFlow Recommenders' tutorials",
        "protocol": "Random 80/20, every rating a positive, ids alone, a new split for each seed; top-K accuracy is the share "
                    "of test ratings whose item is among the K returned, over all ratings. The tutorials keep the items seen "
                    "in training among those returned; beside that the same model with them removed.",
        "folder": "ml-100k", "import": ratings, "ordered": False, "split_seeds": True,
        "seeds": [1, 2, 3, 4, 5], "k": "10,100",
        "evaluate": {KEPT: ["--include-seen"], REMOVED: []},
        "measures": [(KEPT, "accuracy@100"), (REMOVED, "accuracy@10"), (REMOVED, "accuracy@100")],
        "models": {"ours: full softmax": {"rung": "base", "settings": ML_100K}},
        "published": [
            ("deep model, 300 epochs", {f"{KEPT} accuracy@100": "0.29"},
             "TensorFlow Recommenders, \"Building deep retrieval models\""),
        ],
    },
    "ml-100k-last": {
        "name": "ml-100k-last",
        "title": "MovieLens 100K, leave-last-out, with the history encoder",
        "protocol": "A user's last rating is test, the one before it valid; every rating a positive; ids alone; all items "
                    "ranked, seen items removed; with one test item HR@10 is hit@10.",
        "folder": "ml-100k", "import": last_out, "ordered": True, "split_seeds": False, "seeds": [1], "k": "10",
        "evaluate": {REMOVED: []},
        "measures": TOP_10,
        "models": {
            "without history": {"rung": "base", "settings": {**SEQUENCES, "epochs": 12}},
            "history encoder": {"rung": "history", "settings": {**SEQUENCES, "attention_layers": 1, "epochs": 15}},
            "transformer block": {"rung": "history", "settings": {**SEQUENCES, **TRANSFORMER, "epochs": 15}},
            "sequences": {"rung": "history", "settings": CAUSAL_100K},
        },
        "published": [],
    },
    "gowalla": given_split("gowalla", "Gowalla", ML_1M, "are those of ml-1m", [
        ("LightGCN", "0.1820", "0.1547", "Wu et al. 2024, BSL"),
        ("UltraGCN", "0.1862", "0.1580", "Mao et al. 2021, UltraGCN"),
        ("SimpleX", "0.1872", "0.1557", "Mao et al. 2021, SimpleX"),
        ("MF, BSL", "0.1882", "0.1584", "Wu et al. 2024, BSL"),
        ("LightGCN, BSL", "0.1892", "0.1590", "Wu et al. 2024, BSL"),
    ]),
    "beauty": {
        "name": "beauty",
        "title": "Amazon Beauty, leave-last-out",
        "protocol": "Users and items with five actions and more, in time order (S3-Rec's preprocessing); a user's last action "
                    "is test, the one before it valid; ids alone; all items ranked, seen items removed; with one test item "
                    "R@10 is hit@10.",
        "folder": "beauty", "import": sequences, "ordered": True, "split_seeds": False, "seeds": [1, 2, 3], "k": "10",
        "evaluate": {REMOVED: []},
        "measures": TOP_10,
        "models": {"sequences": {"rung": "history", "settings": CAUSAL_BEAUTY}},
        "published": published(TOP_10, [
            ("SASRec, sampled softmax", "0.0921", "0.0531", ESASREC),
            ("eSASRec", "0.0928", "0.0523", ESASREC),
            ("HSTU", "0.0788", "0.0439", ESASREC),
            ("FuXi-α", "0.0809", "0.0451", ESASREC),
        ]),
    },
}


def without(*keys):
    return {key: None for key in keys}


# One option at a time, measured on the validation parts. None takes a key away: the default.
IN_BATCH = {**without("rows", "full_softmax", "mask_user_positives", "user_weight_power", "user_table_rate"),
            "batch_size": 1024}
CHANGES = {
    "as chosen": {},
    "positives compete": without("mask_user_positives"),
    "no EMA": without("ema"),
    "towers with heads": without("tower_head"),
    "inner products, not cosines": {"normalize": "false", "temperature": 1},
    "temperature learned": {"learn_temperature": "true"},
    "users learn at the rate of items": without("user_table_rate"),
    "cosine decay of the rate": {"decay": "cosine"},
    "weight decay": {"weight_decay": 0.1},
    "width 32": {"user_id_embedding_dim": 32, "item_id_embedding_dim": 32},
}

ABLATIONS = [
    {"row": "ml-1m", "title": "ml-1m", "seeds": [1], "base": {"rung": "base", "settings": ML_1M},
     "protocol": "A tenth of each user's training items held out; the given test part is not touched.",
     "measures": RECALL_20,
     "changes": {**CHANGES, "temperature 0.1": {"temperature": 0.1}, "temperature 0.2": {"temperature": 0.2},
                 "all positives alike": {"user_weight_power": 1}, "all users alike": {"user_weight_power": 0},
                 "no dropout": without("dropout"),
                 "in-batch softmax, log Q": {**IN_BATCH, "epochs": 4}}},
    {"row": "ml-100k", "title": "ml-100k, random split", "seeds": [1, 2], "base": {"rung": "base", "settings": ML_100K},
     "protocol": "A tenth of the training part held out, two splits; the test part is not touched.",
     "measures": [(KEPT, "accuracy@100"), (REMOVED, "accuracy@10"), (REMOVED, "accuracy@100")],
     "changes": {**CHANGES, "temperature 0.2": {"temperature": 0.2}, "temperature 0.24": {"temperature": 0.24},
                 "all positives alike": {"user_weight_power": 1}, "all users alike": {"user_weight_power": 0},
                 "no dropout": without("dropout"),
                 "in-batch softmax, log Q": {**IN_BATCH, "epochs": 20},
                 "in-batch softmax, log Q of counts": {**IN_BATCH, "epochs": 20, "log_q": "counts"},
                 "in-batch softmax, no log Q": {**IN_BATCH, "epochs": 20, "log_q": "none"},
                 "in-batch and 512 uniform negatives": {**IN_BATCH, "epochs": 20, "mixed_negatives": 512}}},
    {"row": "ml-100k-last", "title": "ml-100k, leave-last-out, with the history encoder", "seeds": [1],
     "base": ROWS["ml-100k-last"]["models"]["history encoder"],
     "protocol": "The last rating but one of each user held out; the last one is not touched.",
     "measures": TOP_10,
     "changes": {"as chosen": {}, "no history": {"history": "false"}, "the mean alone": {"attention_layers": 0},
                 "three attention layers": {"attention_layers": 3}, "ids hidden": {"user_id_dropout": 0.3},
                 "no EMA": without("ema"), "no dropout": without("dropout"),
                 "in-batch softmax, log Q": without("full_softmax")}},
]
