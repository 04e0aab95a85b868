"""Alternating least squares (Koren, Bell and Volinsky 2009) on the logits of the ranker's logged scores."""
import numpy as np

from choice import best_scores

RIDGES = (0.03, 0.1, 0.3, 1, 3)


def solve_rows(counts, sums, x, ridge):
    """For each row the least squares of its targets on the columns' x; counts, sums: [rows, columns] of the targets."""
    width = x.shape[1]
    products = counts @ (x[:, :, None] * x[:, None, :]).reshape(len(x), -1)
    return np.linalg.solve(products.reshape(-1, width, width) + ridge * np.eye(width), (sums @ x)[:, :, None])[:, :, 0]


def alternating_least_squares(users, items, target, shape, ridge, rank=8, sweeps=40, seed=0, start=None):
    """target - mean ~ user . item + item bias. Returns users [U, rank + 1] and items [I, rank + 1], of which the last
    column is the bias: an item without impressions is drawn to the mean of all. start: the items' before the first sweep."""
    counts, sums = np.zeros(shape), np.zeros(shape)
    np.add.at(counts, (users, items), 1)
    np.add.at(sums, (users, items), target - target.mean())
    v = np.random.default_rng(seed).normal(0, 0.1, (shape[1], rank + 1)) if start is None else start
    u = np.ones((shape[0], rank + 1))
    for _ in range(sweeps):
        u[:, :rank] = solve_rows(counts, sums - counts * v[:, rank], v[:, :rank], ridge)
        v = solve_rows(counts.T, sums.T, u, ridge)
    return u, v


def scores(data, users):
    """The users' scores, and the seconds that training with the chosen ridge took (choice.py)."""
    def train(ridge):
        u, v = alternating_least_squares(*data.scored_pairs(), (data.num_users, data.num_items), ridge)
        return lambda users: u[users] @ v.T
    return best_scores(data, users, RIDGES, train)
