"""Arrays in memory as a file, for runs in processes of their own."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from dnas.data.array_names import CLASS_NAMES
from dnas.data.dataset import SPLITS, Dataset
from dnas.data.load import Data, scan
from dnas.files.write import replacing_file
from dnas.runs.folder import PARTS, SEEDS


@contextmanager
def as_a_file(data: Data | None, folder: Path, seed: int | None) -> Iterator[str | None]:
    """The path of data, which processes of their own read. Arrays are written into the folder, under a name that tells
    them from others; they stay where runs have begun, and later commands find them.

    `seed` draws the test split where there is none; without it, whoever reads the file draws it.
    """
    if data is None or isinstance(data, str | os.PathLike):
        yield None if data is None else os.fspath(data)
        return
    dataset = scan(data, seed=seed or 0).load()
    file = folder / f"arrays-{dataset.fingerprint[:12]}.npz"
    there, made = file.exists(), folder.exists()
    if not there:
        folder.mkdir(parents=True, exist_ok=True)
        own = _of_splits(dataset) if seed is not None or isinstance(data, Dataset) else _as_given(data)
        with replacing_file(file) as handle:
            np.savez(handle, **own)
    try:
        yield str(file)
    finally:
        if not there and not any(any((folder / parts).glob("*")) for parts in (PARTS, SEEDS)):
            file.unlink()
            if not made:
                with suppress(OSError):
                    folder.rmdir()


def _of_splits(dataset: Dataset) -> dict[str, Any]:
    """The arrays of each split by name."""
    splits = [split for split in SPLITS if split != "validation" or dataset.validation]
    pairs = {split: dataset.part(split) for split in splits}
    named: dict[str, Any] = {f"{w}_{split}": pair[n] for split, pair in pairs.items() for n, w in enumerate("xy")}
    return named | {CLASS_NAMES: np.array(dataset.class_names)}


def _as_given(data: Any) -> dict[str, Any]:
    """Arrays that were read already, by the names that they came with."""
    named = data if isinstance(data, Mapping) else {"images": data[0], "labels": data[1]}
    return {name: np.asarray(array) for name, array in named.items()}
