#!/usr/bin/env python3
"""Checks `twotower export --onnx` with programs that are not ours: ONNX's own checker and an ONNX runtime.

Trains small models of every kind that a user tower can be, exports each, and compares what the runtime makes of the
users in the bundle with `twotower export --users`: the largest difference, relative to the largest number, must stay
below 1e-5. Needs numpy; the checker is Debian's python3-onnx. The runtime is Python's onnxruntime, onnx.reference
(onnx 1.13 and later), or npm's onnxruntime-node in the folder that NODE_PATH names:

    npm install --ignore-scripts --prefix /tmp/ort onnxruntime-node
    NODE_PATH=/tmp/ort/node_modules tests/onnx/check_onnx.py build/train/commands/twotower

What is missing is said on a line with SKIPPED, and the exit status is then 77.
"""
import json
import os
import pathlib
import struct
import subprocess
import sys
import tempfile

import numpy as np

KINDS = {
    "base": ["--model", "base"],
    "cosine": ["--model", "base", "--set", "normalize=true", "--set", "temperature=0.1"],
    "sum of blocks": ["--model", "history", "--set", "tower_head=sum", "--set", "user_id_embedding_dim=16"],
    "attention": ["--model", "history"],
    "attention, doubled encoding, short": ["--model", "history", "--set", "positional_encoding=doubled",
                                           "--set", "user_history_seqlen=3"],
    "no layer": ["--model", "history", "--set", "attention_layers=0"],
    "one layer": ["--model", "history", "--set", "attention_layers=1", "--set", "attention_heads=1"],
    "transformer": ["--model", "history", "--set", "transformer_blocks=true", "--set", "normalize=true"],
    "one transformer block": ["--model", "history", "--set", "transformer_blocks=true", "--set", "attention_layers=1"],
    "actions": ["--model", "history", "--set", "history_actions=2"],
    "aligned": ["--model", "aligned"],
}
TYPES = {"F32": np.float32, "I64": np.int64, "I32": np.int32, "U8": np.uint8}


def read_bundle(path):
    raw = pathlib.Path(path).read_bytes()
    size = struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8:8 + size])
    meta = header.pop("__metadata__")
    out = {}
    for name, entry in header.items():
        if entry["dtype"] in TYPES:
            begin, end = entry["data_offsets"]
            out[name] = np.frombuffer(raw[8 + size + begin:8 + size + end], TYPES[entry["dtype"]]).reshape(entry["shape"])
    return out, json.loads(meta["model"])


def inputs_of(bundle, model):
    """All users of a bundle as the tower's inputs."""
    users = len(bundle["users.learnt"])
    out = {"user_id": np.arange(users, dtype=np.int64)}
    if model["user_features_size"] > 0:
        out["user_features"] = bundle["users.features"]
    if model["history"]:
        offsets, items = bundle["users.history_offsets"], bundle["users.history_items"]
        longest = max(1, int(np.diff(offsets).max()))
        history = np.full((users, longest + 3), -1, np.int64)
        kinds = model["history_actions"]
        actions = np.zeros((users, longest + 3, kinds), np.uint8)
        for u in range(users):  # what is not there may stand anywhere: first, last and behind the newest item
            own, n = slice(offsets[u], offsets[u + 1]), offsets[u + 1] - offsets[u]
            places = np.r_[1:2, 3:n + 2][:n]
            history[u, places] = items[own][::-1]
            if kinds:
                actions[u, places] = bundle["users.history_actions"][own][::-1]
        out["user_history"] = history
        if kinds:
            out["history_actions"] = actions
    return out


NODE = """
const ort = require('onnxruntime-node'), fs = require('fs');
(async () => {
  const folder = process.argv[1], feeds = {};
  const arrays = {float32: Float32Array, int64: BigInt64Array, uint8: Uint8Array};
  for (const x of JSON.parse(fs.readFileSync(folder + '/inputs.json'))) {
    const bytes = fs.readFileSync(folder + '/' + x.name);
    const data = new arrays[x.type](bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
    feeds[x.name] = new ort.Tensor(x.type, data, x.dims);
  }
  const session = await ort.InferenceSession.create(folder + '/tower.onnx');
  const y = (await session.run(feeds)).user_embedding;
  fs.writeFileSync(folder + '/output', Buffer.from(y.data.buffer, y.data.byteOffset, y.data.byteLength));
})().catch(e => { console.error(e.message); process.exit(1); });
"""


def find_runtime():
    try:
        import onnxruntime
        return "onnxruntime " + onnxruntime.__version__, lambda folder, feeds: onnxruntime.InferenceSession(
            str(folder / "tower.onnx")).run(["user_embedding"], feeds)[0]
    except ImportError:
        pass
    try:
        from onnx.reference import ReferenceEvaluator
        return "onnx.reference", lambda folder, feeds: ReferenceEvaluator(str(folder / "tower.onnx")).run(None, feeds)[0]
    except ImportError:
        pass
    try:
        found = subprocess.run(["node", "-e", "console.log(require('onnxruntime-node/package.json').version)"],
                               capture_output=True, text=True)
        if found.returncode == 0:
            return "onnxruntime-node " + found.stdout.strip(), run_node
    except FileNotFoundError:
        pass
    return None, None


def run_node(folder, feeds):
    listed = []
    for name, values in feeds.items():
        (folder / name).write_bytes(np.ascontiguousarray(values).tobytes())
        listed.append({"name": name, "type": str(values.dtype), "dims": list(values.shape)})
    (folder / "inputs.json").write_text(json.dumps(listed))
    subprocess.run(["node", "-e", NODE, str(folder)], check=True)
    return np.fromfile(folder / "output", np.float32).reshape(len(feeds["user_id"]), -1)


def main():
    program = os.path.abspath(sys.argv[1])
    missing = []
    try:
        import onnx
    except ImportError:
        onnx = None
        missing.append("onnx.checker (apt-get install python3-onnx)")
    runtime, evaluate = find_runtime()
    if not evaluate:
        missing.append("an ONNX runtime (see the head of this file)")
    print("runtime:", runtime, "| checker:", onnx and "onnx " + onnx.__version__)
    failed = 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)

        def twotower(*arguments):
            subprocess.run([program, *arguments], cwd=folder, check=True, stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL)

        twotower("simulate", "--out", "D", "--users", "300", "--items", "120", "--impressions", "6000", "--tasks", "2",
                 "--quiet")
        for kind, options in KINDS.items():
            run = "R" + str(len(list(folder.glob("R*"))))
            twotower("train", "--data", "D", "--out", run, "--quiet", "--set", "epochs=1", "--set",
                     "item_id_embedding_dim=16", *options)
            twotower("export", "--run", run, "--onnx", "tower.onnx", "--quiet")
            twotower("export", "--run", run, "--users", "--out", "users.npy", "--quiet")
            if onnx:
                onnx.checker.check_model(str(folder / "tower.onnx"), full_check=True)
            if not evaluate:
                continue
            feeds = inputs_of(*read_bundle(folder / run / "bundle.safetensors"))
            ours, theirs = np.load(folder / "users.npy"), evaluate(folder, feeds)
            worst = float(np.abs(ours - theirs).max() / np.abs(ours).max())
            alone = evaluate(folder, {name: values[7:8] for name, values in feeds.items()})  # another batch size
            worst = max(worst, float(np.abs(ours[7:8] - alone).max() / np.abs(ours).max()))
            good = ours.shape == theirs.shape and worst < 1e-5
            failed += not good
            print(f"{kind:36} {str(ours.shape):12} {worst:.1e} {'' if good else 'FAILED'}", flush=True)
    for what in missing:
        print("SKIPPED:", what)
    return 1 if failed else 77 if missing else 0


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    sys.exit(main())
