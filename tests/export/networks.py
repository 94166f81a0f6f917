"""Small networks with weights of ordinary size, for export tests."""

from __future__ import annotations

import functools

import jax
import numpy as np

from dnas.export import parity
from dnas.grammar.catalogue import load_space
from dnas.grammar.read import at_input, space_from_data
from dnas.graph.architecture import Architecture, architecture
from dnas.nn.supernet import Variables, init
from dnas.space.quantity import Assignment
from dnas.space.space import Space

GROUPED = {
    "name": "grouped",
    "input": {"channels": 2, "classes": 3, "resolution": 9},
    "trunk": [
        {"conv": {"kernel": 3, "out": 8, "stride": 2, "act": "relu6", "bias": True}},
        {"mbconv": {"out": 8, "hidden": 16, "groups": 4, "act": "swish", "second_depthwise": True}},
        {"mbconv": {"out": 12, "hidden": 16, "se": True, "se_hidden": 4, "act": "gelu", "bias": True}},
        {"skip": {"out": 12}},
        {"skip": {"out": 6, "stride": 2}},
    ],
    "head": [{"pool_head": {"hidden": 10, "out": 7, "act": "hsigmoid"}}, {"pool": {}}, {"linear": {"out": "$classes"}}],
}
"""Every operator and activation that the shipped spaces have."""

ATTENDED = {
    "name": "attended",
    "input": {"channels": 2, "classes": 3, "resolution": 24},
    "trunk": [
        {"conv": {"kernel": 3, "out": 8, "stride": 2, "act": "gelu", "bias": True}},
        {"mb4d": {"layer_scale": 0.5, "pool": 5}},
        {"mb3d": {"repeat": 2, "layer_scale": 0.5, "heads": 2, "key_width": 4, "act": "swish"}},
        {"mb4d": {"layer_scale": 0.5}},
        {"conv_ffn": {"layer_scale": 0.5, "attention": True, "attention_stride": 3, "heads": 3, "key_width": 4}},
        {"attention_down": {"out": 10, "heads": 2, "key_width": 4}},
        {"mb3d": {"layer_scale": 0.5, "heads": 2, "key_width": 4}},
        {"conv_ffn": {"layer_scale": 0.5, "attention": True, "heads": 2, "key_width": 4, "expand": 2}},
    ],
    "head": [{"norm_head": {"out": "$classes"}}],
}
"""Every operator of the EfficientFormer blocks, in rows and in maps."""
TOKENS = {
    "name": "tokens",
    "input": {"channels": 2, "classes": 3, "resolution": 12},
    "trunk": [
        {"patch_embed": {"out": 12, "kernel": 4, "norm": True}},
        {"tokens": {}},
        {"transformer": {"heads": 2, "head_width": 4, "relative": 1, "repeat": 2}},
        {"transformer": {"heads": 3, "head_width": 4, "expand": 2, "bias": False}},
    ],
    "head": [{"token_head": {"out": "$classes", "pool": "mean"}}],
}
"""A vision transformer, with and without relative positions."""
WINDOWS = {
    "name": "windows",
    "input": {"channels": 2, "classes": 3, "resolution": 14},
    "trunk": [
        {"patch_embed": {"out": 8, "kernel": 2, "norm": True}},
        {"window_transformer": {"heads": 2, "head_width": 4, "window": 4}},
        {"window_transformer": {"heads": 1, "head_width": 4, "window": 4, "shifted": True, "expand": 2}},
        {"patch_merge": {"out": 12}},
        {"window_transformer": {"heads": 2, "head_width": 4, "window": 2, "shifted": True}},
        {"window_transformer": {"heads": 2, "head_width": 4, "window": 7, "shifted": True}},
    ],
    "head": [{"norm_head": {"out": "$classes", "distilled": False}}],
}
"""A Swin transformer whose windows do not fill every map, and one that is smaller than a window."""
STREAMS = {
    "name": "streams",
    "input": {"channels": 2, "classes": 3, "resolution": 12},
    "trunk": [
        {"tnt_embed": {"out": 8, "inner": 4, "patch": 4, "kernel": 3, "stride": 2, "padding": 1}},
        {"tnt": {"heads": 2, "head_width": 4, "inner_heads": 1, "inner_head_width": 2, "repeat": 2}},
        {"tnt": {"heads": 1, "head_width": 4, "inner_heads": 2, "inner_head_width": 2, "inner_expand": 2}},
        {"tnt_out": {}},
        {"transformer": {"heads": 2, "head_width": 4, "shortcuts": 2}},
        {"transformer": {"heads": 2, "head_width": 4, "shortcuts": 1, "shortcut_blocks": 0, "shortcut_act": "relu"}},
    ],
    "head": [{"token_head": {"out": "$classes"}}],
}
"""Words within patches, then augmented shortcuts."""
BIASED = {
    "name": "biased",
    "input": {"channels": 2, "classes": 3, "resolution": 16},
    "trunk": [
        {"conv_act_norm": {"out": 6, "stride": 2}},
        {"patch_embed": {"out": 8, "kernel": 2, "norm": True}},
        {"cmt_bias": {"heads": 2, "reduction": 2}},
        {"cmt": {"heads": 2, "head_width": 4, "reduction": 2, "expand": 2, "repeat": 2}},
        {"cmt_out": {}},
        {"patch_embed": {"out": 12, "kernel": 2, "norm": True}},
        {"cmt_bias": {"heads": 3}},
        {"cmt": {"heads": 3, "head_width": 4, "expand": 1}},
        {"cmt_out": {}},
    ],
    "head": [{"conv": {"out": 8, "act": "swish"}}, {"pool": {}}, {"linear": {"out": "$classes"}}],
}
"""Two stages of CMT, each with a bias that its blocks share."""
SLIMMED = {
    **TOKENS,
    "name": "slimmed",
    "keep_tokens": {"trunk.2.0": [0, 1, 3, 4, 6, 7, 9], "trunk.2.1": [0, 3, 4, 9], "trunk.3": [0, 4, 9]},
}
"""Fewer tokens after each block, with and without relative positions."""
SLIMMED_STREAMS = {
    **STREAMS,
    "name": "slimmed streams",
    "keep_tokens": {
        "trunk.1.0": [0, 1, 2, 5, 6, 8, 9], "trunk.1.1": [0, 2, 5, 9], "trunk.2": [0, 2, 9], "trunk.4": [0, 9],
        "trunk.5": [0],
    },
}  # fmt: skip
"""Fewer patches after each block, and the words of those alone."""
ONE_LEFT = {
    **STREAMS,
    "name": "one left",
    "trunk": [
        STREAMS["trunk"][0],
        {"tnt": {"heads": 2, "head_width": 4, "inner_heads": 1, "inner_head_width": 2, "repeat": 3}},
        STREAMS["trunk"][3],
    ],
    "keep_tokens": {"trunk.1.0": [0, 3, 7, 9], "trunk.1.1": [0, 7], "trunk.1.2": [0]},
}
"""Of all patches none is left in the end, and none of their words: the class token alone goes on."""
UNEVEN_TOKENS = {
    **TOKENS,
    "name": "uneven tokens",
    "trunk": [
        *TOKENS["trunk"][:2],
        {"transformer": {"heads": 2, "head_width": 4, "relative": 1, "repeat": 3}},
        {"transformer": {"heads": 3, "head_width": 4, "expand": 2, "bias": False}},
    ],
    "keep": {
        "trunk.2.0.value": [0, 1, 2, 5], "trunk.2.1.value": [0, 5, 6], "trunk.2.2.value": [0, 1, 5, 6],
        "trunk.3.value": [0, 1, 2, 3, 4, 8, 9],
    },
}  # fmt: skip
"""Heads that have lost not equally many channels, and, in `trunk.2.2`, equally many."""
UNEVEN_WINDOWS = {
    **WINDOWS,
    "name": "uneven windows",
    "keep": {"trunk.1.value": [0, 1, 2, 5], "trunk.4.value": [0, 4, 5]},
}
UNEVEN_STREAMS = {
    **STREAMS,
    "name": "uneven streams",
    "keep": {"trunk.1.0.value": [0, 1, 2, 5, 6], "trunk.2.inner_value": [1, 2, 3], "trunk.4.value": [1, 2, 4, 5, 6]},
}
UNEVEN_ATTENDED = {
    **ATTENDED,
    "name": "uneven attended",
    "keep": {
        "trunk.2.0.value": [0, 2, 3, *range(16, 32)], "trunk.4.value": [*range(12), 17, 18, *range(32, 48)],
        "trunk.5.value": [*range(5), 30], "trunk.7.value": [*range(3), 16, 31],
    },
}  # fmt: skip
UNEVEN_BIASED = {
    **BIASED,
    "name": "uneven biased",
    "keep": {"trunk.3.0.value": [0, 1, 2, 7], "trunk.7.value": [0, 4, 5, 8]},
}
DISTILLED = {
    "name": "distilled",
    "input": {"channels": 2, "classes": 3, "resolution": 12},
    "trunk": [
        {"patch_embed": {"out": 8, "kernel": 4}},
        {"tokens": {"count": 2}},
        {"transformer": {"heads": 2, "head_width": 4}},
    ],
    "head": [{"token_head": {"out": "$classes", "distilled": True}}],
}
"""A class token and a distillation token, with a classifier of each."""
UNEVEN = {
    data["name"]: data for data in (UNEVEN_TOKENS, UNEVEN_WINDOWS, UNEVEN_STREAMS, UNEVEN_ATTENDED, UNEVEN_BIASED)
}
"""Pruned networks whose heads have different widths."""
WRITTEN = {
    "grouped": GROUPED, "attended": ATTENDED, "tokens": TOKENS, "windows": WINDOWS, "streams": STREAMS,
    "biased": BIASED, "distilled": DISTILLED, "slimmed": SLIMMED, "slimmed streams": SLIMMED_STREAMS,
    "one left": ONE_LEFT, **UNEVEN,
}  # fmt: skip


def grouped() -> Space:
    return space_from_data(GROUPED, "grouped")


@functools.lru_cache(maxsize=8)
def network(name: str) -> tuple[Space, Variables]:
    """`grouped`, `attended`, `tiny-SEED` (a network of `tiny`) or `NAME@SIDE` (a published one on other images)."""
    if name in WRITTEN:
        space = space_from_data(WRITTEN[name], name)
    elif name.startswith("tiny-"):
        space = tiny(int(name[5:]))[0].network
    else:
        published, _, side = name.partition("@")
        space = at_input(load_space(published), side=int(side))
    return space, parity.settled(space, awake(init(space, jax.random.key(0))))


@functools.lru_cache(maxsize=4)
def tiny(seed: int) -> tuple[Architecture, Space, Assignment]:
    """A random network of `tiny`, the space and the options taken."""
    space = load_space("tiny")
    generator = np.random.default_rng(seed)
    assignment = {c.name: int(generator.integers(len(c))) for c in space.choices}
    return architecture(space, assignment, name=f"tiny-{seed}"), space, assignment


def awake(variables: Variables) -> Variables:
    """The same with layer scales and attention tables that matter: they start near zero."""
    generator = np.random.default_rng(0)
    ends = ("_scale.scale", ".table")
    params = {
        name: generator.uniform(0.2, 0.6, value.shape).astype(np.float32) if name.endswith(ends) else value
        for name, value in variables["params"].items()
    }
    return {**variables, "params": params}


def noisy(space: Space, seed: int = 0) -> Variables:
    """Supernet weights and statistics, all of them random."""
    variables = init(space, jax.random.key(seed))
    generator = np.random.default_rng(seed)
    noise = {
        group: {name: generator.uniform(0.5, 1.5, value.shape).astype(np.float32) for name, value in leaves.items()}
        for group, leaves in variables.items()
    }
    stats = {n: noise["batch_stats"][n] * (1.0 if n.endswith("var") else 0.2) for n in noise["batch_stats"]}
    params = {
        n: v * noise["params"][n] if np.any(v) else (noise["params"][n] - 1) for n, v in variables["params"].items()
    }
    return {"params": params, "batch_stats": stats}
