"""TFRecord files, whose records are `tf.train.Example`s with an encoded image and a label, as TFDS writes them.

A file is a sequence of records, each a length of 8 bytes, 4 bytes of checksum, the record, and 4 more of checksum
(https://www.tensorflow.org/tutorials/load_data/tfrecord). They are read once for their labels; after that an image is a
piece of a file. TFDS says in `features.json` which features are the image and the label; no TensorFlow is needed.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from dnas.data.stream.array_record import IMAGE, LABEL, first_feature, label_of
from dnas.data.stream.places import Packed
from dnas.data.stream.tar import Pieces
from dnas.errors import InputError

HEAD = struct.Struct("<QI")
"""Length of a record and its checksum."""
FOOT = 4
FEATURES = "features.json"
Names = tuple[Sequence[str], Sequence[str]]
"""Of the feature that is the image, and of the label; the first that is there is read."""


def read_tfrecords(root: Path, files: Sequence[Path]) -> tuple[Pieces, np.ndarray, list[str]]:
    """The images of files, one file after the other, their labels, int32, and no notes.

    Raises:
        InputError: a file that is no TFRecord, a record without an image or a label, a label that is no class.
    """
    names = feature_names(root) or (IMAGE, LABEL)
    found = [(number, *sample) for number, file in enumerate(files) for sample in _samples(root, file, names)]
    which, shown, starts, sizes, labels = zip(*found, strict=True) if found else ((), (), (), (), ())
    pieces = Pieces(
        Packed(shown), np.array(sizes, np.int64), [os.fspath(file) for file in files], np.array(which, np.int32),
        np.array(starts, np.int64),
    )  # fmt: skip
    return pieces, np.array(labels, np.int32), []


def feature_names(root: Path) -> Names | None:
    """The image and the label by their types, as TFDS has written them down; None where it has not.

    Raises:
        InputError: a damaged file, not one of each.
    """
    file = root / FEATURES
    if not file.is_file():
        return None
    try:
        features = json.loads(file.read_bytes())["featuresDict"]["features"]
        kinds = {name: feature["pythonClassName"].rpartition(".")[2] for name, feature in features.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(str(file), "not the features of a data set", accepted="what TFDS writes") from error
    found = []
    for kind in ("Image", "ClassLabel"):
        own = [name for name, known in kinds.items() if known == kind]
        if len(own) != 1:
            problem = f"{'several features' if own else 'no feature'} of the type {kind}"
            shown = ", ".join(own or (f"{name}: {known}" for name, known in kinds.items()))
            raise InputError(str(file), problem, found=shown, accepted="one")
        found.append(own)
    return found[0], found[1]


def _samples(root: Path, file: Path, names: Names) -> Iterator[tuple[bytes, int, int, int]]:
    """Name, first byte, bytes and label of the image of every record."""
    within = file.relative_to(root).as_posix()
    try:
        for number, (start, record) in enumerate(_records(file)):
            where = f"{file}: record {number}"
            image, label = first_feature(record, names[0], where), label_of(record, names[1], where)
            if not isinstance(image, bytes):
                raise InputError(where, "the image is a number", accepted="an encoded image")
            yield os.fsencode(f"{within}:{number}"), start + record.find(image), len(image), label
    except (OSError, ValueError, IndexError) as error:
        raise InputError(str(file), f"cannot be read as TFRecord: {str(error).splitlines()[0]}") from error


def _records(file: Path) -> Iterator[tuple[int, bytes]]:
    """First byte and content of every record; raises `ValueError`."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        at = 0
        while at < size:
            head = stream.read(HEAD.size)
            length = HEAD.unpack(head)[0] if len(head) == HEAD.size else size
            at += HEAD.size
            if at + length + FOOT > size:
                raise ValueError("cut off, compressed, or another kind of file")
            yield at, stream.read(length)
            stream.seek(FOOT, os.SEEK_CUR)
            at += length + FOOT
