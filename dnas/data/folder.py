"""Data sets as folders of images: `root/train/<class>/*` with `root/test` or `root/val`, or `root/<class>/*` alone.

Images are decoded once, in threads, to RGB squares in memory: the largest centred square, resized. Classes are the
folder names in sorted order; files are read in sorted order, so the result does not depend on the file system.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from dnas.data.dataset import MAX_BYTES, Dataset, build
from dnas.errors import InputError, MissingExtra

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
RESOLUTION = 64
"""Default side, in pixels, to which images are decoded."""
MAX_RESOLUTION = 1024
MAX_PIXELS = 100_000_000
"""A larger single image is refused unread."""

_SPLITS = ("train", "val", "test")


def load_folder(root: Path, name: str, seed: int, *, skip_bad: bool = False, resolution: int | None = None) -> Dataset:
    """Decode an image folder to uint8 [N, resolution, resolution, 3].

    Where both `test` and `val` exist, `test` is used and `val` is left alone, with a note.

    Raises:
        MissingExtra: Pillow is not installed.
        InputError: no classes, an empty class, other classes in the test split, more than 8 GiB, or unreadable images
            unless `skip_bad`, which leaves them out and lists them in `Dataset.skipped`.
    """
    side = RESOLUTION if resolution is None else resolution
    if not 1 <= side <= MAX_RESOLUTION:
        raise InputError("resolution", "out of range", found=side, accepted=f"1 to {MAX_RESOLUTION}")
    pillow = _pillow()
    folders = _subfolders(root)
    notes = []
    if "train" in folders:
        held = next((split for split in ("test", "val") if split in folders), None)
        if held == "test" and "val" in folders:
            notes.append("both val and test are there: test is used, val is left alone")
        if held == "val":
            notes.append("no test folder: val serves as test")
        roots = {"train": root / "train"} | ({held: root / held} if held else {})
    elif folders and set(folders) <= set(_SPLITS):
        raise InputError(str(root), "no train folder", found=", ".join(folders), accepted="train/<class>/*.png")
    else:
        roots = {"train": root}

    listed = {split: _list(folder) for split, folder in roots.items()}
    classes = sorted(listed["train"])
    for split, found in listed.items():
        if unknown := sorted(set(found) - set(classes)):
            raise InputError(str(roots[split]), "classes that train does not have", found=", ".join(unknown))
    count = sum(len(files) for found in listed.values() for files in found.values())
    needed = count * side * side * 3
    if needed > MAX_BYTES:
        raise InputError(
            str(root),
            f"{count} images at side {side} take {needed / 2**30:.1f} GiB",
            accepted="up to 8 GiB: a lower resolution or fewer images",
        )

    pairs, bad, where = [], [], str(root)
    for found in listed.values():
        files = [file for c in classes for file in found.get(c, ())]
        labels = np.array([i for i, c in enumerate(classes) for _ in found.get(c, ())], dtype=np.int32)
        images, reasons = decode(pillow, files, side)
        bad += [(files[i].relative_to(root).as_posix(), reason) for i, reason in reasons.items()]
        if reasons:
            good = np.setdiff1d(np.arange(len(files)), list(reasons))
            images, labels = images[good], labels[good]
        pairs.append((images, labels))
    if bad and not skip_bad:
        shown = ", ".join(f"{file} ({reason})" for file, reason in bad[:3]) + (", ..." if len(bad) > 3 else "")
        raise InputError(
            where, f"{len(bad)} of {count} images cannot be read: {shown}; repair or remove them, or --skip-bad"
        )
    skipped = [file for file, _ in bad]
    if len(pairs[0][0]) == 0:
        raise InputError(where, "none of the training images can be read")
    test = pairs[1] if len(pairs) > 1 else None
    return build(where, name, pairs[0], test, class_names=classes, seed=seed, skipped=skipped, notes=notes)


def decode(pillow: Any, files: Sequence[Path], side: int) -> tuple[np.ndarray, dict[int, str]]:
    """uint8 [len(files), side, side, 3], and for every file that failed its index and a reason (its row is zero)."""
    images = np.zeros((len(files), side, side, 3), dtype=np.uint8)

    def one(index: int) -> str | None:
        try:
            images[index] = _decode_one(pillow, files[index], side)
        except MemoryError:
            raise
        except Exception as error:  # Pillow's decoders fail in many ways on damaged files; each is that file's fault
            return " ".join(str(error).replace(repr(str(files[index])), "it").split())[:120] or type(error).__name__
        return None

    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        results = list(pool.map(one, range(len(files))))
    return images, {i: reason for i, reason in enumerate(results) if reason is not None}


def _decode_one(pillow: Any, file: Path, side: int) -> np.ndarray:
    with pillow.open(file) as image:
        if image.width * image.height > MAX_PIXELS:
            raise ValueError(f"{image.width} x {image.height} pixels are too many")
        if image.mode[0] in "IF":
            raise ValueError(f"mode {image.mode}, only 8-bit images are read")
        image.draft("RGB", (side, side))  # a JPEG is decoded at the nearest smaller scale: several times faster
        image = image.convert("RGB")
        short = min(image.size)
        left, top = (image.width - short) / 2, (image.height - short) / 2
        box = (left, top, left + short, top + short)
        return np.asarray(image.resize((side, side), pillow.Resampling.BILINEAR, box=box))


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingExtra("pillow is missing; install dnas[data]") from error
    return Image


def _subfolders(folder: Path) -> list[str]:
    return [entry.name for entry in _entries(folder) if entry.is_dir()]


def _entries(folder: Path) -> list[Path]:
    """What the folder holds, sorted, less the hidden."""
    try:
        return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise InputError(str(folder), f"cannot be read: {error.strerror or error}") from error


def _list(folder: Path) -> dict[str, list[Path]]:
    """Class name -> its image files, sorted; every class has at least one."""
    result = {}
    for name in _subfolders(folder):
        files = [f for f in _entries(folder / name) if f.suffix.lower() in SUFFIXES and not f.is_dir()]
        if not files:
            raise InputError(str(folder / name), "an empty class: no images", accepted=" ".join(SUFFIXES))
        result[name] = files
    if not result:
        raise InputError(str(folder), "no class folders", accepted="<class>/*.png, or train/<class>/*.png")
    return result
