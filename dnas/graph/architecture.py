"""From a space and one option a choice to an architecture: the same grammar with every choice resolved.

The blocks that exist are written out one by one, with the integers the network needs (hidden and squeeze-excite
widths) derived once; the classifier's outputs alone follow the classes, which are the data's. Reading the result back
gives a `Space` without choices.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dnas.blocks import KINDS
from dnas.blocks.forms import VECTOR
from dnas.grammar.read import space_from_data
from dnas.graph.build import graph_of
from dnas.graph.parts import BlockUse
from dnas.space.expr import parse
from dnas.space.fields import Formula
from dnas.space.quantity import Assignment, Quantity
from dnas.space.space import Space


@dataclass(frozen=True, eq=False)
class Architecture:
    """One network of a space.

    `data` is its file; `network` the same, read back; `sources[path]` the path in `space` of the block at `path`.
    """

    space: Space
    assignment: Assignment
    data: dict[str, Any]
    network: Space
    sources: dict[str, str]


def architecture(space: Space, assignment: Assignment, *, name: str | None = None) -> Architecture:
    """The network of `space` in which each choice takes the option of the given index."""
    walked = graph_of(space)
    sections: dict[str, list[dict[str, Any]]] = {"trunk": [], "head": []}
    sources = {}
    for use in walked.uses:
        if use.given.at(assignment):
            section = use.path.split(".")[0]
            sources[f"{section}.{len(sections[section])}"] = use.path
            sections[section].append({use.kind: written_fields(use, assignment)})
    if VECTOR.fits(walked.output):
        _follow_classes([*sections["trunk"], *sections["head"]][-1], space.classes)
    data = {
        "name": name or space.name,
        "input": {
            "channels": space.channels, "classes": space.classes, "resolution": space.resolution.at(assignment),
        },
        **sections,
        **_renamed("keep", {path: list(kept) for path, kept in space.keep.items()}, sources),
        **_renamed("keep_tokens", {path: list(kept) for path, kept in space.keep_tokens.items()}, sources),
        **_renamed("quantization", {path: how.to_json() for path, how in space.quantization.items()}, sources),
        **{name: list(paths) for name, paths in _renamed("gates", dict.fromkeys(space.gates), sources).items()},
    }  # fmt: skip
    return Architecture(space, assignment, data, space_from_data(data, f"<{space.name}>"), sources)


def _renamed(section: str, of_paths: Mapping[str, Any], sources: Mapping[str, str]) -> dict[str, Any]:
    """A section that speaks of blocks or operators, by the paths of the blocks as they are written; none where it says
    nothing."""
    found = {}
    for path, source in sources.items():
        for name, said in of_paths.items():
            if name == source or name.startswith(f"{source}."):
                found[path + name.removeprefix(source)] = said
    return {section: found} if found else {}


def _follow_classes(last: dict[str, dict[str, Any]], classes: int) -> None:
    """Writes the classifier's outputs as `$classes`: the same file then describes the network on other data."""
    for fields in last.values():
        if fields.get("out") == classes:
            fields["out"] = "$classes"


def options_taken(space: Space, assignment: Assignment) -> dict[str, Any]:
    """Choice name -> the option taken."""
    return {c.name: c.options[assignment[c.name]] for c in space.choices}


def written_fields(use: BlockUse, assignment: Assignment) -> dict[str, Any]:
    """The fields that describe a block, without those that reading would fill in alike."""
    values = {name: q.at(assignment) for name, q in use.fields.items()}
    known = {name: Quantity.constant(v) for name, v in values.items()}
    known["in"] = Quantity.constant(use.channels_in.at(assignment))
    result = {}
    for name, field in KINDS[use.kind].fields.items():
        if field.part_of is not None and not values[field.part_of]:
            continue
        default = field.default
        if isinstance(default, Formula) and field.written == "changed":
            default = parse(default.text, use.path).evaluate(known.__getitem__).value
        if field.written == "always" or (field.written == "changed" and values[name] != default):
            result[name] = values[name]
    return result
