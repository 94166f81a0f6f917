"""The promise: searches under several budgets and seeds, each network never above its budgets and near one of them.

    python experiments/budgets.py --space fbnetv2_free                       # five budgets of MACs
    python experiments/budgets.py --space fbnetv1_32 --budgets 4ms@pixel3 6ms@pixel3 10ms@pixel3 16ms@pixel3 24ms@pixel3
    python experiments/budgets.py --space fbnetv1_32 --budgets 60MFLOPs+14ms@pixel3+20ms@fpga --seeds 1

`+` joins budgets that hold together. Each row is the search of `python -m dnas.search SPACE --budget ... --seed S
--fill 0.97`, except that programs are compiled once for all searches under the same costs. Costs are counted again from
the exported architecture, read as a file. Expected: `share` is never above 1, and its largest is at least `--fill` in
every row. Smoke runs prove the budget, not the accuracy. Fifteen take about 20 minutes on two cores with fbnetv2.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from dnas.cli.entry import run
from dnas.cost import ledger
from dnas.cost.budget import parse_budget
from dnas.data.load import load
from dnas.files import write_atomic, write_json
from dnas.grammar.catalogue import load_space
from dnas.grammar.read import read_space
from dnas.graph import graph_of
from dnas.process.backend import configure
from dnas.search.budget import measure
from dnas.search.settings import with_overrides


@dataclass(frozen=True)
class Arguments:
    """Searches under several budgets and seeds."""

    space: str = "fbnetv2"
    budgets: tuple[str, ...] = ("60MFLOPs", "100MFLOPs", "200MFLOPs", "300MFLOPs", "400MFLOPs")
    """`+` joins budgets that hold together."""
    seeds: int = 3
    preset: Literal["smoke", "quick"] = "smoke"
    epochs: float | None = None
    """Passes over the training data; the preset's if not given."""
    fill: float = 0.97
    """Least share of one of its budgets that a network must use."""
    out: Path | None = None
    """JSON of all rows, and a Markdown table beside it."""


def main(args: Arguments) -> int:
    configure()
    rows = []
    for row in searches(args):
        rows.append(row)
        print(line(row), flush=True)
    shares = [max(row["shares"]) for row in rows]
    kept = max(shares) <= 1 and min(shares) >= args.fill
    print(f"largest share of a row: from {min(shares):.4f} to {max(shares):.4f}")
    if args.out is not None:
        what = {"space": args.space, "preset": args.preset, "epochs": args.epochs, "fill": args.fill, "kept": kept}
        write_json(args.out, {**what, "smallest": min(shares), "largest": max(shares), "searches": rows})
        write_atomic(args.out.with_suffix(".md"), table(args, rows).encode())
    if not kept:
        print("the promise is broken", file=sys.stderr)
    return 0 if kept else 1


def searches(args: Arguments) -> Iterator[dict[str, Any]]:
    """A row for each budget and seed."""
    from dnas.search.compiling import Compiler
    from dnas.search.problem import make_problem
    from dnas.search.strategies import dmasking

    settings = with_overrides(args.preset, epochs=args.epochs, fill=args.fill)
    space = load_space(args.space)
    programs = {}
    for text in args.budgets:
        budgets = [parse_budget(part) for part in text.split("+")]
        costs = tuple((b.kind, b.table) for b in budgets)
        for seed in range(args.seeds):
            problem = make_problem(space, budgets, load(None, seed=seed), settings, seed)
            if costs not in programs:
                programs[costs] = dmasking.compile_programs(problem, Compiler())
            yield searched(problem, programs[costs], args.preset)


def searched(problem, programs, preset: str) -> dict[str, Any]:
    """One search; its network goes through a file."""
    from dnas.learning.journal import Journal
    from dnas.search.console import Console
    from dnas.search.result import found_document
    from dnas.search.run import Options, advance, finished
    from dnas.search.strategies import dmasking

    began = time.monotonic()
    strategy = dmasking.strategy(problem, programs)
    state = advance(strategy, Journal(None, {}), Options(), Console(quiet=True), problem)
    found = finished(problem, strategy.name, strategy.outcome(state))
    document = found_document(found, preset)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "architecture.json"
        write_json(path, document)
        network = read_space(path)
    walked = graph_of(network)
    limits = [m.budget.limit for m in problem.measured]
    costs = [ledger.at(measure(m.budget, walked, network).cost, {}) for m in problem.measured]
    stated = document["search"]["budgets"]
    return {
        "budgets": [m.budget.text for m in problem.measured], "seed": problem.seed, "costs": costs,
        "stated": [row["cost"] for row in stated], "shares": [c / b for c, b in zip(costs, limits, strict=True)],
        "expected_before": [row["expected_before"] / row["limit"] for row in stated],
        "argmax": [row["argmax_cost"] / row["limit"] for row in stated],
        "accuracy": document["search"]["inherited_accuracy"], "warnings": document["search"]["warnings"],
        "seconds": round(time.monotonic() - began, 1),
    }  # fmt: skip


def line(row: dict[str, Any]) -> str:
    parts = (f"{b} {share:.4f}" for b, share in zip(row["budgets"], row["shares"], strict=True))
    return f"seed {row['seed']}: {', '.join(parts)}  ({row['seconds']:.0f} s)"


def table(args: Arguments, rows: list[dict[str, Any]]) -> str:
    """Markdown; the columns after `share` are shares of the budget too."""
    lines = [
        f"Searches of `{args.space}`, preset `{args.preset}`: costs of the exported networks over their budgets.", "",
        "| budget | seed | cost | share | expected before derivation | plain argmax |", "|---|---|---|---|---|---|",
    ]  # fmt: skip
    for row in rows:
        columns = (row[name] for name in ("budgets", "costs", "shares", "expected_before", "argmax"))
        lines += [
            f"| {budget} | {row['seed']} | {cost:,.6g} | {share:.4f} | {expected:.3f} | {argmax:.3f} |"
            for budget, cost, share, expected, argmax in zip(*columns, strict=True)
        ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    run(main, Arguments)
