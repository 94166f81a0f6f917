"""ArrayRecord files, whose records are `tf.train.Example`s with an encoded image and a label, as TFDS writes them.

The records are read once for their labels, which lie in them; after that an image is a record of a file, read wherever
it lies. An `Example` is a protocol buffer of one shape, which the few lines here read: no TensorFlow is needed.
"""

from __future__ import annotations

import functools
import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dnas.data.stream.places import Packed, Parts
from dnas.errors import InputError
from dnas.process.extras import need

IMAGE = ("image", "image/encoded", "jpg", "png")
LABEL = ("label", "image/class/label", "cls")
"""Names of the features, the first that is there is read."""
MISSING = -1
"""Stands for a label that is not there."""
AT_ONCE = 64
"""Records read together where all are read."""


@dataclass(frozen=True, eq=False)
class Records(Parts):
    """Images that are records of files: places are their numbers there."""

    kind: str = "record"

    def address(self, number: int) -> list[Any]:
        return [self.files[self.which[number]], int(self.places[number])]


def read_records(root: Path, files: Sequence[Path]) -> tuple[Records, np.ndarray, list[str]]:
    """The images of files, one file after the other, their labels, int32, and no notes.

    Raises:
        InputError: a file that is no ArrayRecord, a record without an image or a label, a label that is no class.
        MissingExtra: the package `array_record` is not installed.
    """
    found = [(number, *record) for number, file in enumerate(files) for record in _labelled(root, file)]
    which, places, names, sizes, labels = zip(*found, strict=True) if found else ((), (), (), (), ())
    records = Records(
        Packed(names), np.array(sizes, np.int64), [os.fspath(file) for file in files], np.array(which, np.int32),
        np.array(places, np.int64),
    )  # fmt: skip
    return records, np.array(labels, np.int32), []


def _labelled(root: Path, file: Path) -> Iterator[tuple[int, bytes, int, int]]:
    """Number, name, stored bytes and label of every record of a file."""
    within = file.relative_to(root).as_posix()
    try:
        reader = _opened(os.fspath(file))
        count = reader.num_records()
        for start in range(0, count, AT_ONCE):
            numbers = list(range(start, min(start + AT_ONCE, count)))
            for number, record in zip(numbers, reader.read(numbers), strict=True):
                label = label_of(record, LABEL, f"{file}: record {number}")
                yield number, os.fsencode(f"{within}:{number}"), len(record), label
    except (RuntimeError, ValueError, IndexError) as error:
        raise InputError(str(file), f"cannot be read as ArrayRecord: {str(error).splitlines()[0]}") from error


def image_of(path: str, number: int) -> io.BytesIO:
    """The encoded image of a record; raises `OSError` for one that was damaged since its label was read."""
    try:
        (record,) = _kept_open(path).read([number])
        image = first_feature(record, IMAGE, path)
    except (RuntimeError, ValueError, IndexError, InputError) as error:
        raise OSError(f"record {number} is damaged: {str(error).splitlines()[0]}") from error
    return io.BytesIO(image if isinstance(image, bytes) else b"")


def _opened(path: str) -> Any:
    module = need("array_record.python.array_record_module", "records")
    reader = module.ArrayRecordReader(path, "readahead_buffer_size:0")
    if not reader.ok():
        raise ValueError("damaged, or another kind of file")
    return reader


_kept_open = functools.lru_cache(maxsize=64)(_opened)


def first_feature(record: bytes, names: Sequence[str], where: str) -> bytes | int:
    """The first value of the first of some features that an Example has."""
    features = dict(_features(record))
    for name in names:
        if name in features:
            return features[name]
    raise InputError(where, "a feature is missing", found=", ".join(features) or "none", accepted=" or ".join(names))


def label_of(record: bytes, names: Sequence[str], where: str) -> int:
    """The class's number in an Example, or -1, which TFDS writes where the label is missing."""
    label = first_feature(record, names, where)
    if isinstance(label, bytes):
        raise InputError(where, "the label is no number")
    if not MISSING <= label < 2**31:
        raise InputError(
            where, "the label is no class's number", found=label, accepted="from 0, or -1 if it is missing"
        )
    return label


def _features(record: bytes) -> Iterator[tuple[str, bytes | int]]:
    """Name and first value of the features of an Example that are bytes or whole numbers.

    Example{1: Features{1: map entry{1: name, 2: Feature{1: bytes list{1: bytes} | 3: int64 list{1: numbers}}}}}
    """
    for _, features in _fields(record):
        for _, entry in _fields(features):
            parts = dict(_fields(entry))
            if not isinstance(parts.get(1), bytes):
                raise ValueError("a record is no tf.train.Example")
            for kind, values in _fields(parts.get(2, b"")):
                first = next((value for number, value in _fields(values) if number == 1), None)
                if kind == 1 and isinstance(first, bytes):
                    yield parts[1].decode(), first
                elif kind == 3 and first is not None:
                    number = _varint(first, 0)[0] if isinstance(first, bytes) else first
                    yield parts[1].decode(), _signed(number)


def _fields(message: bytes | int) -> Iterator[tuple[int, Any]]:
    """Number and content of the fields of a message: whole numbers, and what has a length."""
    at = 0
    while isinstance(message, bytes) and at < len(message):
        key, at = _varint(message, at)
        if key & 7 == 0:
            value, at = _varint(message, at)
            yield key >> 3, value
        elif key & 7 == 2:
            length, at = _varint(message, at)
            if at + length > len(message):
                raise ValueError("a record is no tf.train.Example")
            yield key >> 3, message[at : at + length]
            at += length
        else:
            raise ValueError("a record is no tf.train.Example")


def _signed(number: int) -> int:
    """An int64 from its bits in two's complement, as which protocol buffers keep it."""
    number &= 2**64 - 1
    return number - 2**64 if number >= 2**63 else number


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """A whole number of seven bits a byte, and where the next thing begins."""
    value = shift = 0
    while True:
        byte = message[at]
        at, value, shift = at + 1, value | (byte & 0x7F) << shift, shift + 7
        if byte < 0x80:
            return value, at
