"""Lists of a space's document replaced: choices keep their names, and each stage gets its own."""

from __future__ import annotations

import pytest

from dnas.grammar.catalogue import load_space, space_names
from dnas.grammar.edit import with_options
from dnas.grammar.read import space_from_data
from dnas.graph import graph_of
from dnas.search.subspaces import subspaces

PLACES = {
    "input": {"classes": 2, "resolution": {"choices": [8, 16]}},
    "choices": {"w": {"range": [4, 12, 4]}},
    "templates": {
        "outer": {"one_of": [{"inner": {"out": "$out"}}, {"skip": {"out": "$out"}}]},
        "inner": {"mbconv": {"out": "$out", "kernel": {"choices": [3, 5]}, "first": {"expand": {"choices": [1, 2]}}}},
    },
    "trunk": [
        {"conv": {"out": "$w", "kernel": 3}},
        {"outer": {"out": "$w", "repeat": 2}},
        {"mbconv": {"out": {"choices": [8, 16]}, "first": {"expand": {"choices": [3, 4]}, "stride": 2},
                    "each": {"hidden": [8, {"choices": [8, 16]}]}}, "repeat": {"range": [1, 2, 1]}},
        {"outer": {"out": {"choices": [8, 16]}}},
    ],
    "head": [{"pool": {}}, {"linear": {"out": "$classes"}}],
}  # fmt: skip
"""A list at every kind of place."""


@pytest.mark.parametrize("name", ["places", *space_names()])
def test_options_stand_where_the_reader_says(name):
    space = space_from_data(PLACES, "places") if name == "places" else load_space(name)
    assert set(space.places) == {choice.name for choice in space.choices}
    for choice in space.choices:
        value = space.document.data
        for key in space.places[choice.name]:
            value = value[key]
        if isinstance(value, dict):
            assert tuple(value.get("choices", value.get("range")))[0] == choice.options[0], choice.name
        else:
            assert isinstance(value, list) and choice.name.endswith("one_of")


@pytest.mark.parametrize("name", ["places", *space_names()])
def test_every_list_of_every_stage_is_changed_by_itself(name):
    space = space_from_data(PLACES, "places") if name == "places" else load_space(name)
    parts = subspaces(space, graph_of(space))
    for stage in {part.stage for part in parts.all}:
        new = {
            choice: tuple(int(o) + 2 for o in part.options)
            for part in parts.all if part.stage == stage and part.dimension != "repeat"
            for choice in part.choices if all(type(o) is int for o in part.options)
        }  # fmt: skip
        edited = with_options(space, new, parts.stages)
        again = space_from_data(edited, name)
        kept = [c for c in again.choices if any(c.name == known.name for known in space.choices)]
        assert len(kept) == len(space.choices)
        assert all(c.options == new.get(c.name, space.choice(c.name).options) for c in kept)


def test_what_no_stage_changes_is_left_as_it_was():
    space = load_space("s3_mini")
    assert with_options(space, {}, {}) == space.document.data
    parts = subspaces(space, graph_of(space))
    same = with_options(space, {"w2": (48, 64, 80)}, parts.stages)
    assert same["templates"] == space.document.data["templates"]
    assert same["choices"]["w2"] == {"choices": [48, 64, 80]}
    ranged = space_from_data(PLACES, "places")
    parts = subspaces(ranged, graph_of(ranged))
    assert with_options(ranged, {"w": (8, 12, 16)}, parts.stages)["choices"]["w"] == {"range": [8, 16, 4]}


def test_a_template_has_a_copy_for_each_stage_that_differs():
    space = load_space("s3_mini")
    parts = subspaces(space, graph_of(space))
    heads = {name: (2, 3, 4) for part in parts.all if part.name == "stage 2 heads" for name in part.choices}
    data = with_options(space, heads, parts.stages)
    assert sorted(data["templates"]) == ["block_1", "block_2"]
    assert data["templates"]["block_1"] == space.document.data["templates"]["block"]
    assert data["templates"]["block_2"]["window_transformer"]["heads"] == {"choices": [2, 3, 4]}
    assert [next(iter(item)) for item in data["trunk"]] == ["patch_embed", "block_1", "patch_merge", "block_2"]


def test_a_template_inside_a_choice_keeps_its_name_as_an_option():
    space = space_from_data(PLACES, "places")
    parts = subspaces(space, graph_of(space))
    last = max(s for s in parts.stages.values() if s == parts.stages["trunk", 3])
    kernels = {n: (5, 7) for p in parts.all if p.dimension == "kernel" and p.stage == last for n in p.choices}
    assert kernels
    data = with_options(space, kernels, parts.stages)
    again = space_from_data(data, "again")
    assert [c.name for c in again.choices] == [c.name for c in space.choices]
    assert again.choice("trunk.3.one_of").options == space.choice("trunk.3.one_of").options
