"""Trainings that belong together, each in a folder of its own: kept, recognised by what they follow from, run once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dnas.errors import InputError
from dnas.files import read_document, to_json
from dnas.graph.architecture import architecture
from dnas.runs.folder import PARTS, holding
from dnas.space.space import Space


def content(network: Space) -> str:
    """What tells one architecture from another: its blocks and its input, as text; not its name."""
    data = architecture(network, {}).data
    return to_json({key: value for key, value in data.items() if key != "name"})


def folder_of(network: Space, side: int, common: Sequence[Any], seed: int) -> str:
    """The folder of a training, in that of all: equal for equal blocks with equal parts of them left (`keep`,
    `keep_tokens`) and equal bits, for equal side of images, seed and what is `common`.

    Args:
        network: the architecture.
        side: of its images, in pixels.
        common: what else the training follows from, as JSON values.
        seed: of the training.
    """
    known = json.loads(content(network))
    more = {key: value for key, value in known.items() if key not in ("input", "trunk", "head")}
    name = digest(json.dumps([known["trunk"], known["head"], side, *common, *([more] if more else [])]))[:12]
    return f"{PARTS}/{name}-{seed}"


def has_ended(folder: Path) -> bool:
    """Whether a training's whole result is there."""
    held = holding(folder)
    return held.result is not None and held.begun is None


def recorded(folder: Path) -> Mapping[str, Any]:
    """What a training that has ended says of itself; raises `InputError` for a damaged file."""
    file = folder / "architecture.json"
    data = read_document(file).data
    training = data.get("training") if isinstance(data, dict) else None
    accuracy = training.get("accuracy") if isinstance(training, dict) else None
    if training is None or not isinstance(accuracy, dict) or not isinstance(accuracy.get("test"), float | int):
        raise InputError(str(file), "not the result of a training", accepted=f"remove {folder} to train it again")
    return training


def digest(text: str) -> str:
    """The SHA-256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()
