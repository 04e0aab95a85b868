"""Two towers as one writes them first in PyTorch: regression on the logits of the ranker's logged scores."""
import torch
from torch import nn

from choice import best_scores

WEIGHT_DECAYS = (0.01, 0.1, 1)


class Tower(nn.Module):
    def __init__(self, features, width):
        super().__init__()
        self.register_buffer("features", torch.tensor(features))
        self.id = nn.Embedding(len(features), width)
        nn.init.normal_(self.id.weight, std=0.1)
        self.mlp = nn.Sequential(nn.Linear(features.shape[1], 32), nn.ReLU(), nn.Linear(32, width))
        self.bias = nn.Embedding(len(features), 1)
        nn.init.zeros_(self.bias.weight)

    def forward(self, rows):
        return self.id(rows) + self.mlp(self.features[rows]), self.bias(rows)[:, 0]


def train(data, weight_decay, width=16, epochs=100, rate=0.01, batch=1024, seed=0):
    """The two towers, trained by squared error."""
    torch.manual_seed(seed)
    users, items, target = (torch.from_numpy(x) for x in data.scored_pairs())
    target = (target - target.mean()).float()
    user_tower, item_tower = Tower(data.user_features, width), Tower(data.item_features, width)
    optimizer = torch.optim.AdamW([*user_tower.parameters(), *item_tower.parameters()], lr=rate,
                                  weight_decay=weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for _ in range(epochs):
        for rows in torch.randperm(len(target)).split(batch):
            (u, user_bias), (v, item_bias) = user_tower(users[rows]), item_tower(items[rows])
            loss = nn.functional.mse_loss((u * v).sum(1) + user_bias + item_bias, target[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()
    return user_tower, item_tower


def scores(data, users):
    """The users' scores, and the seconds that training with the chosen weight decay took (choice.py)."""
    def trained(weight_decay):
        user_tower, item_tower = train(data, weight_decay)

        @torch.no_grad()
        def of(users):
            u, _ = user_tower(torch.from_numpy(users))
            v, item_bias = item_tower(torch.arange(data.num_items))
            return (u @ v.T + item_bias).numpy()
        return of
    return best_scores(data, users, WEIGHT_DECAYS, trained, errors=0)  # least error: AdamW is at its best there
