#!/usr/bin/env python3
"""Writes the golden cases of tests/parity/golden/ with PyTorch, or checks those on disk (--check).

Numbers are drawn with numpy's frozen RandomState, rounded to float, and computed on in double; results are stored as
float. Before a case is written, PyTorch's own float must reproduce it well inside the tolerances that twotower is held
to: what fails there is an ill-conditioned case, not a wrong library.
"""
import argparse
import dataclasses
import filecmp
import pathlib
import sys
import tempfile
import tomllib
import zlib

import numpy as np
import torch

from reference_models import RUNGS, Config, TwoTower
from safetensors_io import load_file, save_file

GOLDEN = pathlib.Path(__file__).resolve().parent / "golden"

# B rows; `lengths` of their histories (padded to the longest); C corpus rows.
SHAPES = {
    # odd widths everywhere; empty, short and full histories in a batch; items more than once in it; slots beyond 99
    "odd": dict(B=7, C=23, lengths=[7, 0, 3, 7, 1, 5, 0], user_id_hash_size=11, item_id_hash_size=19,
                user_id_embedding_dim=5, item_id_embedding_dim=6, user_features_size=3, item_features_size=5,
                user_history_seqlen=7, user_value_weights=[0.5, 0.3, 0.9], num_items=5, attention_heads=3,
                attention_layers=3, num_mips_items=11, num_ranker_user_embeddings=3),
    # a history of one item, one task, one user vector in the ranker; every corpus row is a candidate
    "history1": dict(B=4, C=9, lengths=[1, 1, 1, 1], user_id_hash_size=6, item_id_hash_size=8,
                     user_id_embedding_dim=3, item_id_embedding_dim=4, user_features_size=2, item_features_size=1,
                     user_history_seqlen=1, user_value_weights=[1.0], num_items=3, attention_heads=2,
                     attention_layers=1, num_mips_items=9, num_ranker_user_embeddings=1),
    # one row: its softmax is over itself alone; a history shorter than its capacity
    "batch1": dict(B=1, C=17, lengths=[4], user_id_hash_size=3, item_id_hash_size=7,
                   user_id_embedding_dim=1, item_id_embedding_dim=3, user_features_size=1, item_features_size=2,
                   user_history_seqlen=9, user_value_weights=[0.7, 0.2], num_items=17, attention_heads=1,
                   attention_layers=2, num_mips_items=17, num_ranker_user_embeddings=5),
}
# Beside the rungs: all parts at once, and an estimate of v from the user without history or position.
EXTRA = {
    "all": {"history": True, "debias": "position+user", "light_ranker": True, "distill": True, "kd_weight": 0.4,
            "alignment": "kl", "alignment_weight": 1.7},
    "user_alone": {"debias": "user"},
}
EXTRA_SHAPES = {"all": ["odd"], "user_alone": ["odd"]}
# Estimates of v on both sides of their floors.
SHAPES["floor"] = dict(SHAPES["history1"], B=6, lengths=[1, 0, 1, 1, 0, 1], C=12, num_items=4)
FLOOR_RUNGS = ("position", "user", "debias")


def seed_of(text):
    return zlib.crc32(text.encode())


def rounded(array):
    return torch.from_numpy(np.asarray(array, dtype=np.float32))


def shapes_of(rung):
    usual = [shape for shape in SHAPES if shape != "floor" or rung in FLOOR_RUNGS]
    return EXTRA_SHAPES.get(rung, usual)


def draw_weights(model, random, low=False):
    """Moderate numbers of our own, so that no torch version's initialisation matters. `low`: estimates around zero."""
    weights = {}
    for name, p in model.state_dict().items():
        shape = tuple(p.shape)
        if name == "position_bias_net_user_value.weight":
            values = 0.1 + 0.4 * random.randn(*shape) if low else 0.8 + 0.2 * random.randn(*shape)
        elif "embedding_arch" in name:
            values = 0.7 * random.randn(*shape)
        else:
            fan_in = shape[1] if len(shape) == 2 else 16
            values = random.uniform(-1.3, 1.3, shape) / np.sqrt(fan_in)
            if name == "user_debias_net_user_value.0.bias":
                values = values + (0.0 if low else 0.5)
        weights[name] = rounded(values)
    return weights


def draw_batch(config, shape, random):
    b, tasks, h = shape["B"], len(config.user_value_weights), max(shape["lengths"])
    history = np.full((b, h), -1, dtype=np.int64)
    for row, length in zip(history, shape["lengths"]):
        row[:length] = random.randint(config.item_id_hash_size, size=length)
    items = random.randint(config.item_id_hash_size, size=b)
    if b > 2:
        items[-1] = items[0]                 # an item twice in the batch
    labels = (random.rand(b, tasks) < 0.5).astype(np.float32)
    labels[0] = 1
    if b > 3:
        labels[2] = 0                        # nothing was done: the weight's floor
        labels[3] = random.rand(tasks)       # and labels need not be 0 or 1
    position = random.randint(0, 12, size=b).astype(np.int32)
    if b > 4:
        position[4], position[5] = 140, 99   # both in the last bucket
    return {
        "user_id": torch.from_numpy(random.randint(config.user_id_hash_size, size=b).astype(np.int64)),
        "user_features": rounded(random.randn(b, config.user_features_size)),
        "user_history": torch.from_numpy(history),
        "item_id": torch.from_numpy(items.astype(np.int64)),
        "item_features": rounded(random.randn(b, config.item_features_size)),
        "position": torch.from_numpy(position),
        "labels": torch.from_numpy(labels.astype(np.float32)),
        "ranker_scores": rounded(random.uniform(0.02, 0.98, (b, tasks))),
        "corpus": rounded(random.randn(shape["C"], config.item_id_embedding_dim)),
    }


def cast(tensors, dtype):
    return {name: t.to(dtype) if t.is_floating_point() else t for name, t in tensors.items()}


def build(config, weights, dtype):
    previous = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        model = TwoTower(config)
    finally:
        torch.set_default_dtype(previous)
    model.load_state_dict(cast(weights, dtype), strict=True)
    return model


def gradients(model):
    return {name: torch.zeros_like(p) if p.grad is None else p.grad for name, p in model.named_parameters()}


def compute(config, weights, batch, dtype=torch.float64):
    model, batch = build(config, weights, dtype), cast(batch, dtype)
    out = model(batch)
    out["loss"].backward()
    result = {"loss": out["loss"].detach().reshape(1), "user_embedding": out["user_embedding"].detach(),
              "item_embedding": out["item_embedding"].detach()}
    result.update({f"grad.{name}": g for name, g in gradients(model).items()})
    if "corpus" in batch:
        result["retrieved_items"], result["retrieved_scores"] = model.retrieve(batch, batch["corpus"])
    return result


def stored(tensors):
    """Double to float; what is zero but for double's rounding (a softmax's gradient sums to 0) becomes zero."""
    return {name: torch.where(t.abs() < 1e-13, torch.zeros_like(t), t).float() if t.is_floating_point() else t
            for name, t in tensors.items()}


def compare(expected, found):
    """Largest errors as shares of what is allowed (tests/parity/README.md): {what: share}, all must be <= 1."""
    shares = {}
    for name, want in expected.items():
        have = found[name].double()
        want = want.double()
        if have.shape != want.shape:
            shares[name] = float("inf")
        elif name == "retrieved_items":
            shares[name] = 0.0 if torch.equal(have, want) else float("inf")
        elif want.numel():
            scale = want.abs().max().item()
            relative = 1e-5 if name == "loss" else 1e-4
            allowed = max(relative * scale, 1e-6)
            error = (have - want).abs().max().item()
            shares[name] = error / allowed if error == error else float("inf")
    return shares


def write_toml(config, path):
    def text(value):
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, list):
            return "[" + ", ".join(map(str, value)) + "]"
        return f'"{value}"' if isinstance(value, str) else str(value)
    rows = [f"{key} = {text(value)}" for key, value in dataclasses.asdict(config).items()]
    path.write_text("[model]\n" + "\n".join(rows) + "\n")


def read_config(path):
    with open(path, "rb") as f:
        table = tomllib.load(f)["model"]
    known = {field.name for field in dataclasses.fields(Config)}
    if unknown := sorted(set(table) - known):
        print(f"{path}: keys without a counterpart here, ignored: {', '.join(unknown)}", file=sys.stderr)
    return Config(**{key: value for key, value in table.items() if key in known})


def model_config(parts, shape):
    return Config(**{k: v for k, v in shape.items() if k not in ("B", "C", "lengths", "steps")}, **parts)


def case(name, parts, shape):
    """Draws until the case is well conditioned: float must agree, and near-ties in retrieval show up there too."""
    config = model_config(parts, shape)
    for attempt in range(50):
        random = np.random.RandomState(seed_of(f"{name} {attempt}"))
        weights = draw_weights(TwoTower(config), random, low=shape is SHAPES["floor"])
        batch = draw_batch(config, shape, random)
        if not config.distill:
            del batch["ranker_scores"]
        expected = compute(config, weights, batch)
        shares = compare(expected, compute(config, weights, batch, torch.float32))
        gaps = expected["retrieved_scores"].diff(dim=1).abs().min() if config.num_items > 1 else 1
        spread = expected["retrieved_scores"].abs().max()
        if max(shares.values()) < 0.1 and gaps > 1e-4 * spread:
            return config, weights, batch, stored(expected)
    raise RuntimeError(f"{name}: no well-conditioned draw; the worst is {max(shares, key=shares.get)}")


# ---- trajectories: twenty steps of Adam, every row of both tables in every batch, so that an optimizer that moves only
# a batch's rows and one that sweeps the table do the same.

TRAJECTORY = dict(B=8, C=1, lengths=[5, 2, 5, 1, 4, 5, 3, 5], user_id_hash_size=4, item_id_hash_size=6,
                  user_id_embedding_dim=5, item_id_embedding_dim=6, user_features_size=3, item_features_size=2,
                  user_history_seqlen=5, user_value_weights=[0.5, 0.8], attention_heads=2, attention_layers=2)
STEPS, BATCHES = 20, 5


def trajectory_batch(config, shape, random):
    batch = draw_batch(config, shape, random)
    b = shape["B"]
    for column, rows in (("user_id", config.user_id_hash_size), ("item_id", config.item_id_hash_size)):
        ids = np.concatenate([np.arange(rows), random.randint(rows, size=b - rows)])
        batch[column] = torch.from_numpy(random.permutation(ids).astype(np.int64))
    # the position table is dense in PyTorch's sense too: the slots of all batches are the same eight
    batch["position"] = torch.from_numpy(random.permutation(b).astype(np.int32))
    del batch["corpus"], batch["ranker_scores"]
    return batch


def run_trajectory(config, weights, batches, dtype=torch.float64):
    model = build(config, weights, dtype)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    largest, losses = {}, []
    for step in range(STEPS):
        optimizer.zero_grad()
        loss = model(cast(batches[step % BATCHES], dtype))["loss"]
        loss.backward()
        losses.append(loss.item())
        for name, g in gradients(model).items():
            largest[name] = torch.maximum(largest.get(name, torch.zeros_like(g)), g.abs())
        optimizer.step()
    result = {"loss": torch.tensor(losses, dtype=dtype)}
    result.update({f"param.{name}": p.detach() for name, p in model.named_parameters()})
    result.update({f"grad_max.{name}": g for name, g in largest.items()})
    return result


# Below this an element's gradient is float's rounding (the loss does not depend on it: a key bias, or the item tower's
# bias under softmax), and Adam divides that noise by its own size. Such elements are not compared.
FLAT = 1e-6


def trajectory(name, parts):
    config = model_config(parts, TRAJECTORY)
    for attempt in range(50):
        random = np.random.RandomState(seed_of(f"trajectory {name} {attempt}"))
        weights = draw_weights(TwoTower(config), random)
        batches = [trajectory_batch(config, TRAJECTORY, random) for _ in range(BATCHES)]
        expected = run_trajectory(config, weights, batches)
        found = run_trajectory(config, weights, batches, torch.float32)
        worst = 0.0
        for key, want in expected.items():
            if key.startswith("param."):
                steep = expected["grad_max." + key[6:]] >= FLAT
                error = (found[key].double() - want).abs()[steep]
                worst = max(worst, error.max().item() if error.numel() else 0.0)
        if worst < 2e-5:
            return config, weights, batches, stored(expected)
    raise RuntimeError(f"trajectory {name}: float strays by {worst}")


# ---- files

def write_all(folder):
    for rung, parts in {**RUNGS, **EXTRA}.items():
        for shape in shapes_of(rung):
            name = f"{rung}_{shape}"
            config, weights, batch, expected = case(name, parts, SHAPES[shape])
            place = folder / name
            place.mkdir(parents=True, exist_ok=True)
            write_toml(config, place / "config.toml")
            save_file(weights, place / "weights.safetensors")
            save_file(batch, place / "batch.safetensors")
            save_file(expected, place / "expected.safetensors")
    for rung in ("base", "debias"):
        config, weights, batches, expected = trajectory(rung, RUNGS[rung])
        place = folder / f"adam_{rung}"
        place.mkdir(parents=True, exist_ok=True)
        write_toml(config, place / "config.toml")
        save_file(weights, place / "weights.safetensors")
        for i, batch in enumerate(batches):
            save_file(batch, place / f"batch{i}.safetensors")
        save_file(expected, place / "trajectory.safetensors")


def check_all(folder):
    """Draws and computes everything again: inputs must be the same bytes, results within rounding of another BLAS."""
    problems = []
    with tempfile.TemporaryDirectory() as scratch:
        fresh = pathlib.Path(scratch)
        write_all(fresh)
        files = {p.relative_to(fresh) for p in fresh.rglob("*") if p.is_file()}
        files |= {p.relative_to(folder) for p in folder.rglob("*") if p.is_file()}
        for name in sorted(files):
            if not (folder / name).exists() or not (fresh / name).exists():
                problems.append(f"{name}: {'missing' if (fresh / name).exists() else 'unknown'}")
            elif filecmp.cmp(folder / name, fresh / name, shallow=False):
                continue
            elif name.name not in ("expected.safetensors", "trajectory.safetensors"):
                problems.append(f"{name}: differs")
            else:
                old, new = load_file(folder / name), load_file(fresh / name)
                if old.keys() != new.keys():
                    problems.append(f"{name}: other names")
                problems += [f"{name}: {key} differs" for key in old.keys() & new.keys()
                             if not torch.allclose(old[key].double(), new[key].double(), rtol=1e-6, atol=1e-9)]
    return problems


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare with the files on disk; write nothing")
    parser.add_argument("--folder", type=pathlib.Path, default=GOLDEN)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.check:
        problems = check_all(arguments.folder)
        print("\n".join(problems) or "golden files match")
        sys.exit(1 if problems else 0)
    write_all(arguments.folder)
    total = sum(p.stat().st_size for p in arguments.folder.rglob("*") if p.is_file())
    print(f"{len(list(arguments.folder.iterdir()))} cases, {total / 1e6:.2f} MB in {arguments.folder}")


if __name__ == "__main__":
    main()
