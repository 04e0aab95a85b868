"""A main ranker for MovieLens: a network over all features, the item's id and what the user liked lately."""
import numpy as np
import torch
from torch import nn

HISTORY = 50        # the last so many liked items
NEGATIVES = 8       # random items for each rating; most of what a user did not rate the user would not have liked
ASKED_AT_ONCE = 64  # users whose whole corpus is scored at a time


class HistoryRanker(nn.Module):
    """P(the user, with this history, likes the item). Histories are rows of items, -1 where there is none."""

    def __init__(self, user_features, item_features, width=32):
        super().__init__()
        self.register_buffer("user_features", torch.tensor(user_features, dtype=torch.float32))
        self.register_buffer("item_features", torch.tensor(item_features, dtype=torch.float32))
        self.item = nn.Embedding(len(item_features), width)
        nn.init.normal_(self.item.weight, std=0.1)
        self.item_bias = nn.Embedding(len(item_features), 1)
        nn.init.zeros_(self.item_bias.weight)
        self.mlp = nn.Sequential(nn.Linear(user_features.shape[1] + 2 * item_features.shape[1] + 3 * width, 64), nn.ReLU(),
                                 nn.Dropout(0.1), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, users, histories, items):
        """users [n], histories [n, HISTORY], items [n, m]: logits [n, m]."""
        there = (histories >= 0).float()[:, :, None]
        length = there.sum(1).clamp(min=1)
        rows = histories.clamp(min=0)
        liked = (self.item(rows) * there).sum(1) / length
        features_liked = (self.item_features[rows] * there).sum(1) / length
        candidate, features = self.item(items), self.item_features[items]
        user = torch.cat([self.user_features[users], liked], 1)[:, None].expand(-1, items.shape[1], -1)
        together = torch.cat([user, candidate, liked[:, None] * candidate, features, features_liked[:, None] * features], 2)
        return (self.mlp(together) + self.item_bias(items))[:, :, 0] + (liked[:, None] * candidate).sum(2)


def recent(likes, moments):
    """For each (user, time) the items that the user liked before, the last HISTORY of them. likes: a pair of arrays, times
    ascending and items, for each user."""
    out = np.full((len(moments), HISTORY), -1)
    for row, (user, time) in enumerate(moments):
        times, items = likes[user]
        end = np.searchsorted(times, time)
        last = items[max(0, end - HISTORY):end]
        out[row, :len(last)] = last
    return out


def train(ranker, users, histories, items, likes, epochs=15, batch=1024, seed=1):
    """Cross-entropy on the ratings and, as not liked, on random items."""
    torch.manual_seed(seed)
    users, histories, items = (torch.from_numpy(x) for x in (users, histories, items))
    likes = torch.from_numpy(likes).float()
    optimizer = torch.optim.AdamW(ranker.parameters(), lr=2e-3, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for _ in range(epochs):
        ranker.train()
        for rows in torch.randperm(len(users)).split(batch):
            drawn = torch.randint(len(ranker.item_features), (len(rows), NEGATIVES))
            logits = ranker(users[rows], histories[rows], torch.cat([items[rows, None], drawn], 1))
            labels = torch.cat([likes[rows, None], torch.zeros(len(rows), NEGATIVES)], 1)
            loss = nn.functional.binary_cross_entropy_with_logits(logits, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()


def probabilities(ranker, users, histories, items=None):
    """Of given items [n, m], or of all."""
    ranker.eval()
    users, histories = torch.from_numpy(users), torch.from_numpy(histories)
    every = torch.arange(len(ranker.item_features))
    parts = []
    with torch.no_grad():
        for rows in torch.arange(len(users)).split(ASKED_AT_ONCE if items is None else 4096):
            asked = every.expand(len(rows), -1) if items is None else torch.from_numpy(items)[rows]
            parts.append(torch.sigmoid(ranker(users[rows], histories[rows], asked)).numpy())
    return np.concatenate(parts)
