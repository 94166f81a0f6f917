"""The networks that are compared: variants of FBNetV2's space, and the plain networks they are measured against."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from dnas.grammar.catalogue import load_space
from dnas.grammar.read import at_input, space_from_data
from dnas.graph.architecture import architecture
from dnas.space.space import Space

SPACE = "fbnetv2_free"
CHANNELS, CLASSES = 1, 10
"""Of the images that the steps are taken on: budgets count the space's own."""
CANDIDATES = [{"kernel": k, "se": se, "act": act} for k in (3, 5) for se in (False, True) for act in ("relu", "hswish")]
"""The eight blocks of a layer where kernel, squeeze-excite and activation are branches."""


def choices() -> Space:
    """Kernel, squeeze-excite, activation, expansion and width of every block; one resolution; no block is skipped."""
    return _edited("choices", _one_resolution, _without_skips)


def choices_and_skips() -> Space:
    """The whole space but for its resolutions."""
    return _edited("choices_and_skips", _one_resolution)


def six_resolutions() -> Space:
    """The choices and all six resolutions; no block is skipped."""
    return _edited("six_resolutions", _without_skips)


def plain() -> Space:
    """The largest network: largest kernels, expansions and widths, squeeze-excite, h-swish, no skips."""
    return largest(choices())


def largest(space: Space) -> Space:
    """The network of a space with the last option of every choice, and no block skipped, for the embedded data."""
    own = at_input(space, channels=CHANNELS, classes=CLASSES)
    return architecture(own, {c.name: 0 if "skip" in c.options else len(c) - 1 for c in own.choices}).network


def branches() -> Space:
    """Kernel, squeeze-excite and activation as eight branches of a layer; widths and expansions masked in each."""
    return _edited("branches", _one_resolution, _without_skips, _as_branches)


def whole_blocks(layers: int = 1) -> Space:
    """FBNetV1's nine whole blocks a layer, with at most `layers` layers in each of its stages."""
    data = copy.deepcopy(load_space("fbnetv1").document.data)
    for item in data["trunk"]:
        for fields in item.values():
            if "repeat" in fields:
                fields["repeat"] = min(fields["repeat"], layers)
    return space_from_data(data, "fbnetv1")


def identical_layers(count: int = 8) -> Space:
    """Equal layers, each a choice between four blocks: two kernels, with and without squeeze-excite."""
    fields = {"out": 64, "expand": 4, "act": "hswish"}
    blocks = [{"mbconv": fields | {"kernel": k, "se": se}} for k in (3, 5) for se in (False, True)]
    return _small([{"one_of": blocks} for _ in range(count)])


def options_a_choice(options: int) -> Space:
    """Two blocks with so many widths and expansions to choose from, the largest of which are always the same."""

    def range_to(most: float, by: float) -> Any:
        return most if options == 1 else {"range": [most - by * (options - 1), most, by]}

    block = {"out": range_to(96, 8), "expand": range_to(6, 0.5), "residual": False}
    return _small([{"mbconv": dict(block)}, {"mbconv": dict(block)}, {"conv": {"out": 96, "act": "relu"}}])


EXPANSIONS, WIDTHS = [1, 2, 3, 4, 5, 6], [16, 24, 32, 40, 48, 56]


def masked_pairs() -> Space:
    """One layer with six expansions and six widths, as masks."""
    return _small([{"mbconv": {**_PAIR, "expand": {"choices": EXPANSIONS}, "out": {"choices": WIDTHS}}}])


def separate_pairs() -> Space:
    """The same layer with a block for each pair of expansion and width."""
    return _small([{"one_of": [{"mbconv": {**_PAIR, "expand": e, "out": w}} for e in EXPANSIONS for w in WIDTHS]}])


_PAIR = {"kernel": 3, "act": "relu", "residual": False}


def _small(trunk: list[dict[str, Any]]) -> Space:
    stem = {"conv": {"kernel": 3, "stride": 2, "out": 64, "act": "hswish"}}
    data = {
        "name": "small", "input": {"channels": 1, "classes": 10, "resolution": 64},
        "trunk": [stem, *trunk], "head": [{"pool": {}}, {"linear": {"out": "$classes"}}],
    }  # fmt: skip
    return space_from_data(data, "small")


def _edited(name: str, *edits: Callable[[dict[str, Any]], None]) -> Space:
    data = copy.deepcopy(load_space(SPACE).document.data)
    for edit in edits:
        edit(data)
    return space_from_data(data | {"name": name}, name)


def _one_resolution(data: dict[str, Any]) -> None:
    data["input"]["resolution"] = max(data["input"]["resolution"]["choices"])


def _without_skips(data: dict[str, Any]) -> None:
    data["templates"] = {name: template["one_of"][0] for name, template in data["templates"].items()}


def _as_branches(data: dict[str, Any]) -> None:
    """Expansions become arguments of the templates, so that the branches of a layer share them."""
    expansions = data["templates"]["tbs"]["mbconv"]["expand"]
    for name, template in data["templates"].items():
        fields = template["mbconv"] | ({"expand": "$expand"} if name == "tbs" else {})
        data["templates"][name] = {"one_of": [{"mbconv": fields | candidate} for candidate in CANDIDATES]}
    for item in data["trunk"]:
        if "tbs" in item:
            item["tbs"]["expand"] = expansions
