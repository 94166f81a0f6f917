"""From what a user writes after `--data` to a `Dataset`."""

from __future__ import annotations

from pathlib import Path

from dnas.data.dataset import Dataset
from dnas.data.folder import load_folder
from dnas.data.idx import is_idx_folder, load_idx
from dnas.data.npz import load_npz
from dnas.errors import InputError, suggestion

EMBEDDED = "fashion-mnist-5k"
EMBEDDED_FILE = Path(__file__).with_name("fashion_mnist_5k.npz")


def load(spec: str | None = None, *, seed: int = 0, skip_bad: bool = False, resolution: int | None = None) -> Dataset:
    """Read a data set.

    Args:
        spec: None or 'fashion-mnist-5k' (embedded); or the path of an `.npz` file, of a folder with IDX files, or of an
            image folder (`train/<class>/*` with `test` or `val`, or `<class>/*`).
        seed: draws the test split where the source has none (20 % of every class, told in `notes`).
        skip_bad: leave unreadable images of an image folder out, listed in `skipped`, instead of refusing.
        resolution: side, in pixels, to which an image folder is decoded (default 64). Arrays and IDX files keep their
            own side: `preprocess.prepare` resizes them.

    Raises:
        InputError: one line naming the file and the cause.
        MissingExtra: an image folder without Pillow.
    """
    if spec is None or spec == EMBEDDED:
        return load_npz(EMBEDDED_FILE, EMBEDDED, seed)
    accepted = f"'{EMBEDDED}', an .npz file, a folder of IDX files, or an image folder"
    path = Path(spec)
    if not spec or "\0" in spec or not path.exists():
        raise InputError("data", f"no such file or folder{suggestion(spec, [EMBEDDED])}", found=spec, accepted=accepted)
    name = path.resolve().name
    if path.is_dir():
        if is_idx_folder(path):
            return load_idx(path, name, seed)
        return load_folder(path, name, seed, skip_bad=skip_bad, resolution=resolution)
    if path.suffix.lower() != ".npz":
        raise InputError(str(path), "not a kind of data that can be read", found=path.suffix, accepted=accepted)
    return load_npz(path, name, seed)
