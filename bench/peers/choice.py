"""Chooses a peer's setting as a rung chooses its epoch: by the users of the validation split, who do not judge."""
import time

import numpy as np

from dataset import within_user


def best_scores(data, users, settings, train):
    """train(setting): a function from users to their scores of all items. Trains with each setting and takes the one whose
    scores have the least squared error, each user's mean taken off, on the logits of the validation split's logged scores.
    Returns the users' scores and the seconds of that one training."""
    valid_users, items, target = data.scored_pairs("valid")
    asked, rows = np.unique(valid_users, return_inverse=True)
    best = None
    for setting in settings:
        begin = time.monotonic()
        scores = train(setting)
        seconds = time.monotonic() - begin
        error = np.mean(within_user(scores(asked)[rows, items] - target, rows) ** 2)
        if best is None or error < best[0]:
            best = error, scores, seconds
    return best[1](users), best[2]
