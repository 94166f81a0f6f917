"""Spaces with other options: lists of a document replaced where they stand, each block's by its own.

A list in a template stands once for all blocks that the template writes. Where blocks of several groups (the stages of
a network) are to have lists of their own, each group gets a copy of the template under a name of its own, and so do the
templates that name it. Choices keep their names, which follow from blocks and fields, not from templates.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from dnas.blocks import KINDS
from dnas.space.quantity import Option
from dnas.space.space import Space

Item = tuple[str, int]
"""A block of a file: its list (`trunk` or `head`) and its number there."""


def item_of(choice: str) -> Item:
    """The block of a file to which a choice that is none of its named ones belongs."""
    section, number = choice.split(".")[:2]
    return section, int(number)


def with_options(space: Space, options: Mapping[str, Sequence[Option]], group: Mapping[Item, int]) -> dict[str, Any]:
    """The space's document with other options of the choices named.

    Args:
        options: of choices that share a list within a group, the same.
        group: of each block of the file.
    """
    data = copy.deepcopy(space.document.data)
    shared: dict[tuple, dict[str, Sequence[Option]]] = {}
    for name, new in options.items():
        shared.setdefault(space.places[name], {})[name] = new
    own: dict[int, dict[tuple, Sequence[Option]]] = {}
    for place, new in shared.items():
        if place[0] != "templates":
            _put(data, place, next(iter(new.values())))
            continue
        for name, listed in new.items():
            own.setdefault(group[item_of(name)], {})[place[1:]] = listed
    if own:
        _part(data, own, group)
    return data


def _put(data: Any, place: tuple, options: Sequence[Option]) -> None:
    """Replaces the list at a place; a range stays one where it can."""
    for key in place[:-1]:
        data = data[key]
    ranged = _range(options) if "range" in data[place[-1]] else None
    data[place[-1]] = {"range": ranged} if ranged else {"choices": list(options)}


def _range(options: Sequence[Option]) -> list[int | float] | None:
    """[low, high, step] of numbers evenly apart; None of others, and of floats, whose sums are not exact."""
    if len(options) < 2 or not all(isinstance(o, int) and not isinstance(o, bool) for o in options):
        return None
    step = int(options[1]) - int(options[0])
    even = all(int(b) - int(a) == step for a, b in zip(options, options[1:], strict=False))
    return [int(options[0]), int(options[-1]), step] if even and step > 0 else None


def _part(data: dict[str, Any], own: Mapping[int, Mapping[tuple, Sequence[Option]]], group: Mapping[Item, int]) -> None:
    """Gives every group the templates that it needs, with the lists that are its `own`."""
    templates: dict[str, Any] = data["templates"]
    used: dict[int, list[str]] = {}
    for (section, number), of in group.items():
        met = used.setdefault(of, [])
        met += [name for name in _reached(data[section][number], templates) if name not in met]
    bodies: dict[str, dict[int, Any]] = {name: {} for name in templates}
    for of, met in used.items():
        for name in met:
            bodies[name][of] = body = copy.deepcopy(templates[name])
            for place, options in own.get(of, {}).items():
                if place[0] == name:
                    _put(body, place[1:], options)
    names = _named(bodies, templates)
    data["templates"] = {
        names[of][name]: _renamed(body, names[of]) for name, variants in bodies.items() for of, body in variants.items()
    } | {name: body for name, body in templates.items() if not bodies[name]}
    for (section, number), of in group.items():
        data[section][number] = _renamed(data[section][number], names.get(of, {}))


def _named(bodies: Mapping[str, Mapping[int, Any]], templates: Mapping[str, Any]) -> dict[int, dict[str, str]]:
    """Group -> former name -> name: a template that is the same in all groups, as all that it names, keeps its own."""
    several = {name: list(variants.values()) for name, variants in bodies.items() if len(variants) > 1}
    parted = {name for name, variants in several.items() if any(body != variants[0] for body in variants)}
    while more := {n for n in several if n not in parted and parted & {*_named_in(templates[n], templates)}}:
        parted |= more
    taken = {*templates, *KINDS, "one_of"}
    names: dict[int, dict[str, str]] = {}
    for name, variants in bodies.items():
        for of in variants:
            new = f"{name}_{of}" if name in parted else name
            while name in parted and new in taken:
                new += "_"
            taken.add(new)
            names.setdefault(of, {})[name] = new
    return names


def _reached(item: Any, templates: Mapping[str, Any]) -> list[str]:
    """The templates that a block is written by, each with those that it names."""
    found: list[str] = []
    for name in _named_in(item, templates):
        found += [name, *_reached(templates[name], templates)]
    return list(dict.fromkeys(found))


def _named_in(item: Any, templates: Mapping[str, Any]) -> list[str]:
    """The templates that a block names itself, or in the options of a choice between blocks."""
    found = []
    for key, value in item.items():
        if key in templates:
            found.append(key)
        elif key == "one_of":
            found += [name for option in value for name in _named_in(option, templates)]
    return found


def _renamed(item: dict[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """The block with its templates under their new names; options of a choice between blocks keep theirs as labels."""
    found: dict[str, Any] = {}
    for key, value in item.items():
        if key == "one_of":
            value = [_labelled(option, names) for option in value]
        found[names.get(key, key)] = value
    return found


def _labelled(option: dict[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    kinds = [key for key in option if names.get(key, key) != key]
    label = {"label": kinds[0]} if kinds and "label" not in option else {}
    return _renamed(option, names) | label
