"""Accuracy of a result's network on images with known classes, as plain data."""

from __future__ import annotations

from typing import Any

from dnas.data.dataset import SPLITS, Dataset
from dnas.data.folder import Told
from dnas.data.load import DEFAULT, Data
from dnas.data.preprocess import Preprocessing
from dnas.data.reading import Reading
from dnas.errors import InputError
from dnas.learning import chance, weights
from dnas.learning.evaluator import batch_size, program, tally
from dnas.nn.supernet import Variables
from dnas.process.progress import told
from dnas.runs.as_trained import counted_at, told_apart
from dnas.runs.recall import source_for
from dnas.runs.result import Result, preprocessing_of

MAX_CONFUSION = 20
"""Most classes for which a report holds which class is taken for which."""


def evaluate(
    result: Result, name: str, console: Any, *, data: Data | None = None, split: str = "test", seed: int | None = None,
    new_classes: bool = False, reading: Reading = DEFAULT,
) -> dict[str, Any]:  # fmt: skip
    """The report of `evaluated` on data, those of the result's own run if none are given.

    Args:
        name: what the user calls the result.
        console: a rich one, for progress.
        data, split, seed, new_classes, reading: as the options of `dnas.cli.evaluate`.

    Raises:
        InputError: no weights, data that cannot be read or do not fit the network.
    """
    if result.weights is None:
        raise InputError(name, "no weights beside it", accepted="--weights FILE.safetensors, or a result folder")
    if split not in SPLITS:
        raise InputError("--split", "unknown", found=split, accepted=", ".join(SPLITS))
    seed = result.data_seed() if seed is None else seed
    source = source_for(result, data, seed=seed, reading=reading, new_classes=new_classes, keeps_classifier=True)
    with told(console, "decoding images") as progress:
        dataset = source.load(result.image_side, result.image_channels, "the network's input", progress)
    preprocessing = preprocessing_of(result, dataset)
    variables = weights.load(result.weights, result.network)
    with told(console, "evaluating") as progress:
        return evaluated(result, variables, dataset, preprocessing, split, progress)


def evaluated(
    result: Result, variables: Variables, dataset: Dataset, preprocessing: Preprocessing, split: str,
    progress: Told = lambda done, total: None,
) -> dict[str, Any]:  # fmt: skip
    """The report: what was evaluated, on which images, and the counts.

    `progress` is told how many images are done, of how many.
    """
    images, labels = dataset.part(split)
    side = result.network.resolution.value
    answer = program(result.network, preprocessing)
    counts = tally(
        answer, variables, images, labels, dataset.classes, batch_size(side), lambda done: progress(done, len(labels))
    )
    guessing = chance.chance_level(labels, dataset.classes)
    notes = [*result.notes, *dataset.notes, *told_apart(counted_at(result.space), counted_at(result.network))]
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
