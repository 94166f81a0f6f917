"""Accuracy of an architecture with its weights.

python -m dnas.evaluate runs/mine
python -m dnas.evaluate fbnetv2_f4 --weights mine.safetensors --data images/ --json
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from dnas.process.console import console
from dnas.process.tables import rich_table
from dnas.space import units


@dataclass(frozen=True)
class Arguments:
    """Accuracy of an architecture with its weights: first guess, first five, which class is taken for which."""

    arch: Annotated[str, tyro.conf.Positional]
    """Result folder, path to an architecture's file, or name of a published one (see dnas.spaces)."""
    weights: Path | None = None
    """Weights as a safetensors file; those beside the architecture if not given."""
    data: str | None = None
    """Folder of images, .npz file, folder of IDX files, of shards (tar, ArrayRecord, TFRecord) or of Hugging Face's
    datasets (docs/data.md); the data of the architecture's own run if not given, and the Fashion-MNIST extract that
    comes with dnas for an architecture of no run."""
    new_classes: bool = False
    """The data name their classes otherwise than the architecture's run: they are compared by their place."""
    split: Literal["test", "validation", "train"] = "test"
    """Which images; validation where the data have such a split."""
    seed: int | None = None
    """Of the test split of data that have none; as recorded with the architecture if not given."""
    skip_bad: bool = False
    """Leave out images that cannot be read, instead of stopping."""
    data_in: Literal["auto", "memory", "stream"] = "auto"
    """Where image files are kept: decoded in memory, or on disk, from where they are streamed as they are needed; auto:
    in memory if they fit."""
    readers: int | None = None
    """Processes that decode what is streamed: one for each core if not given; 0 for threads of this process."""
    json: bool = False
    """Print one JSON object instead of tables."""


def main(args: Arguments) -> None:
    """Prints the accuracy of a network on one split of images."""
    from dnas.process.backend import configure
    from dnas.process.wing import start

    configure()
    start().begin()
    from dnas.data.reading import Reading
    from dnas.learning.evaluation_report import evaluate
    from dnas.runs.result import read_result

    result = read_result(args.arch, args.weights)
    report = evaluate(
        result, args.arch, console(quiet=args.json), data=args.data, split=args.split, seed=args.seed,
        new_classes=args.new_classes, reading=Reading(args.skip_bad, args.data_in, args.readers),
    )  # fmt: skip
    if args.json:
        print(json.dumps(report))
        return
    _show(report)
    trained = "training" in (result.space.extra or {})
    _next(args.arch, trained)


def _next(arch: str, trained: bool) -> None:
    from dnas.runs.following import command, lines

    further = [] if trained else [(command("train", arch), "trains it on")]
    for line in lines([*further, (command("export", arch, "--to", "onnx"), "for other runtimes")]):
        print(line)


def _show(report: dict[str, Any]) -> None:
    from rich.markup import escape

    out = console()
    side, _, channels = report["input"]
    out.print(f"{report['architecture']} with {report['weights']}, input {side}x{side}x{channels}", markup=False)
    five = "" if report["top5"] is None else f", top-5 {report['top5']:.2%}"
    images = f"{report['images']:,} {report['split']} images of {report['data']}"
    out.print(
        f"[bold]top-1 {report['top1']:.2%}{five}[/] on {escape(images)}; chance is {units.share(report['chance'])}"
    )
    for note in report["notes"]:
        out.print(f"  {note}", markup=False)
    for note in report["warnings"]:
        out.print("[yellow]warning[/]:", escape(note), soft_wrap=True)
    if report["confusion"] is None:
        return
    rows = []
    for number, (name, row) in enumerate(zip(report["classes"], report["confusion"], strict=True)):
        share = f"{row[number] / sum(row):.1%}" if sum(row) else "-"
        rows.append((f"{number} {name}", *(str(n) if n else "." for n in row), share))
    head = ("", *map(str, range(len(report["classes"]))), "right")
    out.print(rich_table(head, rows, title="right class, and what it was taken for"))
