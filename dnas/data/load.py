"""From what a user writes after `--data`, or gives as arrays, to a `Dataset`: `scan` finds, `Source.load` decodes.

Between the two, a command decides the side at which images are decoded, by the network and by the images' own size.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from dnas.data.arrays import Arrays, from_arrays
from dnas.data.arrow import is_arrow, scan_arrow
from dnas.data.class_folders import beside_classes
from dnas.data.dataset import Dataset, Origin
from dnas.data.folder import Told, scan_folder
from dnas.data.idx import is_idx_folder, load_idx
from dnas.data.npz import load_npz
from dnas.data.reading import Reading, refuse_arrays
from dnas.data.shards import scan_shards, shards_in
from dnas.errors import InputError, suggestion
from dnas.files import text_of
from dnas.process.seed import checked_seed

EMBEDDED = "fashion-mnist-5k"
EMBEDDED_FILE = Path(__file__).with_name("fashion_mnist_5k.npz")
Data = str | os.PathLike[str] | Arrays | Dataset
"""What stands for a data set: a name or a path, arrays in memory, or a data set itself."""
DEFAULT = Reading()
ACCEPTED = (
    f"'{EMBEDDED}', an .npz file, a folder of IDX files, an image folder, a folder of tar, ArrayRecord or TFRecord "
    "files, or a data set that Hugging Face's datasets saved"
)


@runtime_checkable
class Source(Protocol):
    """Data that were found, and can be loaded at a side."""

    @property
    def name(self) -> str: ...
    @property
    def class_names(self) -> tuple[str, ...]: ...
    @property
    def native_side(self) -> int:
        """The images' own size: side of arrays, median short side of image files; pixels."""
        ...

    @property
    def fixed(self) -> bool:
        """Whether the images have a side and channels already, and are loaded at no other."""
        ...

    def load(
        self, side: int | None = None, channels: int = 3, why: str = "", progress: Told | None = None,
        memory: int | None = None,
    ) -> Dataset:  # fmt: skip
        """The data; what is `fixed` passes over the arguments.

        By `memory`, bytes that the machine has, images are kept in memory or streamed; this one's if not given.
        """
        ...


@dataclass(frozen=True, eq=False)
class ArraySource:
    """Arrays, which are read whole; `dnas.data.preprocess.prepare` resizes them."""

    dataset: Dataset
    fixed: bool = True

    @property
    def name(self) -> str:
        return self.dataset.name

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.dataset.class_names

    @property
    def native_side(self) -> int:
        return self.dataset.side

    def load(
        self, side: int | None = None, channels: int = 3, why: str = "", progress: Told | None = None,
        memory: int | None = None,
    ) -> Dataset:  # fmt: skip
        return self.dataset


def scan(data: Data | None = None, *, seed: int = 0, reading: Reading = DEFAULT) -> Source:
    """Finds a data set.

    Args:
        data: None or 'fashion-mnist-5k' (embedded); the path of an `.npz` file, of a folder with IDX files, or of an
            image folder (`train/<class>/*` with `test` or `val` or both, or `<class>/*`), of a folder of tar,
            ArrayRecord or TFRecord files (`dnas.data.shards`), of a data set of Hugging Face's `datasets`
            (`dnas.data.arrow`); or arrays (`dnas.data.arrays.from_arrays`).
        seed: draws the test split where the source has none (20 % of every class, told in `notes`).
        reading: where image files are kept, who decodes them, and whether unreadable ones are left out, listed in
            `skipped`, instead of refused.

    Raises:
        InputError: one line naming the file and the cause; a seed out of range.
    """
    seed = checked_seed(seed)
    if data is None or isinstance(data, str) and data == EMBEDDED:
        refuse_arrays(reading, EMBEDDED)
        return ArraySource(load_npz(EMBEDDED_FILE, EMBEDDED, seed, Origin("embedded")))
    if isinstance(data, str | os.PathLike):
        return _at(os.fspath(data), seed, reading)
    refuse_arrays(reading, "an array")
    if isinstance(data, Mapping | tuple | list):
        return ArraySource(from_arrays(data, seed))
    if isinstance(data, Dataset):
        return ArraySource(data)
    accepted = f"{ACCEPTED}; (images, labels), or a dict of arrays"
    raise InputError("data", "not a kind of data that can be read", found=type(data).__name__, accepted=accepted)


def _at(spec: str, seed: int, reading: Reading) -> Source:
    """The data at a path."""
    path = Path(spec)
    try:
        there = bool(spec) and "\0" not in spec and path.exists()
    except OSError as error:
        raise InputError("data", f"cannot be read: {error.strerror or error}", found=spec) from error
    if not there:
        raise InputError("data", f"no such file or folder{suggestion(spec, [EMBEDDED])}", found=spec, accepted=ACCEPTED)
    name = text_of(path.resolve().name)
    if path.is_dir():
        if is_idx_folder(path):
            refuse_arrays(reading, "a folder of IDX files")
            return ArraySource(load_idx(path, name, seed))
        shards = shards_in(path)
        if shards and not beside_classes(file for files in shards[1].values() for file in files):
            return scan_shards(path, name, seed, reading, *shards)
        if is_arrow(path):
            return scan_arrow(path, name, seed, reading)
        return scan_folder(path, name, seed, reading)
    if not path.is_file():
        raise InputError(str(path), "neither a file nor a folder", accepted=ACCEPTED)
    if path.suffix.lower() != ".npz":
        raise InputError(str(path), "not a kind of data that can be read", found=path.suffix, accepted=ACCEPTED)
    refuse_arrays(reading, "an .npz file")
    return ArraySource(load_npz(path, name, seed))


def load(
    data: Data | None = None, *, seed: int = 0, reading: Reading = DEFAULT, side: int | None = None, channels: int = 3
) -> Dataset:  # fmt: skip
    """`scan` and `Source.load` in one; image folders are decoded at 64 px in colour if not told otherwise.

    Raises:
        InputError: one line naming the file and the cause.
        MissingExtra: an image folder without Pillow.
    """
    return scan(data, seed=seed, reading=reading).load(side, channels)
