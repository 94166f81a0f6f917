"""What a result folder says: the network that its weights fit, the preprocessing they saw, the data they come from.

A found architecture counts its costs at the space's own input; its inherited weights belong to the same blocks on the
images of the search (`search.proxy` of its file: resolution, channels, classes). A trained one is written as trained.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dnas.data.dataset import Dataset
from dnas.data.preprocess import Preprocessing, preprocessing_for
from dnas.errors import InputError
from dnas.files.sets import current
from dnas.grammar.catalogue import ARCHITECTURE, load_space
from dnas.grammar.read import at_input
from dnas.space.space import Space
from dnas.timm import checkpoint, models

WEIGHTS = "weights.safetensors"


@dataclass(frozen=True, eq=False)
class Result:
    """An architecture and what its file records."""

    space: Space
    """At its own input."""
    network: Space
    """At the input that the weights fit; the same where nothing was done by proxy."""
    preprocessing: Preprocessing | None
    weights: Path | None
    labels: tuple[str, ...] = ()
    data: Mapping[str, Any] | None = None
    """What it was searched or trained on (`dnas.runs.recall`)."""
    notes: tuple[str, ...] = ()
    """What reading the weights leaves out or changes."""

    @property
    def has_own_weights(self) -> bool:
        """Whether its weights are those beside its file, whose accuracy that tells."""
        beside = Path(self.space.source).parent / WEIGHTS
        return self.weights is not None and self.weights.resolve() == beside.resolve()

    def data_seed(self, otherwise: int = 0) -> int:
        """The seed that drew the test split of data without one: the images that never chose anything."""
        return int((self.data or {}).get("seed", otherwise))

    @property
    def image_side(self) -> int:
        """The side, in pixels, of the images that its preprocessing begins with."""
        return self.network.resolution.value if self.preprocessing is None else self.preprocessing.side

    @property
    def image_channels(self) -> int:
        return self.network.channels if self.preprocessing is None else self.preprocessing.channels


def read_result(arch: str | Path, weights: Path | None = None) -> Result:
    """Reads an architecture by name, file or result folder; a result's weights are found by themselves.

    With a checkpoint of timm as `weights` it has that one's classes and preprocessing.

    Raises:
        InputError: no such architecture, a space with choices, a damaged record.
    """
    return result_of(load_space(arch), weights)


def result_of(space: Space, weights: Path | None = None) -> Result:
    """What an architecture's file records, and the weights beside it; raises `InputError` as `read_result` does."""
    if not space.is_architecture:
        count = len(space.choices)
        raise InputError(
            space.source, f"a space with {count} choices, not one architecture", accepted="an architecture"
        )
    timms = weights is not None and checkpoint.is_timms(weights)
    if weights is not None and timms:
        space = models.with_its_classes(space, weights)
    source = Path(space.source)
    beside = source.parent / WEIGHTS
    found = weights or (beside if source.name == ARCHITECTURE and current(beside).is_file() else None)
    extra = space.extra or {}
    preprocessing = None
    if "preprocessing" in extra:
        preprocessing = Preprocessing.from_json(extra["preprocessing"], f"{space.source}: preprocessing")
    elif weights is not None and timms:
        preprocessing = models.preprocessing_of(space, weights)
    labels = _labels(space, extra.get("labels", []))
    if weights is not None and timms:
        labels = labels or models.labels_of(space, weights)
    network = _network(space, preprocessing, labels)
    if labels and len(labels) != network.classes:
        accepted = f"a name for each of {network.classes} classes"
        raise InputError(f"{space.source}: labels", "of another network", found=len(labels), accepted=accepted)
    if preprocessing is not None:
        preprocessing = _taken(space, preprocessing, network.resolution.value)
    notes = checkpoint.check(weights, network) if weights is not None and timms else ()
    return Result(space, network, preprocessing, found, labels, _recorded_data(space), notes)


def preprocessing_of(result: Result, dataset: Dataset) -> Preprocessing:
    """The recorded preprocessing, else that of the data at the network's own input.

    Raises:
        InputError: the data have other channels or classes than the network.
    """
    recorded = result.preprocessing
    channels = recorded.channels if recorded else result.network.channels
    if dataset.channels not in (1, channels):
        raise InputError(
            f"data {dataset.name}", f"images of {dataset.channels} channels for a network of {channels} "
            f"({result.space.source})", accepted="1 channel" if channels == 1 else f"1 or {channels} channels",
        )  # fmt: skip
    if dataset.classes != result.network.classes:
        raise InputError(
            f"data {dataset.name}", f"{dataset.classes} classes for a network of {result.network.classes} "
            f"({result.space.source})", accepted="the classes that the weights were trained on",
        )  # fmt: skip
    return recorded or preprocessing_for(dataset, side=result.network.resolution.value, channels=channels)


def _network(space: Space, preprocessing: Preprocessing | None, labels: tuple[str, ...]) -> Space:
    """The architecture on the images of its weights."""
    extra = space.extra or {}
    if "training" in extra or preprocessing is None:
        return space
    sizes = {
        "resolution": preprocessing.side, "channels": preprocessing.channels, "classes": len(labels) or space.classes
    }  # fmt: skip
    proxy = _mapping(space, _mapping(space, extra.get("search", {}), "search").get("proxy", {}), "search.proxy")
    for key, value in proxy.items():
        if key not in sizes or isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 1_000_000:
            raise InputError(f"{space.source}: search.proxy.{key}", "not accepted here", found=value)
        sizes[key] = value
    return at_input(space, channels=sizes["channels"], classes=sizes["classes"], side=sizes["resolution"])


def _taken(space: Space, preprocessing: Preprocessing, side: int) -> Preprocessing:
    """The preprocessing with the grid that the network takes, which older files do not name."""
    taken = preprocessing.taken_at(side)
    if preprocessing.grid not in (None, taken.grid):
        accepted = f"{side}, the side of the network's own input"
        place = f"{space.source}: preprocessing.subgrid.side"
        raise InputError(place, "does not fit the network", found=preprocessing.grid, accepted=accepted)
    return taken


def _recorded_data(space: Space) -> dict[str, Any]:
    extra = space.extra or {}
    section = "training" if "training" in extra else "search"
    record = _mapping(space, extra.get(section, {}), section)
    data = dict(_mapping(space, record.get("data", {}), f"{section}.data"))
    if section in extra:
        data.setdefault("seed", record.get("seed", 0))
    for key in ("path", "kind", "name", "sha256", "files_sha256", "listing_sha256"):
        if not isinstance(data.get(key, ""), str):
            raise InputError(f"{space.source}: {section}.data.{key}", "not a text", found=data[key])
    for key in ("seed", "side"):
        value = data.get(key, 1)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
            raise InputError(f"{space.source}: {section}.data.{key}", "not an integer", found=value)
    return data


def _labels(space: Space, labels: Any) -> tuple[str, ...]:
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise InputError(f"{space.source}: labels", "not a list of names", found=labels)
    return tuple(labels)


def _mapping(space: Space, value: Any, place: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InputError(f"{space.source}: {place}", "not a mapping", found=value)
    return value
