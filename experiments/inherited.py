"""Accuracy with inherited weights, from results of searches: batch norms before and after their re-estimation, the
soft supernet against the network derived from it, and that network after its weights have settled.

    for seed in 0 1 2; do python -m dnas.search tiny --budget 0.2MFLOPs --seed $seed --out runs/tiny-$seed; done
    python experiments/inherited.py runs/tiny-* --out experiments/results/inherited.md

One row for the searches of one space, strategy, budgets, data and length. Accuracies are those that each
`architecture.json` records, all on test images that chose nothing.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dnas.errors import InputError, UserError
from dnas.files import read_document, write_atomic

STAGES = ("soft", "derived", "settled")
COLUMNS = tuple(f"{stage}{when}" for stage in STAGES for when in ("_before", ""))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs="+", help="result folders of searches")
    parser.add_argument("--out", type=Path, help="also written to this file")
    args = parser.parse_args()
    text = table(map(accuracies, args.results))
    print(text, end="")
    if args.out is not None:
        write_atomic(args.out, text)


def accuracies(folder: Path) -> tuple[str, dict[str, float]]:
    """What was searched, and the accuracies of `COLUMNS` that its result records.

    Raises:
        InputError: no result of a search.
    """
    path = folder / "architecture.json"
    document = read_document(path).data
    search = document.get("search") if isinstance(document, dict) else None
    if not isinstance(search, dict) or not isinstance(search.get("inherited_accuracy"), dict):
        raise InputError(str(path), "not the result of a search", accepted="a folder written by dnas.search")
    budgets = ", ".join(budget["budget"] for budget in search["budgets"])
    data, epochs = search["data"]["name"], search["settings"]["epochs"]
    what = f"{search['space']}, {search['strategy']}, {budgets}, {epochs:g} epochs of {data}"
    return what, {name: search["inherited_accuracy"][name] for name in COLUMNS if name in search["inherited_accuracy"]}


def table(results: Iterable[tuple[str, dict[str, float]]]) -> str:
    """A table in Markdown: mean and sample standard deviation over the searches of each kind, in per cent."""
    kinds: dict[str, list[dict[str, float]]] = {}
    for what, found in results:
        kinds.setdefault(what, []).append(found)
    lines = [
        "| searches | n | " + " | ".join(f"{s}, norms as gathered | {s}, estimated again" for s in STAGES) + " |",
        "|---" * (2 + len(COLUMNS)) + "|",
    ]
    for what, members in kinds.items():
        cells = [_cell([m[name] for m in members if name in m]) for name in COLUMNS]
        lines.append(f"| {what} | {len(members)} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(values: Sequence[Any]) -> str:
    if not values:
        return "-"
    spread = f" +- {100 * np.std(values, ddof=1):.1f}" if len(values) > 1 else ""
    return f"{100 * np.mean(values):.1f}{spread}"


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
