"""A family in one search against single searches of equal total cost: accuracy with inherited weights.

    python experiments/family.py --data FOLDER --seeds 0 1 2 --out experiments/results/family.md

A family of K budgets learns for `--epochs` passes over the data; a single search for each budget learns for a K-th of
them. Every search is kept in `--runs`, and one that is there already is read and not repeated. Expected on the whole
of Fashion-MNIST: the family is not worse by more than one point on average. Run time: about 2 K searches of
`--epochs / K` passes for each seed; hours on two cores.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import dnas
from dnas.files import write_atomic
from dnas.process.backend import configure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--space", default="fashion")
    parser.add_argument("--family", nargs="+", default=["0.8MFLOPs", "1.5MFLOPs", "3MFLOPs", "6MFLOPs"])
    parser.add_argument("--data", help="as of dnas.search; its extract of Fashion-MNIST if not given")
    parser.add_argument("--epochs", type=float, default=8.0)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--runs", type=Path, default=Path("runs/family"))
    parser.add_argument("--out", type=Path, help="also written to this file")
    args = parser.parse_args()
    configure()  # programs are compiled once for all searches of one kind
    rows = [row for seed in args.seeds for row in compared(args, seed)]
    text = table(args, rows)
    print(text, end="")
    if args.out is not None:
        write_atomic(args.out, text)


Row = tuple[str, float, float, float, float]
"""A budget; accuracy and share of the budget in the family, and of a search by itself."""


def compared(args: argparse.Namespace, seed: int) -> list[Row]:
    """A row for each budget."""
    family = searched(args, f"family-{seed}", seed, args.epochs, family=args.family).members
    rows = []
    for budget in args.family:
        epochs = args.epochs / len(args.family)
        alone = searched(args, f"{budget}-{seed}", seed, epochs, budgets=budget, fill=0.97)
        member = family[budget]
        figures = ((one.accuracy["settled"], one.budgets[-1]["share"]) for one in (member, alone))
        rows.append((budget, *(value for pair in figures for value in pair)))
    return rows


def searched(args: argparse.Namespace, name: str, seed: int, epochs: float, **asked: object) -> dnas.SearchResult:
    """A search, continued where it was begun."""
    return dnas.run_search(
        args.space, data=args.data, seed=seed, epochs=epochs, batch_size=args.batch_size, out=args.runs / name,
        resume=True, quiet=True, **asked,
    )  # fmt: skip


def table(args: argparse.Namespace, rows: Sequence[Row]) -> str:
    """In Markdown: means and standard deviations over the seeds, in per cent."""
    lines = [
        "# A family in one search against single searches", "",
        f"Space `{args.space}`, {args.data or 'the extract of Fashion-MNIST'}, {len(args.seeds)} seeds. The family "
        f"learns for {args.epochs:g} passes, each single search for {args.epochs / len(args.family):g}; batches of "
        f"{args.batch_size}. Accuracy with inherited weights, norms estimated again.", "",
        "| budget | family | one by one | difference | of the budget, family | of the budget, one by one |",
        "|---|---|---|---|---|---|",
    ]  # fmt: skip
    found = {budget: np.array([row[1:] for row in rows if row[0] == budget]) for budget in args.family}
    for budget, own in (found | {"all": np.mean(list(found.values()), 0)}).items():  # [seeds, figures]
        apart = own[:, 0] - own[:, 2]
        cells = (own[:, 0], own[:, 2], apart, own[:, 1], own[:, 3])
        lines.append(f"| {budget} | " + " | ".join(map(cell, cells)) + " |")
    return "\n".join(lines) + "\n"


def cell(values: np.ndarray) -> str:
    spread = f" +- {100 * values.std(ddof=1):.1f}" if len(values) > 1 else ""
    return f"{100 * values.mean():.1f}{spread}"


if __name__ == "__main__":
    try:
        main()
    except dnas.UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
