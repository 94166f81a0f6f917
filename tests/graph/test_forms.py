"""What each kind of block reads: every pair of kinds either builds or is refused in one line."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from dnas.blocks import KINDS
from dnas.blocks.forms import BETWEEN, FORMS, MAP, MAP_AND_BIAS, PATCHES_AND_WORDS, SEQUENCE, VECTOR, Form, form_of
from dnas.cost.keys import canonical
from dnas.errors import InputError, UserError
from dnas.grammar.read import space_from_data
from dnas.graph import check_scores, graph_of
from dnas.space.fields import REQUIRED
from dnas.space.space import Space

VALUES = {
    "out": 8, "kernel": 2, "heads": 2, "head_width": 4, "inner": 4, "inner_heads": 2, "inner_head_width": 2,
    "hidden": 8,
}  # fmt: skip
OWN = {
    "tnt_embed": {"patch": 4, "kernel": 3, "stride": 2, "padding": 1},
    "conv_act_norm": {"kernel": 3},
    "conv": {"kernel": 3},
}
SIZES = {
    MAP: "side=8 in=8", VECTOR: "in=8", SEQUENCE: "tokens=17 in=8",
    PATCHES_AND_WORDS: "tokens=17 in=8 patches2=16 tokens2=4 in2=4",
    MAP_AND_BIAS: "side=8 in=8 heads2=2 queries2=64 keys2=64",
}  # fmt: skip
"""A key of a latency table begins so."""


def fields(kind: str) -> dict[str, Any]:
    """Those without which the kind cannot be, so that its width stays 8."""
    needed = {name: VALUES[name] for name, field in KINDS[kind].fields.items() if field.default is REQUIRED}
    return needed | OWN.get(kind, {})


def made(form: Form) -> list[str]:
    """Kinds that make a form of an image."""
    return {
        MAP: ["conv"], VECTOR: ["conv", "pool"], SEQUENCE: ["conv", "tokens"], PATCHES_AND_WORDS: ["tnt_embed"],
        MAP_AND_BIAS: ["conv", "cmt_bias"],
    }[form]  # fmt: skip


def space(*kinds: str) -> Space:
    trunk = [{kind: fields(kind)} for kind in kinds]
    return space_from_data({"input": {"resolution": 32, "classes": 8}, "trunk": trunk}, "mine.yaml")


@pytest.mark.parametrize("first", KINDS)
def test_every_kind_behind_every_other(first):
    for form, second in itertools.product(KINDS[first].reads, KINDS):
        before = [*made(form), first]
        try:
            found = form_of(graph_of(space(*before)).uses[-1].output)
        except InputError as error:  # what stands before it is no network by itself
            assert "gives several tensors" in str(error)
            found = {"tnt_embed": PATCHES_AND_WORDS, "tnt": PATCHES_AND_WORDS}.get(first, MAP_AND_BIAS)
        try:
            graph_of(space(*before, second))
        except UserError as error:
            line = str(error)
            assert "\n" not in line and line.startswith("mine.yaml: ")
            if found in KINDS[second].reads:
                assert "gives several tensors" in line, line
            else:
                assert f"trunk.{len(before)}.{second}: '{second}' reads " in line and found.name in line, line
        else:
            assert found in KINDS[second].reads, (before, second)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_on_the_sizes_of_a_latency_table(kind):
    for form in FORMS:
        values = {**fields(kind), **({"padding": 1} if kind in ("conv", "patch_embed") else {})}
        key = " ".join((kind, SIZES[form], *(f"{name}={value}" for name, value in values.items())))
        if form in KINDS[kind].reads:
            canonical([key], "table")
        else:
            with pytest.raises(InputError, match=rf"^table: {key}: '{kind}' reads .*given {form.name}"):
                canonical([key], "table")


@pytest.mark.parametrize(
    "key",
    [
        "mb3d tokens=50 in=24 heads=2",
        "skip tokens=50 in=24 patches2=49 tokens2=4 in2=8 out=24",
        "tnt side=14 in=12 heads2=1 queries2=196 keys2=49 heads=2 inner_heads=2 inner_head_width=4 hidden=48",
        "conv patches=4 side=3 in=2 out=8",
        "pool windows=4 tokens=3 in=2",
    ],
)
def test_sizes_that_no_such_block_reads(key):
    with pytest.raises(InputError, match=rf"^table: {key}: '\w+' reads .* and is given "):
        canonical([key], "table")


@pytest.mark.parametrize("pair", BETWEEN, ids=lambda pair: f"{pair[0].name} to {pair[1].name}")
def test_the_block_that_a_message_advises_helps(pair):
    found, needed = pair
    reader = next(kind for kind in KINDS if KINDS[kind].reads == (needed,))
    with pytest.raises(UserError, match=f"put a '{BETWEEN[pair]}' block before it"):
        KINDS[reader].check(graph_inputs(found))
    end = {PATCHES_AND_WORDS: ["tnt_out"], MAP_AND_BIAS: ["cmt_out"]}.get(needed, [])
    graph_of(space(*made(found), BETWEEN[pair], reader, *end))


def graph_inputs(form: Form) -> Any:
    """What a block behind those that make the form reads."""
    end = {PATCHES_AND_WORDS: "tnt_out", MAP_AND_BIAS: "cmt_out"}.get(form, "skip")
    return graph_of(space(*made(form), end)).uses[-1].input


def test_a_skip_of_tokens_keeps_their_width():
    with pytest.raises(UserError, match=r"trunk.2.skip: a convolution needs a map$"):
        trunk = [{"conv": {"out": 8}}, {"tokens": {}}, {"skip": {"out": 16}}]
        graph_of(space_from_data({"input": {"resolution": 8}, "trunk": trunk}, "mine.yaml"))


@pytest.mark.parametrize(
    "kinds, found", [(["conv"], "a map"), (["conv", "tokens", "transformer"], "tokens"), (["conv", "pool"], None)]
)
def test_class_scores_are_channels_alone(kinds, found):
    if found is None:
        return check_scores(space(*kinds), 8)
    with pytest.raises(InputError, match=rf"^mine.yaml: the last block must give class scores, not {found} "):
        check_scores(space(*kinds))


def test_class_scores_are_as_many_as_there_are_classes():
    with pytest.raises(InputError, match="the last block must give scores of 10 classes, not 8 of them"):
        check_scores(space("conv", "pool"), 10)
    trunk = [{"conv": {"out": {"choices": [8, 16]}}}, {"pool": {}}]
    with pytest.raises(InputError, match="not 8 or 16 of them"):
        check_scores(space_from_data({"input": {}, "trunk": trunk}, "mine.yaml"))
