"""Which files of an image folder are images of which class and split, and which are none.

A folder is `train/<class>/*` with, if there, `test/<class>/*` and `val/<class>/*` (any usual name of a split, in any
case), or `<class>/*` alone. Nothing is opened here. What is passed over is counted and named in `ClassFolders.notes`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dnas.data.dataset import SPLITS, SplitName
from dnas.data.names import counted, listed, split_of
from dnas.errors import InputError

SUFFIXES = (".png", ".jpg", ".jpeg", ".jfif", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
ACCEPTED = "<class>/*.png, or train/<class>/*.png"

Classes = Mapping[str, list[Path]]
"""Name of a class's folder -> its image files, sorted; every class has at least one."""


@dataclass(frozen=True, eq=False)
class ClassFolders:
    """The images of a folder; classes are folder names in sorted order, and so are files: no file system decides."""

    root: Path
    splits: Mapping[SplitName, Classes]
    """`train` always."""
    notes: tuple[str, ...]
    """What was left out, in sentences."""

    @property
    def classes(self) -> list[str]:
        return sorted(self.splits["train"])

    def files(self, split: SplitName) -> Iterator[tuple[int, Path]]:
        """(number of the class, file) of every image of a split, in order."""
        for number, name in enumerate(self.classes):
            for file in self.splits[split].get(name, ()):
                yield number, file

    def relative(self, file: Path) -> str:
        return file.relative_to(self.root).as_posix()


@dataclass
class _LeftOut:
    """What was passed over, as it is met."""

    root: Path
    other: list[Path] = field(default_factory=list)
    hidden: list[Path] = field(default_factory=list)
    outside: list[Path] = field(default_factory=list)
    """Images in the root or in a split's folder, of no class."""
    nested: list[Path] = field(default_factory=list)
    """Folders within a class."""
    beside: list[Path] = field(default_factory=list)
    """Folders beside the splits."""
    empty: list[Path] = field(default_factory=list)

    def notes(self) -> tuple[str, ...]:
        kinds = (
            (self.other, "file that is no image by its name", "files that are no images by their names"),
            (self.hidden, "hidden file or folder", "hidden files and folders"),
            (self.outside, "image outside a class folder", "images outside a class folder"),
            (self.nested, "folder within a class", "folders within classes"),
            (self.beside, "folder beside the splits", "folders beside the splits"),
            (self.empty, "class folder without images", "class folders without images"),
        )
        return tuple(
            f"left out: {counted(len(found), one, many)}{_with_images(found)}: "
            + listed([file.relative_to(self.root).as_posix() for file in found])
            for found, one, many in kinds
            if found
        )


def class_folders(root: Path) -> ClassFolders:
    """Sorts the entries of an image folder.

    Raises:
        InputError: no classes, no train folder, two folders for one split, a class of train without images, a class in
            another split that train does not have, or a folder that cannot be read.
    """
    left = _LeftOut(root)
    folders = _folders(root, left)
    named: dict[SplitName, list[Path]] = {}
    for folder in folders:
        split = split_of(folder.name)
        if split is not None and subfolders(folder):
            named.setdefault(split, []).append(folder)
    if not named:
        return ClassFolders(root, {"train": _classes(root, folders, left, required=True)}, left.notes())
    for split, found in named.items():
        if len(found) > 1:
            raise InputError(str(root), f"two folders for {split}", found=" and ".join(f.name for f in found))
    if "train" not in named:
        found = ", ".join(folder.name for folder in folders)
        raise InputError(str(root), "no train folder", found=found, accepted="train/<class>/*.png")
    roots = {split: named[split][0] for split in SPLITS if split in named}
    for folder in folders:
        if folder not in roots.values():
            _pass_over(folder, left)
    splits: dict[SplitName, Classes] = {}
    for split, folder in roots.items():
        if classes := _classes(folder, _folders(folder, left), left, required=split == "train"):
            splits[split] = classes
    for split, classes in splits.items():
        if unknown := sorted(set(classes) - set(splits["train"])):
            raise InputError(str(roots[split]), "classes that train does not have", found=", ".join(unknown))
    return ClassFolders(root, splits, left.notes())


def _classes(parent: Path, folders: list[Path], left: _LeftOut, required: bool) -> Classes:
    """The class folders of a split; `required` refuses one whose files are no images."""
    result = {}
    for folder in folders:
        passed = len(left.other), len(left.nested)
        files, inner = _split_entries(folder, left)
        left.nested += inner
        images = [file for file in files if is_image(file)]
        left.other += [file for file in files if not is_image(file)]
        if images:
            result[folder.name] = images
        elif required and (len(left.other), len(left.nested)) != passed:
            what = "its images lie in folders within it" if inner else "files, but no images"
            raise InputError(str(folder), f"an empty class: {what}", accepted=" ".join(SUFFIXES))
        else:
            left.empty.append(folder)
    if required and not result:
        raise InputError(str(parent), "no class folders with images", accepted=ACCEPTED)
    return result


def is_image(file: Path) -> bool:
    """Whether a file is an image by the end of its name."""
    return file.suffix.lower() in SUFFIXES


def subfolders(folder: Path) -> list[Path]:
    """The folders in a folder, sorted, less the hidden.

    Raises:
        InputError: it cannot be read.
    """
    try:
        return sorted(entry for entry in folder.iterdir() if not entry.name.startswith(".") and entry.is_dir())
    except OSError as error:
        raise InputError(str(folder), f"cannot be read: {error.strerror or error}") from error


def _has_images(folder: Path) -> bool:
    """Not one that cannot be looked into, as lost+found on a disk of its own."""
    try:
        return any(map(is_image, folder.iterdir()))
    except OSError:
        return False


def beside_classes(files: Iterable[Path]) -> bool:
    """Whether two class folders with images, or more, lie in a folder of these files or in a split's folder there."""
    for parent in sorted({file.parent for file in files}):
        for folder in (parent, *(inner for inner in subfolders(parent) if split_of(inner.name))):
            classes = [inner for inner in subfolders(folder) if not split_of(inner.name)]
            if sum(map(_has_images, classes)) >= 2:
                return True
    return False


def _folders(folder: Path, left: _LeftOut) -> list[Path]:
    """The folders of the root or of a split; files there belong to no class."""
    files, folders = _split_entries(folder, left)
    left.outside += [file for file in files if is_image(file)]
    left.other += [file for file in files if not is_image(file)]
    return folders


def _pass_over(folder: Path, left: _LeftOut) -> None:
    """A folder beside the splits: one of a split's name that has no classes is told by its images."""
    if split_of(folder.name) is None:
        left.beside.append(folder)
    else:
        _folders(folder, left)


def _split_entries(folder: Path, left: _LeftOut) -> tuple[list[Path], list[Path]]:
    """Files and folders, sorted, less the hidden."""
    try:
        entries = sorted(folder.iterdir())
        folders = {entry for entry in entries if entry.is_dir()}
    except OSError as error:
        raise InputError(str(folder), f"cannot be read: {error.strerror or error}") from error
    left.hidden += [entry for entry in entries if entry.name.startswith(".")]
    shown = [entry for entry in entries if not entry.name.startswith(".")]
    return [entry for entry in shown if entry not in folders], [entry for entry in shown if entry in folders]


def _with_images(found: list[Path]) -> str:
    """How many images the folders among these hold."""
    within = (name for folder in found if folder.is_dir() for _, _, names in os.walk(folder) for name in names)
    count = sum(is_image(Path(name)) for name in within)
    return f" with {counted(count, 'image')}" if count else ""
