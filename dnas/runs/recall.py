"""A run remembers its data: what is recorded beside a result, and how later commands come back to the same data.

The record holds the only thing in a result that is bound to a machine, the data's path. Fingerprints say whether the
data are still the same: of the decoded arrays, and of the source's files, whatever side they are decoded at; or, where
images are streamed, of the names, sizes and labels of the files.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

from dnas.data.dataset import Dataset, Origin
from dnas.data.folder import Told
from dnas.data.load import DEFAULT, EMBEDDED, Data, Source, scan
from dnas.data.names import counted
from dnas.data.reading import Reading
from dnas.errors import InputError
from dnas.files import text_of
from dnas.runs.result import Result

_URI = "file://"


def data_record(dataset: Dataset, seed: int) -> dict[str, Any]:
    """Where the data of a run come from, as JSON; `seed` drew their test split if they have none."""
    origin = dataset.origin
    test, train = len(dataset.test_labels), len(dataset.train_labels) - dataset.validation
    return {
        "name": dataset.name,
        **({} if origin is None else {"kind": origin.kind}),
        **({} if origin is None or origin.path is None else {"path": path_text(origin.path)}),
        "sha256": dataset.fingerprint,
        **({} if origin is None or origin.sha256 is None else {"files_sha256": origin.sha256}),
        **({} if origin is None or origin.listing is None else {"listing_sha256": origin.listing}),
        "side": dataset.side,
        "seed": seed,
        "classes": dataset.classes,
        "images": {"train": train, "validation": dataset.validation, "test": test},
    }


def path_text(path: Path) -> str:
    """An absolute path as text; as a file URI, which keeps every byte, where it is not plain UTF-8."""
    whole = os.path.abspath(path)
    return whole if text_of(whole) == whole else Path(whole).as_uri()


def path_of(text: str) -> Path:
    """The path that `path_text` wrote."""
    return Path(os.fsdecode(unquote_to_bytes(text[len(_URI) :])) if text.startswith(_URI) else text)


def source_for(
    result: Result, given: Data | None, *, seed: int, reading: Reading = DEFAULT, new_classes: bool = False,
    keeps_classifier: bool = False,
) -> Source:  # fmt: skip
    """The data of a command on a result: those given, else those of the run.

    What is not as it was in the run is told in the notes of the data.

    Args:
        given: what the user wrote after `--data`, or arrays.
        new_classes: the user says that other classes than the run's are meant.
        keeps_classifier: the command uses the network as it is, so that the number of classes cannot change.

    Raises:
        InputError: the run's data are gone or not known; the data have other classes than the run and `new_classes` is
            not set, or another number of them and the classifier is kept; and what `scan` raises.
    """
    record = result.data or {}
    spec, notes = (given, []) if given is not None else _remembered(record)
    source = scan(spec, seed=seed, reading=reading)
    where, difference = f"data {source.name}", classes_apart(result.labels, source.class_names)
    if keeps_classifier and len(source.class_names) != result.network.classes:
        apart = difference or f"{len(source.class_names)} instead of {result.network.classes:,}"
        raise InputError(
            where, f"other classes than those of the network ({result.space.source}): {apart}",
            accepted="data of its classes, or python -m dnas.train with --new-classes first",
        )  # fmt: skip
    if difference:
        if not new_classes:
            raise InputError(
                where, f"other classes than those of the run ({result.space.source}): {difference}",
                accepted="--new-classes if they are meant",
            )  # fmt: skip
        notes.append(f"other classes than the run's: {difference}")
    return RecalledSource(source, record, tuple(notes), given is not None)


def _remembered(record: Mapping[str, Any]) -> tuple[str | None, list[str]]:
    """What to load where no data are given, and what to say of it."""
    if "path" in record:
        path = path_of(record["path"])
        shown = text_of(str(path))
        if not path.exists():
            raise InputError("data", f"the data of this run ({shown}) are gone; give --data")
        return os.fspath(path), [f"the data of this run: {shown}"]
    if not record:
        return None, ["no --data given: the Fashion-MNIST extract that comes with dnas"]
    if record.get("kind") == "embedded" or record.get("name") == EMBEDDED:
        return None, []
    name = f" ({record['name']})" if "name" in record else ""
    raise InputError("data", f"where the data of this run{name} lie is not recorded; give --data")


def classes_apart(recorded: tuple[str, ...], found: tuple[str, ...]) -> str:
    """How the classes differ, in words; empty where they do not, or none are recorded."""
    if not recorded or recorded == found:
        return ""
    if len(recorded) != len(found):
        return f"{_some(found)} instead of {_some(recorded)}"
    if set(recorded) == set(found):
        return "the same names in another order"
    other = [f"'{here}' for '{known}'" for here, known in zip(found, recorded, strict=True) if here != known]
    return f"{counted(len(other), 'name')} of {len(found)}, the first {other[0]}"


def _some(names: tuple[str, ...]) -> str:
    return f"{len(names)} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"


@dataclass(frozen=True, eq=False)
class RecalledSource:
    """A source whose data are compared, once loaded, with those that a run recorded (`dnas.data.load.Source`)."""

    inner: Source
    record: Mapping[str, Any]
    notes: tuple[str, ...]
    given: bool
    """By the user, not remembered."""

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.inner.class_names

    @property
    def native_side(self) -> int:
        return self.inner.native_side

    @property
    def fixed(self) -> bool:
        return self.inner.fixed

    def load(
        self, side: int | None = None, channels: int = 3, why: str = "", progress: Told | None = None,
        memory: int | None = None,
    ) -> Dataset:  # fmt: skip
        dataset = self.inner.load(side, channels, why, progress, memory)
        return replace(dataset, notes=(*self.notes, *self._changes(dataset), *dataset.notes))

    def _changes(self, dataset: Dataset) -> list[str]:
        """A note where these are not the images of the run."""
        origin = dataset.origin or Origin("npz")
        found = {"files_sha256": origin.sha256, "sha256": dataset.fingerprint}
        if None in (
            self.record.get("files_sha256"),
            origin.sha256,
        ):  # one of the two was streamed: no file was read whole
            found["listing_sha256"] = origin.listing
        known = {name: self.record[name] for name in found if name in self.record}
        if not known or any(found[name] == value for name, value in known.items()):
            return []
        if self.given:
            return [f"other images than those of the run ({self.record.get('name')})"]
        images = self.record.get("images")
        then = sum(images.values()) if isinstance(images, Mapping) else None
        count = len(dataset.train_labels) + len(dataset.test_labels)
        numbers = "" if then is None else f": {counted(then, 'image')} then, {count} now"
        return [f"the data have changed since the run{numbers}"]
