"""Alternating least squares (Koren, Bell and Volinsky 2009) on the logits of the ranker's logged scores."""
import numpy as np


def solve_rows(counts, sums, x, ridge):
    """For each row the least squares of its targets on the columns' x; counts, sums: [rows, columns] of the targets."""
    width = x.shape[1]
    products = counts @ (x[:, :, None] * x[:, None, :]).reshape(len(x), -1)
    return np.linalg.solve(products.reshape(-1, width, width) + ridge * np.eye(width), (sums @ x)[:, :, None])[:, :, 0]


def alternating_least_squares(users, items, target, shape, rank=8, sweeps=40, ridge=0.3, seed=0):
    """target - mean ~ user . item + item bias. Returns users [U, rank + 1] and items [I, rank + 1], of which the last
    column is the bias: an item without impressions is drawn to the mean of all."""
    counts, sums = np.zeros(shape), np.zeros(shape)
    np.add.at(counts, (users, items), 1)
    np.add.at(sums, (users, items), target - target.mean())
    v = np.random.default_rng(seed).normal(0, 0.1, (shape[1], rank + 1))
    u = np.ones((shape[0], rank + 1))
    for _ in range(sweeps):
        u[:, :rank] = solve_rows(counts, sums - counts * v[:, rank], v[:, :rank], ridge)
        v = solve_rows(counts.T, sums.T, u, ridge)
    return u, v


def scores(data, users, **options):
    u, v = alternating_least_squares(*data.scored_pairs(), (data.num_users, data.num_items), **options)
    return u[users] @ v.T
