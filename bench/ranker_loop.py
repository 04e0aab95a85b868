#!/usr/bin/env python3
"""The real ranker in the loop on simulated worlds: what each of three rounds brings, beside asking about random pairs.

    bench/ranker_loop.py --twotower build/train/commands/twotower --seeds 1,2,3,4,5 --out out/ranker_loop

A round asks the main ranker about a third of --shares of all pairs, half of them the best items of the model of the round
before (or, beside it, all random), and trains --rung anew, by its own recipe, with all that is known by then. Measures and
worlds are those of ladder.py. What --out holds already is not computed again.
"""
import os

from ladder import World, options, table, with_error

MEASURES = ["agreement@20", "agreement@10:100", "funnel_value@10:100", "true_recall@20", "true_ndcg@10"]
ROUNDS = 3
WAYS = {"half the model's best": 0.5, "random": 1}  # the share of a round's pairs that is drawn uniformly


def file_name(model):
    return "".join(letter if letter.isalnum() else "-" for letter in model)


def go_round(world, rung, way, share):
    """The rows of rounds 0 to ROUNDS. Round 0 has asked nothing and is the same for all."""
    def train(model, scores):
        run = file_name(model)
        world.add("rounds", [model], lambda _: [{"model": model, **world.train(run, rung, scores),
                                                 **world.evaluate(world.run_of(run))}])
        return world.rows[model], world.run_of(run)

    row, run = train(f"{rung} round 0", [])
    rows, scores = [row], []
    for number in range(1, ROUNDS + 1):
        name = f"{rung} {share:.0%} {way} round {number}"
        answers = os.path.join(world.folder, file_name(name) + ".scores.csv")
        if not os.path.exists(answers):
            world.ask(run, file_name(name), "--share", share / ROUNDS, "--uniform", WAYS[way])
        scores.append(answers)
        row, run = train(name, scores)
        rows.append(row)
    return rows


def main():
    parser = options(__doc__, "out/ranker_loop")
    parser.add_argument("--rung", default="aligned")
    parser.add_argument("--shares", default=[0.01, 0.1], type=lambda text: [float(share) for share in text.split(",")])
    arguments = parser.parse_args()
    worlds = [World(arguments, seed) for seed in arguments.seeds]
    lines = []
    for share in arguments.shares:
        for way in WAYS:
            rounds = list(zip(*[go_round(world, arguments.rung, way, share) for world in worlds]))
            for number, rows in enumerate(rounds):
                cells = [with_error([row["measures"][measure] for row in rows]) for measure in MEASURES]
                gains = [row["measures"]["agreement@20"] - before["measures"]["agreement@20"]
                         for row, before in zip(rows, rounds[number - 1])] if number > 0 else []
                lines.append([f"{share:.0%}", way, str(number), *cells, with_error(gains, "+") if gains else "",
                              f"{sum(gain > 0 for gain in gains)} of {len(gains)}" if gains else ""])
    table(["of all pairs", "asked", "round", *MEASURES, "gain in agreement@20", "seeds that gain"], lines)


if __name__ == "__main__":
    main()
