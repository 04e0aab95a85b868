"""Chooses how much a peer is regularised as a rung chooses its epoch: by the validation users, who do not judge."""
import time

import numpy as np


def error_and_spread(scores, target, rows):
    """The mean squared error, each user's means taken off, and its standard error over users; rows: whose a pair is."""
    pairs = np.bincount(rows)
    error = scores - target
    of_user = np.bincount(rows, (error - (np.bincount(rows, error) / pairs)[rows]) ** 2)
    mean = of_user.sum() / len(rows)
    return mean, np.sqrt(((of_user - mean * pairs) ** 2).sum()) / len(rows)


def best_scores(data, users, settings, train, errors=1):
    """train(setting): a function from users to their scores of all items; settings: the weakest first. Takes the
    strongest of those within so many standard errors of the least error on the logits of the validation split's logged
    scores (Breiman et al. 1984): these are of items that a policy chose, and the rest of the corpus asks for more
    regularisation than they do. Returns the users' scores and the seconds of that one training."""
    valid_users, items, target = data.scored_pairs("valid")
    asked, rows = np.unique(valid_users, return_inverse=True)
    tried = []
    for setting in settings:
        begin = time.monotonic()
        scores = train(setting)
        seconds = time.monotonic() - begin
        tried.append((*error_and_spread(scores(asked)[rows, items], target, rows), scores, seconds))
    least, error = min(tried, key=lambda one: one[0])[:2]
    most = least + errors * error
    _, _, scores, seconds = [one for one in tried if one[0] <= most][-1]
    return scores(users), seconds
