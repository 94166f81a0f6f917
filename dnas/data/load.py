"""From what a user writes after `--data` to a `Dataset`, in two steps: `scan` finds, `Source.load` decodes.

Between the two, a command decides the side at which images are decoded, by the network and by the images' own size.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from dnas.data.dataset import Dataset, Origin
from dnas.data.folder import Told, scan_folder
from dnas.data.idx import is_idx_folder, load_idx
from dnas.data.npz import load_npz
from dnas.errors import InputError, suggestion
from dnas.files import text_of

EMBEDDED = "fashion-mnist-5k"
EMBEDDED_FILE = Path(__file__).with_name("fashion_mnist_5k.npz")


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

    def load(self, side: int | None = None, channels: int = 3, why: str = "", progress: Told | None = None) -> Dataset:
        """The data; what is `fixed` passes over the arguments."""
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

    def load(self, side: int | None = None, channels: int = 3, why: str = "", progress: Told | None = None) -> Dataset:
        return self.dataset


def scan(spec: str | None = None, *, seed: int = 0, skip_bad: bool = False) -> Source:
    """Finds a data set.

    Args:
        spec: None or 'fashion-mnist-5k' (embedded); or the path of an `.npz` file, of a folder with IDX files, or of an
            image folder (`train/<class>/*` with `test` or `val` or both, or `<class>/*`).
        seed: draws the test split where the source has none (20 % of every class, told in `notes`).
        skip_bad: leave unreadable images of an image folder out, listed in `skipped`, instead of refusing.

    Raises:
        InputError: one line naming the file and the cause.
    """
    if spec is None or spec == EMBEDDED:
        return ArraySource(load_npz(EMBEDDED_FILE, EMBEDDED, seed, Origin("embedded")))
    accepted = f"'{EMBEDDED}', an .npz file, a folder of IDX files, or an image folder"
    path = Path(spec)
    if not spec or "\0" in spec or not path.exists():
        raise InputError("data", f"no such file or folder{suggestion(spec, [EMBEDDED])}", found=spec, accepted=accepted)
    name = text_of(path.resolve().name)
    if path.is_dir():
        if is_idx_folder(path):
            return ArraySource(load_idx(path, name, seed))
        return scan_folder(path, name, seed, skip_bad=skip_bad)
    if path.suffix.lower() != ".npz":
        raise InputError(str(path), "not a kind of data that can be read", found=path.suffix, accepted=accepted)
    return ArraySource(load_npz(path, name, seed))


def load(
    spec: str | None = None, *, seed: int = 0, skip_bad: bool = False, side: int | None = None, channels: int = 3
) -> Dataset:
    """`scan` and `Source.load` in one; image folders are decoded at 64 px in colour if not told otherwise.

    Raises:
        InputError: one line naming the file and the cause.
        MissingExtra: an image folder without Pillow.
    """
    return scan(spec, seed=seed, skip_bad=skip_bad).load(side, channels)
