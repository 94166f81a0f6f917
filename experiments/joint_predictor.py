"""The predictor of joint searches on networks whose accuracy is known: all 15,625 cells of NAS-Bench-201 (CIFAR-10).

    python experiments/joint_predictor.py --table nb201_cifar10_acc_latency.csv

For each of `--seeds` seeds: a predictor learns from `--networks` drawn cells, with an encoder that knows costs and with
one that does not; Spearman's correlation with the accuracies of all other cells. Then searches under a latency limit
(which three cells in ten keep): the best accuracy of `--trainings` cells that both stages ask for, beside
that of as many drawn ones. `results/joint_predictor.json` keeps every seed, so that an interrupted run goes on;
`results/joint_predictor.md` is the table. Takes about four minutes of one core.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from dnas.cli.entry import run
from dnas.errors import InputError
from dnas.files import read_document, write_atomic, write_json
from dnas.grammar.read import space_from_data
from dnas.graph import graph_of
from dnas.joint.early import rank_correlation
from dnas.joint.pairs import Pairs
from dnas.joint.predictor import Predictor, Sizes
from dnas.joint.stages import Plan, coarse, fine, fit
from dnas.process.backend import configure

HOME = Path(__file__).parent / "results"
SHARE = 0.3
"""Of the cells that keep the latency limit."""
COLUMNS = ("knowing costs", "not knowing costs", "joint search", "drawn", "best within the limit")


@dataclass(frozen=True)
class Arguments:
    """Judges the predictor by a table of known accuracies."""

    table: Path
    """CSV with columns arch (a digit an edge), test_acc (percent) and latencies in ms."""
    seeds: int = 10
    networks: int = 100
    """From which the predictor learns."""
    trainings: int = 50
    """Of a search."""
    latency: str = "pixel3_ms"
    """Column of the limit."""


def cells() -> Pairs:
    """A chain of six places that stands for the six edges of a cell: the same choices, and convolutions whose costs are
    in the same ratios (3x3, 1x1); digits as the table has them: skip, none, 3x3, 1x1, pool."""
    free = [{"skip": {"out": 16}, "label": name} for name in ("skip", "none")]
    convs = [{"conv": {"out": 16, "kernel": kernel}, "label": f"conv{kernel}"} for kernel in (3, 1)]
    edge = {"one_of": [*free, *convs, {"skip": {"out": 16}, "label": "pool"}]}
    data = {
        "name": "cells", "input": {"channels": 16, "classes": 10, "resolution": 8}, "trunk": [edge] * 6,
        "head": [{"pool": {}}, {"linear": {"out": "$classes"}}],
    }  # fmt: skip
    space = space_from_data(data, "cells")
    return Pairs(space, graph_of(space), ())


class Table:
    """Accuracies and latencies of all cells."""

    def __init__(self, file: Path, latency: str):
        with file.open() as lines:
            rows = list(csv.DictReader(lines))
        if not rows or not {"arch", "test_acc", latency} <= set(rows[0]):
            raise InputError(str(file), "not such a table", accepted=f"CSV with arch, test_acc and {latency}")
        self.rows = np.array([[int(digit) for digit in row["arch"]] for row in rows])
        self.accuracy = np.zeros((5,) * 6)
        self.latency = np.zeros((5,) * 6)
        self.accuracy[tuple(self.rows.T)] = [float(row["test_acc"]) / 100 for row in rows]
        self.latency[tuple(self.rows.T)] = [float(row[latency]) for row in rows]
        self.limit = float(np.quantile(self.latency, SHARE))

    def accuracies(self, rows: Any) -> np.ndarray:
        return self.accuracy[tuple(np.asarray(rows).T)]

    def within(self, rows: Any) -> np.ndarray:
        return self.latency[tuple(np.asarray(rows).T)] <= self.limit


@dataclass(frozen=True, eq=False)
class Limited(Pairs):
    """Cells within the latency limit, which is measured of whole networks: no sum over choices."""

    table: Table | None = None

    def within(self, rows: Any) -> np.ndarray:
        assert self.table is not None
        return self.table.within(rows)


def one_seed(table: Table, pairs: Pairs, args: Arguments, seed: int) -> dict[str, float]:
    """All figures of a seed."""
    order = np.random.default_rng([seed, 11]).permutation(len(table.rows))
    learned, rest = table.rows[order[: args.networks]], table.rows[order[args.networks :]]
    found = {}
    for name, sizes in zip(COLUMNS, (Sizes(), replace(Sizes(), counted=0)), strict=False):
        predictor = Predictor(pairs, seed, args.networks, sizes)
        fitted = predictor.fit([tuple(row) for row in learned.tolist()], table.accuracies(learned).tolist())
        found[name] = rank_correlation(fitted.predict(rest).mean(axis=0).tolist(), table.accuracies(rest).tolist())
    limited = Limited(pairs.space, pairs.walked, (), table=table)
    asked: list[float] = []

    def evaluate(rows: Any, until: int | None) -> list[tuple[float, ...]]:
        values = table.accuracies(rows).tolist()
        asked.extend(values)
        return [(value,) for value in values]

    plan, predictor = Plan(args.trainings), Predictor(limited, seed, args.trainings)
    known = coarse(limited, plan, predictor, evaluate, seed)
    fine(limited, plan, fit(predictor, known), known, evaluate, seed)
    inside = table.accuracies(table.rows[table.within(table.rows)])
    drawn = np.random.default_rng([seed, 12]).permutation(inside)[: args.trainings]
    more = dict(zip(COLUMNS[2:], (max(asked), float(drawn.max()), float(inside.max())), strict=True))
    return {name: round(float(value), 6) for name, value in (found | more).items()}


def markdown(args: Arguments, limit: float, seeds: list[dict[str, float]]) -> str:
    """The table."""
    lines = [
        f"# The predictor on NAS-Bench-201: {len(seeds)} seeds", "",
        f"Spearman's correlation with the accuracy of all cells but the {args.networks} that it learned from:", "",
        "| encoder | mean | standard error | least |", "|---|---|---|---|",
    ]  # fmt: skip
    for name in COLUMNS[:2]:
        values = np.array([seed[name] for seed in seeds])
        lines.append(f"| {name} | {values.mean():.3f} | {_error(values):.3f} | {values.min():.3f} |")
    gap = np.array([seed[COLUMNS[0]] - seed[COLUMNS[1]] for seed in seeds])
    lines += ["", f"Knowing costs gains {gap.mean():+.3f} (standard error {_error(gap):.3f}), seed by seed.", ""]
    lines += [
        f"Best accuracy within {limit:.2f} ms ({args.latency}), {args.trainings} cells evaluated:", "",
        "| | mean, % | standard error |", "|---|---|---|",
    ]  # fmt: skip
    for name in COLUMNS[2:]:
        values = 100 * np.array([seed[name] for seed in seeds])
        lines.append(f"| {name} | {values.mean():.2f} | {_error(values):.2f} |")
    return "\n".join(lines) + "\n"


def _error(values: np.ndarray) -> float:
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")


def main(args: Arguments) -> None:
    """Goes on with the seeds that are left, then writes the table."""
    configure()
    table, pairs, file = Table(args.table, args.latency), cells(), HOME / "joint_predictor.json"
    asked = {"networks": args.networks, "trainings": args.trainings, "latency": args.latency}
    known = read_document(file).data if file.is_file() else {}
    found = known.get("seeds", {}) if known.get("asked") == asked else {}
    for seed in range(args.seeds):
        if str(seed) not in found:
            found[str(seed)] = one_seed(table, pairs, args, seed)
            write_json(file, {"asked": asked, "seeds": found})
            print(seed, found[str(seed)], flush=True)
    write_atomic(HOME / "joint_predictor.md", markdown(args, table.limit, [found[str(n)] for n in range(args.seeds)]))


if __name__ == "__main__":
    run(main, Arguments)
