#!/usr/bin/env python3
"""Our indexes beside those of FAISS (Debian's python3-faiss), on the same vectors, in one run: a table and a plot.
/usr/bin/python3 bench/retrieval.py --build build --out retrieval
writes retrieval/retrieval.md, retrieval/retrieval.svg and retrieval/retrieval.json

Data: gaussian, clustered, or trained: ITEMS.npy,USERS.npy as `twotower export --items` and `--users` write them; items
are repeated, with noise of a twentieth of their length, to as many rows as asked. Every kind runs on 1 and on 2
threads, ours and theirs in turn, and the better count stands in the table; our hnsw, which takes minutes to build, in the
first round alone. Recall is against products in double.
"""
import argparse
import json
import math
import pathlib
import struct
import subprocess
import sys
import tempfile
import time

import numpy

try:
    import faiss
except ImportError:
    faiss = None

# Ours: as `bench_retrieval --index` names them.
OURS = ["exact", "fp16", "int8", "hnsw"]
WIDTHS = (128, 512, 2048)  # ef of ours and theirs
THREADS = "1,2"


def scalar_quantiser(kind):
    def make(items):
        index = faiss.IndexScalarQuantizer(items.shape[1], kind, faiss.METRIC_INNER_PRODUCT)
        index.train(items[:: max(1, len(items) // 200_000)])
        index.add(items)
        return [("", index, lambda: None)]
    return make


def flat(items):
    index = faiss.IndexFlatIP(items.shape[1])
    index.add(items)
    return [("", index, lambda: None)]


def hnsw(items):
    index = faiss.IndexHNSWFlat(items.shape[1], 16, faiss.METRIC_INNER_PRODUCT)
    index.add(items)
    return [(f" ef {ef}", index, lambda ef=ef: setattr(index.hnsw, "efSearch", ef)) for ef in WIDTHS]


# Theirs: what makes [(setting, index, how to set it)] of the items.
THEIRS = {
    "faiss flat": flat,
    "faiss fp16": scalar_quantiser(faiss.ScalarQuantizer.QT_fp16 if faiss else None),
    "faiss int8": scalar_quantiser(faiss.ScalarQuantizer.QT_8bit if faiss else None),
    "faiss hnsw": hnsw,
}
COLOURS = ["#0a58ca", "#7c3aed", "#0f766e", "#be185d", "#c2410c", "#a16207", "#b91c1c", "#525252"]


def make_data(arguments):
    random = numpy.random.default_rng(1)
    rows, width, queries = arguments.rows, arguments.width, max(arguments.batches)
    if arguments.data == "gaussian":
        return (random.standard_normal((n, width), numpy.float32) for n in (rows, queries))
    if arguments.data == "clustered":
        centres = random.standard_normal((1000, width), numpy.float32)
        return (centres[random.integers(0, 1000, n)] + 0.2 * random.standard_normal((n, width), numpy.float32)
                for n in (rows, queries))
    items, users = (numpy.load(name).astype(numpy.float32) for name in arguments.data.split(","))
    items = items[numpy.arange(rows) % len(items)]
    noise = 0.05 / math.sqrt(items.shape[1]) * numpy.linalg.norm(items, axis=1, keepdims=True)
    return items + noise * random.standard_normal(items.shape, numpy.float32), users[numpy.arange(queries) % len(users)]


def write_safetensors(path, tensors):
    header, at = {}, 0
    for name, x in tensors.items():
        header[name] = {"dtype": "F32", "shape": list(x.shape), "data_offsets": [at, at + x.nbytes]}
        at += x.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as out:
        out.write(struct.pack("<Q", len(text)) + text)
        for x in tensors.values():
            out.write(numpy.ascontiguousarray(x, numpy.float32).tobytes())


def least_of_the_best(items, queries, k):
    """The K-th best product in double, by query: what is as good is a true answer."""
    best = numpy.empty((len(queries), 0))
    for part in numpy.array_split(items, max(1, len(items) // 100_000)):
        scores = numpy.concatenate([best, queries.astype(numpy.float64) @ part.T.astype(numpy.float64)], 1)
        best = numpy.partition(scores, -k, 1)[:, -k:]
    return best.min(1)


def recall(found, items, queries, least, k):
    hits = 0
    for rows, query, threshold in zip(found, queries, least):
        rows = rows[rows >= 0]
        scores = (items[rows].astype(numpy.float64) * query.astype(numpy.float64)).sum(1)
        hits += int((scores >= threshold - 1e-12 * abs(threshold)).sum())
    return hits / (k * min(len(found), len(least)))


def time_theirs(name, index, items, queries, least, threads, arguments):
    faiss.omp_set_num_threads(threads)
    each = 0  # seconds a query, lately
    for batch in arguments.batches:
        if each * batch > arguments.patience:
            print(f"{name}, {threads} threads: {batch} queries left out, {each * batch:.0f} s", file=sys.stderr)
            continue
        part, times = queries[:batch], []
        while len(times) < 4 or sum(times) < arguments.seconds:
            begin = time.perf_counter()
            found = index.search(part, arguments.k)[1]
            times.append(time.perf_counter() - begin)
            if times[0] > 5:
                break
        times = times[1:] or times  # the first warms up
        each = min(times) / batch
        yield {"index": name, "threads": threads, "batch": batch, "median_ms": 1e3 * sorted(times)[len(times) // 2],
               "recall": recall(found, items, queries, least, arguments.k)}


def time_ours(name, data, arguments):
    command = [str(pathlib.Path(arguments.build) / "bench" / "bench_retrieval"), "--json", "--index", name,
               "--data", str(data), "--threads", THREADS, "--k", str(arguments.k), "--batches",
               ",".join(map(str, arguments.batches)), "--seconds", str(arguments.seconds), "--checked",
               str(arguments.checked)] + (["--ef", ",".join(map(str, WIDTHS))] if name == "hnsw" else [])
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode != 0:
        sys.exit(f"retrieval: {' '.join(command)}: {run.stderr.strip() or 'killed (out of memory?)'}")
    return [json.loads(line) for line in run.stdout.splitlines()]


def nines(share):
    """0.99 lies at 2, 0.999 at 3; everything found at 5."""
    return min(5.0, -math.log10(max(1 - share, 1e-5)))


def panel(batch, points, kinds, left, top, width=340, height=250):
    rates = [rate for _, _, rate in points]
    y0, y1 = math.floor(math.log10(min(rates))), math.ceil(math.log10(max(rates)))

    def px(share):
        return left + 50 + nines(share) / 5 * (width - 70)

    def py(rate):
        return top + height - 35 - (math.log10(rate) - y0) / max(y1 - y0, 1) * (height - 65)

    svg = [f'<text x="{left + width / 2}" y="{top + 16}" text-anchor="middle">queries/s against recall, {batch} at a '
           'time</text>']
    for decade in range(y0, y1 + 1):
        y = py(10.0 ** decade)
        svg.append(f'<path d="M{left + 50} {y:.1f}H{left + width - 20}" stroke="#ddd"/>'
                   f'<text x="{left + 44}" y="{y + 4:.1f}" text-anchor="end">{10 ** decade:,}</text>')
    for share in (0, 0.9, 0.99, 0.999, 0.9999, 1):
        svg.append(f'<text x="{px(share):.1f}" y="{top + height - 16}" text-anchor="middle">{share:g}</text>')
    labels = []
    for kind, colour in zip(kinds, COLOURS):
        own = [(share, rate) for name, share, rate in points if name.split(" ef ")[0] == kind]
        line = " ".join(f"{px(share):.1f},{py(rate):.1f}" for share, rate in own)
        svg.append(f'<polyline points="{line}" fill="none" stroke="{colour}"/>')
        svg += [f'<circle cx="{px(share):.1f}" cy="{py(rate):.1f}" r="3.5" fill="{colour}"/>' for share, rate in own]
        if own:
            labels.append([py(own[-1][1]) + 4, px(own[-1][0]) - 7, colour, kind])
    labels.sort()
    for above, label in zip(labels, labels[1:]):
        label[0] = max(label[0], above[0] + 12)  # none on another
    svg += [f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="end" fill="{colour}">{kind}</text>'
            for y, x, colour, kind in labels]
    return svg


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build", help="meson's build folder")
    parser.add_argument("--out", default="retrieval", help="folder to write")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--k", type=int, default=100)
    parser.add_argument("--batches", type=lambda x: [int(n) for n in x.split(",")], default=[1, 8, 64, 1024])
    parser.add_argument("--data", default="gaussian", help="gaussian, clustered or ITEMS.npy,USERS.npy")
    parser.add_argument("--kinds", default=",".join(OURS + list(THEIRS)), help="which to run")
    parser.add_argument("--seconds", type=float, default=1, help="for each kind, batch size, thread count and round")
    parser.add_argument("--patience", type=float, default=30, help="seconds that one call of theirs may take")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--checked", type=int, default=128, help="queries whose recall is measured")
    arguments = parser.parse_args()
    kinds = arguments.kinds.split(",")
    unknown = [kind for kind in kinds if kind not in OURS + list(THEIRS)]
    if unknown:
        sys.exit(f"retrieval: there is no kind {unknown[0]}; choose of {', '.join(OURS + list(THEIRS))}")
    if faiss is None:
        print("retrieval: python3-faiss is not installed, its kinds are left out", file=sys.stderr)
        kinds = [kind for kind in kinds if kind in OURS]
    out = pathlib.Path(arguments.out)
    out.mkdir(parents=True, exist_ok=True)
    items, queries = make_data(arguments)
    least = least_of_the_best(items, queries[:arguments.checked], arguments.k)

    record = []
    with tempfile.TemporaryDirectory() as folder:
        data = pathlib.Path(folder) / "data.safetensors"
        write_safetensors(data, {"items": items, "queries": queries})
        theirs = {}
        for kind in kinds:
            if kind in THEIRS:
                begin = time.perf_counter()
                faiss.omp_set_num_threads(2)
                theirs[kind] = THEIRS[kind](items)
                print(f"{kind}: built in {time.perf_counter() - begin:.1f} s", file=sys.stderr, flush=True)
        for number in range(arguments.rounds):
            for kind in kinds:
                if kind in OURS and (kind != "hnsw" or number == 0):
                    record += time_ours(kind, data, arguments)
                for setting, index, apply in theirs.get(kind, []):
                    apply()
                    for threads in map(int, THREADS.split(",")):
                        record += time_theirs(kind + setting, index, items, queries, least, threads, arguments)
                print(f"round {number + 1}: {kind}", file=sys.stderr, flush=True)

    print(write(record, kinds, arguments.batches, out))


def write(record, kinds, batches, out):
    """The table, which it returns, the plot and the record."""
    best = {}
    for line in record:
        key = line["index"], line["batch"]
        if key not in best or line["median_ms"] < best[key]["median_ms"]:
            best[key] = line
    names = list(dict.fromkeys(line["index"] for line in record))
    table = ["| index | " + " | ".join(f"{b}: ms" for b in batches) + " | recall |",
             "| --- " * (len(batches) + 2) + "|"]
    for name in names:
        own = [best.get((name, b)) for b in batches]
        cells = " | ".join(f"{line['median_ms']:.2f}" if line else "-" for line in own)
        last = [line for line in own if line][-1]
        table.append(f"| {name} | {cells} | {last['recall']:.5f} |")
    svg = []
    for i, batch in enumerate(batches):
        points = [(name, best[name, batch]["recall"], 1e3 * batch / best[name, batch]["median_ms"])
                  for name in names if (name, batch) in best]
        svg += panel(batch, points, kinds, i % 2 * 350, i // 2 * 260)
    (out / "retrieval.md").write_text("\n".join(table) + "\n")
    (out / "retrieval.json").write_text("".join(json.dumps(line) + "\n" for line in record))
    height = 10 + 260 * ((len(batches) + 1) // 2)
    (out / "retrieval.svg").write_text(f'<svg xmlns="http://www.w3.org/2000/svg" width="710" height="{height}" '
                                       'font-size="11" font-family="sans-serif"><rect width="100%" height="100%" '
                                       'fill="white"/>\n' + "\n".join(svg) + "\n</svg>\n")
    return "\n".join(table)


if __name__ == "__main__":
    main()
