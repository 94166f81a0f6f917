"""What methods of compression, and kinds of distillation, cost in accuracy on the whole of Fashion-MNIST.

    python experiments/smaller/run.py /usr/share/datasets/fashion-mnist

The folder holds the four IDX files. A small vision transformer is trained for each seed, made smaller in every way by
the commands that users have, and teaches a smaller one. What is there already is not run again, so that the script goes
on where it was stopped. Results lie in experiments/results/smaller.json and .md.
"""

from __future__ import annotations

import json
import math
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from dnas.cli.entry import run
from dnas.files import write_atomic, write_json

HERE = Path(__file__).parent
RECIPE = str(HERE / "recipe.yaml")
SHARE = 0.6
"""Of the multiply-adds that patch slimming keeps."""


@dataclass(frozen=True)
class Arguments:
    """Methods of compression and kinds of distillation, over seeds."""

    data: Annotated[Path, tyro.conf.Positional]
    """Folder of Fashion-MNIST's IDX files."""
    seeds: tuple[int, ...] = (0, 1, 2)
    epochs: float = 3
    """Of each training that a compression makes."""
    only: tuple[str, ...] = ()
    """Names of the ways to run; all if not given."""
    runs: Path = Path("runs/smaller")
    out: Path = Path("experiments/results/smaller.json")


def main(args: Arguments) -> None:
    for seed in args.seeds:
        for name in _commands(args, seed):
            command = _commands(args, seed)[name]  # anew: a budget follows from the base, which is trained by then
            if not args.only or name in ("base", *args.only):
                _run(args, f"{name}-{seed}", [*command, "--data", str(args.data), "--seed", str(seed)])
        figures = table(args)
        write_json(args.out, figures)
        write_atomic(args.out.with_suffix(".md"), markdown(figures))


def _commands(args: Arguments, seed: int) -> dict[str, list[str]]:
    """By name, in an order in which each finds what it needs."""
    base = str(args.runs / f"base-{seed}")
    made = ["compress", base, "--epochs", str(args.epochs), "--method"]
    ptq = ["compress", base, "--method", "ptq"]
    student = ["train", str(HERE / "student_28.yaml"), "--recipe", RECIPE]
    taught = [*student, "--teacher", base, "--distill"]
    return {
        "base": ["train", str(HERE / "vit_28.yaml"), "--recipe", RECIPE],
        "patch slimming, 40 % fewer MACs": [*made, "patch_slimming", "--budget", f"{_macs(base) * SHARE:.0f}FLOPs"],
        "VTP, 20 % of dimensions": [*made, "vtp", "--rate", "0.2"],
        "VTP, 40 % of dimensions": [*made, "vtp", "--rate", "0.4"],
        "PTQ, 8 bits": [*ptq, "--bits", "8"],
        "PTQ, 8 bits, min-max": [*ptq, "--bits", "8", "--scales", "min-max"],
        "PTQ, 6 bits": [*ptq, "--bits", "6"],
        "PTQ, 6 bits mixed": [*ptq, "--bits", "6", "--mixed"],
        "PTQ, 6 bits, min-max": [*ptq, "--bits", "6", "--scales", "min-max"],
        "PTQ, 6 bits, 200 images": [*ptq, "--bits", "6", "--images", "200"],
        "student alone": student,
        "student, distilled": [*taught, "soft"],
        "student, manifold": [*taught, "manifold"],
    }  # fmt: skip


def _macs(folder: str) -> float:
    """Of a result; 0 before it is there."""
    file = Path(folder) / "architecture.json"
    return json.loads(file.read_text())["costs"]["macs"] if file.is_file() else 0.0


def _folder(args: Arguments, name: str) -> Path:
    kept = "".join(c if c.isalnum() else " " for c in name.replace("%", "percent"))
    return args.runs / "-".join(kept.split())


def _run(args: Arguments, name: str, command: Sequence[str]) -> None:
    folder = _folder(args, name)
    if (folder / "architecture.json").is_file():
        return
    print(f"{name}: dnas {' '.join(command)}", flush=True)
    module, *options = command
    subprocess.run([sys.executable, "-m", f"dnas.{module}", *options, "--out", str(folder), "--resume"], check=True)


def table(args: Arguments) -> list[dict[str, Any]]:
    """A row a way: test accuracy by seed, and points lost against the network it was made of."""
    rows = []
    for name in _commands(args, 0):
        found = {seed: _accuracy(_folder(args, f"{name}-{seed}")) for seed in args.seeds}
        tests = {seed: value for seed, value in found.items() if value is not None}
        if not tests:
            continue
        before = {seed: _accuracy(_folder(args, f"base-{seed}")) for seed in tests}
        lost = [100 * (b - tests[seed]) for seed, b in before.items() if b is not None]
        document = json.loads((_folder(args, f"{name}-{min(tests)}") / "architecture.json").read_text())
        last = document.get("compression", {}).get("stages", [{}])[-1]
        rows.append({
            "way": name, "macs": document["costs"]["macs"], "params": document["costs"]["params"],
            "bytes": last.get("bytes", 4 * document["costs"]["params"]), "test": tests,
            "mean": statistics.fmean(tests.values()), "lost": statistics.fmean(lost), "error": _error(lost),
        })  # fmt: skip
    return rows


def _accuracy(folder: Path) -> float | None:
    file = folder / "architecture.json"
    return json.loads(file.read_text())["training"]["accuracy"]["test"] if file.is_file() else None


def _error(values: Sequence[float]) -> float | None:
    """The standard error of their mean; None of one value."""
    return statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """The table for people."""
    head = ("way", "MMACs", "params", "kB", "seeds", "test accuracy", "points below the base, +- standard error")
    lines = [head, ("---",) * len(head)]
    for row in rows:
        error = "" if row["error"] is None else f" +- {row['error']:.2f}"
        cells = (f"{row['macs'] / 1e6:.2f}", f"{row['params']:,}", f"{row['bytes'] / 1e3:.1f}", f"{len(row['test'])}")
        lines.append((row["way"], *cells, f"{row['mean']:.2%}", f"{row['lost']:.2f}{error}"))
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


if __name__ == "__main__":
    run(main, Arguments)
