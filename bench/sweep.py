#!/usr/bin/env python3
"""Step time against threads, batch, history and table size: a markdown table and a plot, by one command.
bench/sweep.py --build build --out sweep        writes sweep/sweep.md, sweep/sweep.svg and sweep/sweep.json

Every point is `medium` with one thing changed. The 5M-row tables with their moments take 8 GB.
"""
import argparse
import json
import math
import pathlib
import subprocess
import sys

# (title, what changes, its values, models, the exponent to be expected: -1 shared by all threads, 1 linear, 0 flat; the
# softmax over all pairs of a batch and the attention over all pairs of a history grow with the square)
SWEEPS = [
    ("threads", "--threads", [1, 2], ["base", "history"], "-1"),
    ("batch", "--batch", [256, 1024, 4096, 16384], ["base", "history"], "1 to 2"),
    ("history", "--history", [10, 20, 50, 100, 200], ["history"], "1 to 2"),
    ("table rows", "--rows", [10_000, 100_000, 1_000_000, 5_000_000], ["base", "history"], "0"),
]


def measure(program, model, flag, value, threads):
    command = [str(program), "--model", model, "--size", "medium", "--json", flag, str(value)]
    if flag != "--threads":
        command += ["--threads", str(threads)]
    big = (flag == "--batch" and value > 4096)
    command += ["--batches", "2", "--repeats", "4"] if big else ["--seconds", "1.5"]
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode != 0:
        sys.exit(f"sweep: {' '.join(command)}: {run.stderr.strip() or 'killed (out of memory?)'}")
    return json.loads(run.stdout)


def slope(points):
    """Exponent between the first and the last point: time ~ x^slope."""
    (x0, y0), (x1, y1) = points[0], points[-1]
    return math.log(y1 / y0) / math.log(x1 / x0)


def panel(title, series, left, top, width=340, height=250):
    """One log-log plot as SVG elements; series: {model: [(x, ms)]}."""
    xs = sorted({x for points in series.values() for x, _ in points})
    ys = [y for points in series.values() for _, y in points]
    x0, x1 = math.log10(xs[0]), math.log10(xs[-1])
    y0, y1 = math.floor(math.log10(min(ys))), math.ceil(math.log10(max(ys)))

    def px(x):
        return left + 50 + (math.log10(x) - x0) / (x1 - x0) * (width - 70)

    def py(y):
        return top + height - 35 - (math.log10(y) - y0) / max(y1 - y0, 1) * (height - 65)

    svg = [f'<text x="{left + width / 2}" y="{top + 16}" text-anchor="middle">ms a step against {title}</text>']
    for decade in range(y0, y1 + 1):
        y = py(10.0 ** decade)
        svg.append(f'<path d="M{left + 50} {y:.1f}H{left + width - 20}" stroke="#ddd"/>'
                   f'<text x="{left + 44}" y="{y + 4:.1f}" text-anchor="end">{10.0 ** decade:g}</text>')
    for x in xs:
        svg.append(f'<text x="{px(x):.1f}" y="{top + height - 16}" text-anchor="middle">{x:g}</text>')
    for color, (model, points) in zip(("#0a58ca", "#c2410c"), series.items()):
        line = " ".join(f"{px(x):.1f},{py(y):.1f}" for x, y in points)
        svg.append(f'<polyline points="{line}" fill="none" stroke="{color}" stroke-width="2"/>')
        svg += [f'<circle cx="{px(x):.1f}" cy="{py(y):.1f}" r="3" fill="{color}"/>' for x, y in points]
        x, y = points[-1]
        svg.append(f'<text x="{px(x):.1f}" y="{py(y) - 8:.1f}" text-anchor="end" fill="{color}">{model}</text>')
    return svg


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build", help="meson's build folder")
    parser.add_argument("--out", default="sweep", help="folder to write")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    program = pathlib.Path(arguments.build) / "bench" / "bench_step"
    out = pathlib.Path(arguments.out)
    out.mkdir(parents=True, exist_ok=True)

    table = ["| against | model | points (ms a step) | exponent | expected |", "| --- | --- | --- | --- | --- |"]
    svg, record = [], []
    for index, (title, flag, values, models, expected) in enumerate(SWEEPS):
        series = {}
        for model in models:
            points = []
            for value in values:
                result = measure(program, model, flag, value, arguments.threads)
                record.append({"against": title, "value": value, **result})
                points.append((value, result["median_ms"]))
                print(f"{title} {value:,} {model}: {result['median_ms']:.2f} ms", file=sys.stderr, flush=True)
            series[model] = points
            cells = ", ".join(f"{x:,}: {y:.2f}" for x, y in points)
            table.append(f"| {title} | {model} | {cells} | {slope(points):.2f} | {expected} |")
        svg += panel(title, series, index % 2 * 350, index // 2 * 260)
    (out / "sweep.md").write_text("\n".join(table) + "\n")
    (out / "sweep.json").write_text("".join(json.dumps(r) + "\n" for r in record))
    (out / "sweep.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg" width="710" height="530" font-size="11" '
                                   'font-family="sans-serif"><rect width="100%" height="100%" fill="white"/>\n'
                                   + "\n".join(svg) + "\n</svg>\n")
    print("\n".join(table))


if __name__ == "__main__":
    main()
