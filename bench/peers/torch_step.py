#!/usr/bin/env python3
"""Times whole training steps (gather, forward, backward, optimizer) of the same models in PyTorch, as bench_step does
for twotower: bench/peers/torch_step.py --model history --size medium --threads 2 --mode tuned

eager   what one writes first: nn.Embedding with dense gradients, nn.MultiheadAttention, torch.optim.Adam over everything
tuned   sparse embedding gradients with SparseAdam; attention by F.scaled_dot_product_attention where this torch has it,
        else one batched matmul pair a layer, and only the query that is read in the last layer; the proxy ranker from
        its blocks; Adam fused or foreach, whichever this torch has; glibc keeps freed memory instead of returning it
Prints one JSON object a line. Runs on torch 1.13 and on 2.x. See README.md for the BLAS that Debian's torch needs.
"""
import argparse
import json
import os
import pathlib
import sys
import time

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--model", default="base", help="a rung, or several with commas, or `all`")
parser.add_argument("--size", default="small", choices=["small", "medium", "large"])
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--mode", default="eager", choices=["eager", "tuned"])
parser.add_argument("--seconds", type=float, default=10, help="time to measure for, after two warm-up steps")
parser.add_argument("--json", action="store_true", help="accepted for symmetry: the output is always JSON")
arguments = parser.parse_args()
os.environ["OMP_NUM_THREADS"] = str(arguments.threads)    # before torch starts its pools
KEEP_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 40), "MALLOC_TOP_PAD_": str(1 << 28)}
if arguments.mode == "tuned" and os.environ.get("MALLOC_MMAP_MAX_") is None:    # glibc reads these at its start only
    os.execve(sys.executable, [sys.executable] + sys.argv, {**os.environ, **KEEP_MEMORY})

import numpy as np  # noqa: E402
import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests" / "parity"))
from reference_models import RUNGS, Config, TwoTower  # noqa: E402

TASKS = [0.5, 0.3, 0.2]
#             B     H    DU   DI   IU  II  users      items
SIZES = {
    "small": (32, 128, 50, 40, 20, 30, 100, 150),
    "medium": (1024, 50, 64, 64, 64, 64, 100_000, 100_000),
    "large": (4096, 50, 128, 128, 64, 64, 1_000_000, 1_000_000),
}
BATCHES, WARM_UP, FEWEST, MOST = 4, 2, 5, 200


def make_config(rung, size):
    _, h, du, di, iu, ii, users, items = SIZES[size]
    return Config(user_id_hash_size=users, item_id_hash_size=items, user_id_embedding_dim=du,
                  item_id_embedding_dim=di, user_features_size=iu, item_features_size=ii, user_history_seqlen=h,
                  user_value_weights=TASKS, num_items=100, **RUNGS[rung])


def make_batches(config, b):
    """Full histories; ids uniform over the tables."""
    random = torch.Generator().manual_seed(1)

    def ids(high, *shape):
        return torch.randint(high, shape, generator=random)

    def floats(*shape):
        return torch.randn(shape, generator=random)

    return [{
        "user_id": ids(config.user_id_hash_size, b),
        "user_features": floats(b, config.user_features_size),
        "user_history": ids(config.item_id_hash_size, b, config.user_history_seqlen),
        "item_id": ids(config.item_id_hash_size, b),
        "item_features": floats(b, config.item_features_size),
        "position": ids(20, b).int(),
        "labels": (torch.rand((b, len(TASKS)), generator=random) < 0.3).float(),
        "ranker_scores": torch.rand((b, len(TASKS)), generator=random),
    } for _ in range(BATCHES)]


def attention(q, k, v):
    """softmax(q k^T / sqrt(d)) v for [B, heads, queries or keys, d]."""
    if hasattr(F, "scaled_dot_product_attention"):
        return F.scaled_dot_product_attention(q, k, v)
    return torch.softmax((q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1), dim=-1) @ v


def tuned_attend(encoder, x, padding):
    """HistoryEncoder.attend with its own parameters: fused attention, one query in the last layer."""
    assert padding is None
    b, h, d = x.shape
    layers = encoder.multihead_attn_layers
    for layer in layers:
        def heads(t):
            return t.view(b, -1, layer.num_heads, d // layer.num_heads).transpose(1, 2)
        w, bias = layer.in_proj_weight, layer.in_proj_bias
        if layer is layers[-1]:
            q = F.linear(x[:, :1], w[:d], bias[:d])
            k, v = F.linear(x, w[d:], bias[d:]).chunk(2, dim=2)
        else:
            q, k, v = F.linear(x, w, bias).chunk(3, dim=2)
        mixed = attention(heads(q), heads(k), heads(v)).transpose(1, 2).reshape(b, -1, d)
        x = layer.out_proj(mixed)
    return x[:, 0]


def rank1_pair_logits(model, u, v):
    """The proxy ranker's linear layer on its three blocks: no [B, B, 2D+1] tensor."""
    d = u.shape[1]
    w, bias = model.simple_ranker.weight, model.simple_ranker.bias
    return (u @ w[:, :d].T)[:, None] + (v @ w[:, d:2 * d].T)[None] + (u @ v.T)[..., None] * w[:, 2 * d] + bias


class Tuned(TwoTower):
    def __init__(self, config):
        super().__init__(config, sparse=True)
        if config.history:
            encoder = self.user_history_encoder
            encoder.attend = lambda x, padding: tuned_attend(encoder, x, padding)

    def pair_logits(self, u, v):
        return rank1_pair_logits(self, u, v)


def adam(parameters, tuned):
    if tuned:
        for options in ({"fused": True}, {"foreach": True}):
            try:
                return torch.optim.Adam(parameters, lr=1e-3, **options)
            except (RuntimeError, TypeError, ValueError):
                pass
    return torch.optim.Adam(parameters, lr=1e-3)


def make_stepper(config, mode):
    torch.manual_seed(1)
    if mode == "eager":
        model = TwoTower(config)
        optimizers = [adam(model.parameters(), False)]
    else:
        model = Tuned(config)
        tables = [model.user_id_embedding_arch.weight, model.item_id_embedding_arch.weight]
        rest = [p for p in model.parameters() if all(p is not t for t in tables)]
        optimizers = [torch.optim.SparseAdam(tables, lr=1e-3), adam(rest, True)]
    with torch.no_grad():    # the benchmark's numbers should stay in range
        model.user_id_embedding_arch.weight.mul_(0.05)
        model.item_id_embedding_arch.weight.mul_(0.05)
        if hasattr(model, "position_bias_net_user_value"):
            model.position_bias_net_user_value.weight.fill_(1)

    def step(batch):
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        loss = model(batch)["loss"]
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
        return loss

    return step


def blas_name():
    """The library behind torch's matmul: Debian's default is the unoptimised reference BLAS, some 20 times slower."""
    if torch.backends.mkl.is_available():
        return "mkl"
    with open("/proc/self/maps") as f:
        maps = f.read()
    return next((name for name in ("openblas", "blis", "atlas") if name in maps),
                "reference" if "libblas" in maps else "built in")


def measure(rung):
    config, b = make_config(rung, arguments.size), SIZES[arguments.size][0]
    line = {"model": rung, "size": arguments.size, "threads": arguments.threads, "mode": arguments.mode,
            "torch": torch.__version__, "blas": blas_name()}
    pairs = b * b * (2 * config.item_id_embedding_dim + 1) * 4
    if config.alignment != "none" and arguments.mode == "eager" and pairs > 4 << 30:
        return {**line, "skipped": f"every pair spelled out is {pairs / 2**30:.0f} GiB"}
    step, batches = make_stepper(config, arguments.mode), make_batches(config, b)
    for i in range(WARM_UP):
        step(batches[i % BATCHES])
    times, end = [], time.perf_counter() + arguments.seconds
    while len(times) < FEWEST or (time.perf_counter() < end and len(times) < MOST):
        begin = time.perf_counter()
        loss = step(batches[len(times) % BATCHES])
        times.append(1e3 * (time.perf_counter() - begin))
    if not bool(torch.isfinite(loss)):
        raise RuntimeError(f"{rung}: the loss is no longer finite")
    p10, median, p90 = np.percentile(times, [10, 50, 90])
    return {**line, "median_ms": round(median, 3), "p10_ms": round(p10, 3), "p90_ms": round(p90, 3),
            "examples_per_s": round(1e3 * b / median)}


def main():
    torch.set_num_threads(arguments.threads)
    if blas_name() == "reference":
        print("torch_step: this torch multiplies with the reference BLAS, which is no fair peer; install "
              "libopenblas0-openmp (bench/peers/README.md)", file=sys.stderr)
    rungs = list(RUNGS) if arguments.model == "all" else arguments.model.split(",")
    for rung in rungs:
        if rung not in RUNGS:
            parser.error(f"unknown model {rung!r}: one of {', '.join(RUNGS)}")
        print(json.dumps(measure(rung)), flush=True)


if __name__ == "__main__":
    main()
