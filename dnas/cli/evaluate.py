"""Accuracy of an architecture with its weights.

python -m dnas.evaluate runs/mine
python -m dnas.evaluate fbnetv2_f4 --weights mine.safetensors --data images/ --json
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from dnas.process.console import console
from dnas.space import units

MAX_CONFUSION = 20
"""Most classes for which the confusion table is printed."""


@dataclass(frozen=True)
class Arguments:
    """Accuracy of an architecture with its weights: first guess, first five, which class is taken for which."""

    arch: Annotated[str, tyro.conf.Positional]
    """Result folder, path to an architecture's file, or name of a published one (see dnas.spaces)."""
    weights: Path | None = None
    """Weights as a safetensors file; those beside the architecture if not given."""
    data: str | None = None
    """Image folder, .npz file or folder of IDX files; the data of the architecture's own run if not given, and the
    Fashion-MNIST extract that comes with dnas for an architecture of no run."""
    new_classes: bool = False
    """The data name their classes otherwise than the architecture's run: they are compared by their place."""
    split: Literal["test", "validation", "train"] = "test"
    """Which images; validation where the data have such a split."""
    seed: int | None = None
    """Of the test split of data that have none; as recorded with the architecture if not given."""
    skip_bad: bool = False
    """Leave out images that cannot be read, instead of stopping."""
    json: bool = False
    """Print one JSON object instead of tables."""


def main(args: Arguments) -> None:
    from dnas.process.backend import configure

    configure()
    from dnas.errors import InputError
    from dnas.process.progress import told
    from dnas.runs.recall import source_for
    from dnas.runs.result import preprocessing_of, read_result

    result = read_result(args.arch, args.weights)
    if result.weights is None:
        raise InputError(args.arch, "no weights beside it", accepted="--weights FILE.safetensors, or a result folder")
    seed = result.data_seed() if args.seed is None else args.seed
    data = source_for(
        result, args.data, seed=seed, skip_bad=args.skip_bad, new_classes=args.new_classes, keeps_classifier=True
    )
    with told(console(), "decoding images", quiet=args.json) as progress:
        dataset = data.load(result.image_side, result.image_channels, "the network's input", progress)
    preprocessing = preprocessing_of(result, dataset)
    from dnas.learning import weights

    variables = weights.load(result.weights, result.network)
    with told(console(), "evaluating", quiet=args.json) as progress:
        report = evaluated(result, variables, dataset, preprocessing, args.split, progress)
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


def evaluated(
    result: Any, variables: Any, dataset: Any, preprocessing: Any, split: str,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:  # fmt: skip
    """The report: what was evaluated, on which images, and the counts.

    `progress` is told how many images are done, of how many.
    """
    from dnas.learning import chance
    from dnas.learning.evaluation import batch_size, program, tally
    from dnas.runs.as_trained import counted_at, told_apart

    images, labels = dataset.part(split)
    side = result.network.resolution.value
    answer = program(result.network, preprocessing)
    counts = tally(
        answer, variables, images, labels, dataset.classes, batch_size(side), lambda done: progress(done, len(labels))
    )
    guessing = chance.chance_level(labels, dataset.classes)
    notes = [*dataset.notes, *told_apart(counted_at(result.space), counted_at(result.network))]
    if result.preprocessing is None:
        notes.append("no preprocessing recorded: scaled to the network's input by the statistics of these data")
    return {
        "architecture": result.space.source,
        "weights": str(result.weights),
        "data": dataset.name,
        "split": split,
        "images": counts.images,
        "top1": counts.top1 / counts.images,
        "chance": guessing,
        "top5": counts.top5 / counts.images if dataset.classes > 5 else None,
        "input": [side, side, preprocessing.channels],
        "preprocessing": preprocessing.to_json(),
        "classes": list(dataset.class_names),
        "confusion": counts.confusion.tolist() if dataset.classes <= MAX_CONFUSION else None,
        "skipped": list(dataset.skipped),
        "notes": notes,
        "warnings": chance.warning(counts.accuracy, counts.images, guessing, ""),
    }


def _show(report: dict[str, Any]) -> None:
    from rich.table import Table

    out = console()
    side, _, channels = report["input"]
    out.print(f"{report['architecture']} with {report['weights']}, input {side}x{side}x{channels}")
    five = "" if report["top5"] is None else f", top-5 {report['top5']:.2%}"
    images = f"{report['images']:,} {report['split']} images of {report['data']}"
    out.print(f"[bold]top-1 {report['top1']:.2%}{five}[/] on {images}; chance is {units.share(report['chance'])}")
    for note in report["notes"]:
        out.print(f"  {note}", markup=False)
    for note in report["warnings"]:
        out.print("[yellow]warning[/]:", note, soft_wrap=True)
    if report["confusion"] is None:
        return
    table = Table(box=None, pad_edge=False, header_style="bold", title="right class, and what it was taken for")
    table.add_column("")
    for number in range(len(report["classes"])):
        table.add_column(str(number), justify="right")
    table.add_column("right", justify="right")
    for number, (name, row) in enumerate(zip(report["classes"], report["confusion"], strict=True)):
        share = f"{row[number] / sum(row):.1%}" if sum(row) else "-"
        table.add_row(f"{number} {name}", *(str(n) if n else "." for n in row), share)
    out.print(table)
