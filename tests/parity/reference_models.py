"""The eight rungs in PyTorch under `compat = "reference"`: the yardstick for twotower's numbers.

One module whose parts are switched by the [model] table of a config. A part that is off has no parameters, so
state_dict() names are exactly those of a twotower checkpoint: load_state_dict(load_file("model.safetensors")).
"""
import dataclasses

import torch
import torch.nn.functional as F
from torch import nn

HIDDEN = 256       # inner width of the feature MLPs
POSITIONS = 100    # buckets of the position estimate; later slots share the last one

RUNGS = {
    "base": {},
    "history": {"history": True},
    "position": {"history": True, "debias": "position"},
    "user": {"history": True, "debias": "user"},
    "debias": {"history": True, "debias": "position+user"},
    "light": {"history": True, "debias": "position+user", "light_ranker": True},
    "kd": {"history": True, "debias": "position+user", "light_ranker": True, "distill": True},
    "reward": {"history": True, "debias": "position+user", "alignment": "kl"},
}


@dataclasses.dataclass
class Config:
    """The [model] keys this reference knows. Everything else of twotower has no counterpart here."""
    user_id_hash_size: int
    item_id_hash_size: int
    user_id_embedding_dim: int
    item_id_embedding_dim: int
    user_features_size: int
    item_features_size: int
    user_value_weights: list
    user_history_seqlen: int = 0
    num_items: int = 10
    compat: str = "reference"
    history: bool = False
    attention_heads: int = 4
    attention_layers: int = 3
    debias: str = "none"
    light_ranker: bool = False
    num_mips_items: int = 100
    num_ranker_user_embeddings: int = 4
    distill: bool = False
    kd_weight: float = 1.0
    alignment: str = "none"
    alignment_weight: float = 1.0

    def __post_init__(self):
        if self.compat != "reference" or self.alignment not in ("none", "kl"):
            raise ValueError('reference_models knows compat = "reference" and alignment "none" or "kl" only')
        if self.distill and not self.light_ranker:
            raise ValueError("distill needs light_ranker")


def mlp(inputs, outputs):
    return nn.Sequential(nn.Linear(inputs, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, outputs))


def flipped_positional_encoding(capacity, width):
    """Row r holds PE[capacity-1-r]: the newest item (row 0) gets the last code. [capacity, width]
    The reference's exponents: column j uses 10000^(2j/width), even columns the sine, odd ones the cosine."""
    p = torch.arange(capacity - 1, -1, -1, dtype=torch.float64)[:, None]
    j = torch.arange(width, dtype=torch.float64)
    angle = p / 10000.0 ** (2 * j / width)
    return torch.where(j % 2 == 0, angle.sin(), angle.cos()).to(torch.get_default_dtype())


class HistoryEncoder(nn.Module):
    def __init__(self, width, capacity, heads, layers):
        super().__init__()
        self.multihead_attn_layers = nn.ModuleList(
            nn.MultiheadAttention(width, heads, batch_first=True) for _ in range(layers))
        self.register_buffer("positions", flipped_positional_encoding(capacity, width), persistent=False)

    def attend(self, x, padding):
        """Plain stacked self-attention, no residual; padding marks keys to leave out, or is None. Row 0 of the last."""
        for layer in self.multihead_attn_layers:
            x, _ = layer(x, x, x, key_padding_mask=padding, need_weights=False)
        return x[:, 0]

    def forward(self, rows, valid):
        """rows [B, H, D], newest first; valid bool [B, H], padding at the end -> attended, mean [B, D]."""
        positioned = rows + self.positions[:rows.shape[1]]
        if bool(valid.all()):
            return self.attend(positioned, None), rows.mean(dim=1)
        count = valid.sum(dim=1, keepdim=True)
        mean = rows.masked_fill(~valid[..., None], 0).sum(dim=1) / count.clamp(min=1)
        padding = ~valid
        padding[:, 0] = False    # an empty history may look at one row, so that no softmax is over nothing; zeroed below
        return self.attend(positioned, padding).masked_fill(count == 0, 0), mean


class TwoTower(nn.Module):
    def __init__(self, config, sparse=False):
        super().__init__()
        c = self.config = config
        du, di, tasks = c.user_id_embedding_dim, c.item_id_embedding_dim, len(c.user_value_weights)
        user_input = 2 * du + (2 * di if c.history else 0)
        self.register_buffer("value_weights", torch.tensor(c.user_value_weights, dtype=torch.get_default_dtype()),
                             persistent=False)
        self.user_id_embedding_arch = nn.Embedding(c.user_id_hash_size, du, sparse=sparse)
        self.item_id_embedding_arch = nn.Embedding(c.item_id_hash_size, di, sparse=sparse)
        self.user_features_arch = mlp(c.user_features_size, du)
        self.item_features_arch = mlp(c.item_features_size, di)
        self.user_tower_arch = nn.Linear(user_input, di)
        self.item_tower_arch = nn.Linear(2 * di, di)
        if c.history:
            self.user_history_encoder = HistoryEncoder(di, c.user_history_seqlen, c.attention_heads, c.attention_layers)
        if "position" in c.debias:
            self.position_bias_net_user_value = nn.Embedding(POSITIONS, 1)
        if "user" in c.debias:
            self.user_debias_net_user_value = nn.Sequential(nn.Linear(di + ("position" in c.debias), 1))
        if c.light_ranker:
            nu = c.num_ranker_user_embeddings
            self.ranker_user_tower = nn.Linear(user_input, nu * di)
            self.light_ranker = nn.Linear(2 * di + nu + 1, (2 if c.distill else 1) * tasks)
        if c.alignment != "none":
            self.simple_ranker = nn.Linear(2 * di + 1, tasks)

    # ---- towers

    def user_input(self, batch):
        parts = [self.user_id_embedding_arch(batch["user_id"]), self.user_features_arch(batch["user_features"])]
        if self.config.history:
            valid = batch["user_history"] >= 0
            rows = self.item_id_embedding_arch(batch["user_history"].clamp(min=0))
            parts += self.user_history_encoder(rows, valid)
        return torch.cat(parts, dim=1)

    def item_embedding(self, batch):
        return self.item_tower_arch(torch.cat(
            [self.item_id_embedding_arch(batch["item_id"]), self.item_features_arch(batch["item_features"])], dim=1))

    # ---- the parts of the loss

    def debias(self, value, u, position):
        """(debiased value [B], loss): value divided by what position and user alone would predict of it."""
        kind = self.config.debias
        if kind == "none":
            return value, value.new_zeros(())
        loss, floor, estimate = value.new_zeros(()), 1e-3, None
        if "position" in kind:
            by_position = self.position_bias_net_user_value(position.long().clamp(max=POSITIONS - 1))    # [B, 1]
            estimate = by_position.squeeze(1)
            loss = loss + ((estimate - value) ** 2).sum()
        if "user" in kind:
            inputs = torch.cat([u, by_position], dim=1) if "position" in kind else u
            estimate = self.user_debias_net_user_value(inputs).squeeze(1)
            if kind == "user":
                floor = 0.1
                estimate = estimate.clamp(min=floor)
            loss = loss + ((estimate - value) ** 2).sum()
        return value / estimate.clamp(min=floor), loss

    def light_logits(self, ranker_users, v, m):
        """ranker_users [B, NU, D], candidates v [B, N, D] with retrieval scores m [B, N] -> [B, N, T or 2T]."""
        r = v @ ranker_users.transpose(1, 2)                                # [B, N, NU]
        aware = torch.softmax(r, dim=2) @ ranker_users                      # [B, N, D]
        return self.light_ranker(torch.cat([v, aware, r, m[..., None]], dim=2))

    def ranker_users(self, user_input):
        return self.ranker_user_tower(user_input).view(len(user_input), self.config.num_ranker_user_embeddings, -1)

    def light_loss(self, user_input, v, scores, batch):
        logits = self.light_logits(self.ranker_users(user_input), v[:, None], scores.diagonal()[:, None]).squeeze(1)
        tasks = batch["labels"].shape[1]
        loss = F.binary_cross_entropy_with_logits(logits[:, :tasks], batch["labels"])
        if self.config.distill:
            loss = loss + self.config.kd_weight * F.binary_cross_entropy_with_logits(
                logits[:, tasks:], batch["ranker_scores"])
        return loss

    def pair_logits(self, u, v):
        """The proxy ranker on every pair, [B, B, T]: spelled out, memory be damned."""
        b = u.shape[0]
        left, right = u[:, None].expand(b, b, -1), v[None].expand(b, b, -1)
        return self.simple_ranker(torch.cat([left, right, (u @ v.T)[..., None]], dim=2))

    def alignment_loss(self, u, v, scores, batch):
        with torch.no_grad():
            value = self.pair_logits(u, v) @ self.value_weights             # [B, B]
        kl = F.kl_div(torch.log_softmax(scores, dim=1), torch.softmax(value, dim=1), reduction="batchmean")
        u, v = u.detach(), v.detach()
        shown = self.simple_ranker(torch.cat([u, v, (u * v).sum(dim=1, keepdim=True)], dim=1))
        return self.config.alignment_weight * kl + F.binary_cross_entropy_with_logits(shown, batch["labels"])

    def forward(self, batch):
        """batch: the columns of an impression log under their names -> loss, user_embedding, item_embedding."""
        user_input = self.user_input(batch)
        u, v = self.user_tower_arch(user_input), self.item_embedding(batch)
        scores = u @ v.T                                                    # [B, B]
        value, loss = self.debias(batch["labels"] @ self.value_weights, u, batch.get("position"))
        weight = value.clamp(min=1e-6)
        weight = weight / torch.max(weight)
        target = torch.arange(len(u), device=u.device)
        loss = loss + (weight * F.cross_entropy(scores, target, reduction="none")).mean()
        if self.config.light_ranker:
            loss = loss + self.light_loss(user_input, v, scores, batch)
        if self.config.alignment != "none":
            loss = loss + self.alignment_loss(u, v, scores, batch)
        return {"loss": loss, "user_embedding": u, "item_embedding": v}

    # ---- serving

    @torch.no_grad()
    def retrieve(self, batch, corpus):
        """The best num_items rows of corpus [C, D] for each user: items i64 [B, K], scores or values [B, K]."""
        c = self.config
        user_input = self.user_input(batch)
        scores = self.user_tower_arch(user_input) @ corpus.T
        ids = torch.sort(scores, dim=1, descending=True, stable=True).indices    # ties: the smaller row first
        if c.light_ranker:
            ids = ids[:, :c.num_mips_items]
            logits = self.light_logits(self.ranker_users(user_input), corpus[ids], scores.gather(1, ids))
            values = logits[..., :len(c.user_value_weights)] @ self.value_weights
            values, order = torch.sort(values, dim=1, descending=True, stable=True)
            ids = ids.gather(1, order)
        else:
            values = scores.gather(1, ids)
        return ids[:, :c.num_items], values[:, :c.num_items]
