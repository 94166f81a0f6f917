"""How a network came about, step by step: each file of an architecture holds those before it, the oldest first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from dnas.cost.size import stored_bytes
from dnas.errors import InputError
from dnas.graph import graph_of
from dnas.runs.as_trained import counted_at
from dnas.runs.converted import converted
from dnas.runs.inherited import images_of, inherited
from dnas.runs.records import Count, Positive, Share
from dnas.runs.result import Result
from dnas.space.space import Space


class Step(msgspec.Struct, frozen=True, omit_defaults=True):
    """One of them, and the network that it came to, at the input of its weights."""

    step: str
    """`search`, `train`, `import`, or a method of compression."""
    name: str
    macs: Count
    params: Count
    bytes: Count
    """Of its numbers, as they are kept."""
    accuracy: Share | None = None
    images: Positive | None = None
    split: str = "test"
    """Of the data, on which it was measured."""
    detail: str = ""
    """The budgets of a search, the recipe of a training, the model of an import, what a compression was asked for."""


class Stage(msgspec.Struct, frozen=True):
    """Of a compression: the network before, made smaller, trained on."""

    stage: str
    macs: Count
    params: Count
    bytes: Count
    test_accuracy: Share
    test_images: Positive


class _Stages(msgspec.Struct, frozen=True):
    stages: tuple[Stage, ...] = ()


class _Steps(msgspec.Struct, frozen=True):
    lineage: tuple[Step, ...]


def steps_before(space: Space) -> tuple[Step, ...]:
    """Those that an architecture's file holds; raises `InputError` where it is damaged."""
    found = (space.extra or {}).get("lineage", [])
    if not isinstance(found, list):
        raise InputError(f"{space.source}: lineage", "not a list", found=found)
    return converted({"lineage": found}, _Steps, space.source).lineage


def lineage(result: Result) -> tuple[Step, ...]:
    """The steps of a result, its own among them.

    What is known of its accuracy is that of the weights beside the file: with others the step has none.
    """
    own = _own(result)
    if own is not None and not result.has_own_weights:
        own = msgspec.structs.replace(own, accuracy=None, images=None)
    return (*steps_before(result.space), *([] if own is None else [own]))


def stages(result: Result) -> tuple[Stage, ...]:
    """Of a network that was made smaller, as its file tells them; raises `InputError` where it is damaged."""
    found = _section(result.space.extra or {}, "compression") or {}
    return converted(found, _Stages, f"{result.space.source}: compression").stages


def to_json(steps: tuple[Step, ...]) -> list[dict[str, Any]]:
    """As an architecture's file holds them."""
    return msgspec.to_builtins(steps)


def _own(result: Result) -> Step | None:
    extra = result.space.extra or {}
    sections = ("compression", "training", "search", "imported")
    compression, training, search, imported = (_section(extra, name) for name in sections)
    counted = counted_at(result.network)
    known = {"name": result.space.name, "macs": counted.macs, "params": counted.params}
    known |= {"bytes": stored_bytes(graph_of(result.network))}
    if compression is not None:
        images = _section(training or {}, "images") or {}
        found = {"step": compression.get("method"), "detail": compression.get("asked", "")}
        found |= {"accuracy": _accuracy(training), "images": images.get("test")}
    elif training is not None:
        recipe, images = (_section(training, name) or {} for name in ("recipe", "images"))
        found = {"step": "train", "detail": str(recipe.get("name", ""))}
        found |= {"accuracy": _accuracy(training), "images": images.get("test")}
    elif search is not None:
        budgets = [b.get("budget") for b in search.get("budgets", []) if isinstance(b, Mapping)]
        found = {"step": "search", "detail": ", ".join(map(str, budgets))}
        after, split = inherited(_section(search, "inherited_accuracy") or {}), search.get("accuracy_split", "")
        known |= {"accuracy": after[1] if after else None, "split": split, "images": images_of(str(split))}
    elif imported is not None:
        detail = f"{imported.get('names')}: {imported.get('model', imported.get('file'))}"
        found = {"step": "import", "detail": detail}
    else:
        return None
    return converted(known | found, Step, result.space.source)


def _accuracy(training: Mapping[str, Any] | None) -> Any:
    return (_section(training or {}, "accuracy") or {}).get("test")


def _section(of: Mapping[str, Any], name: str) -> Mapping[str, Any] | None:
    found = of.get(name)
    return found if isinstance(found, Mapping) else None
