"""Result folders of searches and trainings, as a notebook reads them.

A result always lies in a folder: where none was named, in a temporary one that goes with the last reference to it.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import weakref
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from dnas.api.guard import guarded
from dnas.api.spaces import LoadedSpace, load
from dnas.api.values import plain_arguments
from dnas.data.load import Data
from dnas.errors import UserError
from dnas.files import read_document, text_of, write_atomic
from dnas.files.read import read_bytes
from dnas.files.sets import current, names
from dnas.grammar.catalogue import ARCHITECTURE
from dnas.runs.folder import PROVENANCE, Claiming, Owner, claimed
from dnas.runs.history import HISTORY, MAX_HISTORY
from dnas.runs.joint import RECORD
from dnas.runs.read import read_run

MAX_FILE = 4 << 30
"""Bytes of a file of a result."""


class Place:
    """A folder for a result: the one named, or a temporary one that is removed with this object."""

    def __init__(self, named: str | os.PathLike[str] | None, within: Place | None = None):
        self.named = named is not None
        self.within = within  # a folder inside another one, which is there as long as this is
        self.path = Path(tempfile.mkdtemp(prefix="dnas-") if named is None else named)
        if named is None:
            weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)


@dataclass(frozen=True, eq=False, repr=False)
class RunResult(os.PathLike[str]):
    """What a run ended with; it stands for its folder wherever a path is taken.

    Attributes:
        place: its folder.
        data: what it was run on, where that was arrays in memory, which no file remembers.
    """

    place: Place
    data: Data | None = None

    def __fspath__(self) -> str:
        return str(self.folder)

    def __repr__(self) -> str:
        counted = ", ".join(f"{value:,} {name}" for name, value in self.architecture.costs.items())
        return f"<{type(self).__name__} {self.architecture.name}: {counted}>"

    @property
    def folder(self) -> Path:
        """Where its files lie (`docs/files.md` says what each holds)."""
        return self.place.path

    @cached_property
    def architecture(self) -> LoadedSpace:
        """The network, at the input that budgets are counted at; `architecture.costs["macs"]` is exact."""
        return load(self.folder)

    @cached_property
    def document(self) -> dict[str, Any]:
        """All that `architecture.json` says."""
        return read_document(self.folder / ARCHITECTURE).data

    @cached_property
    def provenance(self) -> dict[str, Any]:
        """Command, date, host, device and versions of the run."""
        return read_document(self.folder / PROVENANCE).data

    @cached_property
    def history(self) -> dict[str, list[Any]]:
        """The run's rows as columns of equal length, `step` and `loss` among them; None where a row has no such value.

        A dict that `pandas.DataFrame` and `matplotlib` take as it is. `docs/files.md` says what each column holds.
        """
        if not current(self.folder / HISTORY).is_file():  # nothing was trained
            return {}
        text = read_bytes(self.folder / HISTORY, MAX_HISTORY).decode()
        rows = [json.loads(line) for line in text.splitlines()]
        columns = dict.fromkeys(name for row in rows for name in row)
        return {name: [row.get(name) for row in rows] for name in columns}

    @property
    def labels(self) -> list[str]:
        """Names of the classes, in the order of the logits."""
        return self.document["labels"]

    @property
    def accuracy(self) -> dict[str, float]:
        """Accuracies that the run measured, from 0 to 1, by name."""
        raise NotImplementedError

    @property
    def warnings(self) -> list[str]:
        """What the run found to be wrong, a sentence each."""
        raise NotImplementedError

    @plain_arguments
    def save(self, folder: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Copies the result's files into a folder, all or none.

        Args:
            folder: made where it is not there.
            overwrite: replace what it holds of another run.

        Returns:
            The folder.

        Raises:
            UserError: the folder holds another run and `overwrite` is not set, or cannot be written.
        """
        target = Path(folder)
        with guarded():
            if target.resolve() == self.folder.resolve():
                return target
            listed = self.provenance.get("files", names(self.folder))
            run = Owner(self.provenance["run"], self.provenance["identity"])
            with claimed(target, run, Claiming(overwrite=overwrite), lambda line: None) as claim:
                with claim.result(lambda staged: None) as staged:
                    for name in listed:
                        write_atomic(staged / name, read_bytes(self.folder / name, MAX_FILE))
        return target


class SearchResult(RunResult):
    """What a search found.

    Its weights are those of the supernet, a beginning for a training (`dnas.run_training`).
    """

    @property
    def accuracy(self) -> dict[str, float]:
        """On test images, from 0 to 1: `derived`, the network found with inherited weights; `settled`, the same after
        its weights settled; `soft`, the supernet with all options mixed, by strategy. Names with `_before` are without
        estimating batch norms again."""
        return self.document["search"]["inherited_accuracy"]

    @property
    def budgets(self) -> list[dict[str, Any]]:
        """Of each budget its text (`budget`), `limit` and the network's `cost` (MACs, parameters or ms), and the
        `share` of the limit that this is."""
        return self.document["search"]["budgets"]

    @property
    def choices(self) -> dict[str, Any]:
        """Name of each choice of the space -> the option taken."""
        return self.document["choices_taken"]

    @cached_property
    def members(self) -> dict[str, SearchResult]:
        """Of a family that was searched with `dmasking`, the network of each budget, the loosest first; each is a
        result with files of its own inside this one's folder. Empty of other searches."""
        file = current(self.folder / "family.json")
        if not file.is_file():
            return {}
        found = read_document(file).data["members"]
        return {own["budget"]: Inside(Place(self.folder / own["folder"]), self.data, self) for own in found}

    @property
    def warnings(self) -> list[str]:
        """What the search found to be wrong, a sentence each: an accuracy that is no better than chance, say."""
        return self.document["search"]["warnings"]


@dataclass(frozen=True, eq=False, repr=False)
class Inside(SearchResult):
    """A member of a family, which keeps the folder that it lies in."""

    whole: SearchResult | None = None


class TrainingResult(RunResult):
    """What a training ended with: the weights of its best epoch."""

    @property
    def accuracy(self) -> dict[str, float]:
        """From 0 to 1: `validation` (which chose the epoch), `test` and, of more than five classes, `test_top5`; with
        inherited weights also `validation_before`."""
        found = self.document["training"]["accuracy"]
        return {name: value for name, value in found.items() if value is not None}

    @property
    def warnings(self) -> list[str]:
        """What the training found to be wrong, a sentence each."""
        return self.document["training"]["warnings"]


class JointResult(TrainingResult):
    """What a search of architecture and training recipe together found: the best pair, trained.

    Of several budgets it is that of the last command's first; `record["members"]` holds all.
    """

    @property
    def recipe(self) -> dict[str, Any]:
        """The fields of the recipe found; `folder / "recipe.yaml"` is the file that `dnas.run_training` takes."""
        return self.document["training"]["recipe"]

    @property
    def choices(self) -> dict[str, Any]:
        """Name of each choice, of the space (`trunk.0.out`) and of the recipe (`recipe.lr`) -> the option taken."""
        return self.document["choices_taken"]

    @property
    def budgets(self) -> list[dict[str, Any]]:
        """Of each budget its text (`budget`), `limit` and the network's `cost` (MACs, parameters or ms), and the
        `share` of the limit that this is."""
        return self.document["training"]["found"]["budgets"]

    @cached_property
    def record(self) -> dict[str, Any]:
        """All that `joint.json` says: every training (`trained`: its options, the best validation accuracy after each
        epoch, what the predictor expected), which choices matter (`fields`), and the results (`members`)."""
        return read_document(self.folder / RECORD).data


class CompressionResult(TrainingResult):
    """A network that was made smaller (`dnas.run_compression`)."""

    @property
    def stages(self) -> list[dict[str, Any]]:
        """The network before, made smaller, and trained on: `stage`, `macs`, `params`, `bytes`, and `test_accuracy`
        from 0 to 1."""
        return self.document["compression"]["stages"]


class ImportedResult(RunResult):
    """Weights that come from elsewhere (`dnas.import_weights`)."""

    @property
    def accuracy(self) -> dict[str, float]:
        """Nothing: nothing was measured (`dnas.run_evaluation` does)."""
        return {}

    @property
    def warnings(self) -> list[str]:
        """What was left out or changed on the way, a sentence each."""
        return self.document["imported"]["notes"]


KINDS: dict[str, type[RunResult]] = {
    "compression": CompressionResult, "search": SearchResult, "training": TrainingResult, "imported": ImportedResult,
}  # fmt: skip
"""Section of `architecture.json` -> what it is the result of."""


@plain_arguments
def open_run(folder: str | os.PathLike[str]) -> SearchResult | TrainingResult | ImportedResult:
    """Reads the result folder of a search, training, compression or import, made by a command or from Python.

    Args:
        folder: what was its `out`.

    Returns:
        A `SearchResult` (of architecture and recipe together a `JointResult`), a `TrainingResult` (of a compression a
        `CompressionResult`) or an `ImportedResult`.

    Raises:
        UserError: no such folder, a damaged file, or a run that has not ended.
    """
    return opened(Place(folder))


def opened(place: Place, data: Data | None = None) -> Any:
    """The result in a folder, which is read and checked as a whole."""
    with guarded():
        run = read_run(place.path)
        if run.unfinished:
            raise UserError(f"{text_of(str(place.path))}: {run.unfinished}")
        document = read_document(place.path / ARCHITECTURE).data
    if current(place.path / RECORD).is_file():
        return JointResult(place, in_memory(data))
    return next(kind for section, kind in KINDS.items() if section in document)(place, in_memory(data))


def in_memory(data: Data | None) -> Data | None:
    """The data where they are arrays; what has a path or a name is remembered by the run's own files."""
    return None if isinstance(data, str | os.PathLike) else data
