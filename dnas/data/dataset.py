"""The one form in which all data reaches a search: uint8 images and int32 labels, read-only.

`dnas.data.build` makes one from raw arrays, or of images that stay on disk (`dnas.data.stream`). What a user should
know of their data stands in `notes`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from dnas.data.stream.images import Streamed, taken
from dnas.data.waiting import Share
from dnas.errors import InputError

Kind = Literal["embedded", "npz", "idx", "folder", "tar", "array_record", "tfrecord", "arrow"]
SplitName = str
"""One of `SPLITS`."""
SPLITS: tuple[SplitName, ...] = ("train", "test", "validation")
Images = np.ndarray | Streamed
"""uint8 [N, S, S, C]: an array, or images on disk that are decoded when they are indexed."""
Pair = tuple[Images, np.ndarray]
"""Images and labels."""

MAX_BYTES = 8 * 2**30
"""Bound on the images of one data set in memory, as uint8; what is larger stays on disk, where it lies in files."""


@dataclass(frozen=True)
class Origin:
    """Where a data set comes from."""

    kind: Kind
    path: Path | None = None
    """None for what comes with dnas."""
    sha256: str | None = None
    """Of the source's files, whatever side their images are decoded at; None where they are not read as a whole."""
    listing: str | None = None
    """sha256 of names, stored bytes and labels of the source's images; None where images have no files."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images and labels; arrays are read-only. N images, square side S, C channels, labels 0..classes-1."""

    name: str
    train_images: Images
    """uint8 [N, S, S, C]; those of the source's validation split, if it has one, stand last."""
    train_labels: np.ndarray
    """int32 [N]"""
    test_images: Images
    test_labels: np.ndarray
    class_names: tuple[str, ...]
    validation: int = 0
    """How many of the training images the source calls a validation split: they choose, and train no weights."""
    skipped: tuple[str, ...] = ()
    """Unreadable images that were left out, relative to the data folder."""
    notes: tuple[str, ...] = ()
    """What the user should be told: how the splits came about, what was left out, what was done to the images."""
    origin: Origin | None = None
    """None for arrays made in memory."""

    @property
    def classes(self) -> int:
        return len(self.class_names)

    @property
    def channels(self) -> int:
        return self.train_images.shape[3]

    @property
    def side(self) -> int:
        """Pixels along a side of the (square) images."""
        return self.train_images.shape[1]

    @property
    def streamed(self) -> bool:
        """Whether the images stay on disk."""
        return isinstance(self.train_images, Streamed)

    def shown_input(self, share: Share) -> list[str]:
        """A part of a line of progress: what the images cost, where they are not in memory."""
        return [line] if self.streamed and (line := share.line()) else []

    def given_split(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Positions in `train_images`, (training, validation), where the source has a validation split."""
        if not self.validation:
            return None
        positions = np.arange(len(self.train_labels))
        return positions[: -self.validation], positions[-self.validation :]

    def part(self, split: SplitName) -> Pair:
        """Images and labels of a split.

        Raises:
            InputError: `validation`, where the source has none.
        """
        if split == "test":
            return self.test_images, self.test_labels
        own = len(self.train_labels) - self.validation
        if split == "train":
            return taken(self.train_images, slice(own)), self.train_labels[:own]
        if not self.validation:
            raise InputError(f"data {self.name}", "no validation split", accepted="train or test")
        return taken(self.train_images, slice(own, None)), self.train_labels[own:]

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over the class names, the given validation split, and shape, type and bytes of the arrays, in hex.

        In place of the bytes of images that stay on disk stand their names, stored sizes and labels.
        """
        digest = hashlib.sha256(repr(self.class_names).encode())
        if self.validation:
            digest.update(f"validation {self.validation}".encode())
        for array in (self.train_images, self.train_labels, self.test_images, self.test_labels):
            digest.update(f"{array.shape}{array.dtype.name}".encode())
            if isinstance(array, Streamed):
                digest.update(array.content())
            else:
                digest.update(np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).data)
        return digest.hexdigest()
