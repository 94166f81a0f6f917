"""At one-hot gates the supernet is the plain network with the sliced weights: every kind of choice, both modes."""

from __future__ import annotations

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dnas.grammar.catalogue import load_space
from dnas.grammar.read import at_input, space_from_data
from dnas.graph.architecture import architecture
from dnas.maths.grids import grid_index
from dnas.nn.gates import Layout, gumbel_softmax, init_theta, keep_largest, one_hot
from dnas.nn.inherit import inherit
from dnas.nn.supernet import Supernet, init
from dnas.ops.norm import OF_WIDTH
from dnas.solve.relevance import relevance

EVERYTHING = {
    "name": "everything",
    "input": {"channels": 2, "classes": 5, "resolution": {"choices": [7, 12, 13, 16]}},
    "choices": {"w": {"choices": [4, 8, 12]}},
    "trunk": [
        {"conv": {"kernel": {"choices": [3, 5]}, "stride": 2, "out": {"choices": [4, 8]}, "act": "hswish"}},
        {
            "one_of": [
                {"mbconv": {"out": "$w", "kernel": {"choices": [3, 5]}, "expand": {"choices": [1, 2]}}, "label": "a"},
                {"mbconv": {"out": "$w", "se": {"choices": [False, True]}, "act": {"choices": ["relu", "hswish"]}}},
                {"skip": {"out": "$w"}},
            ]
        },
        {"mbconv": {"out": {"choices": [4, 8, 12]}, "stride": 2, "expand": 2, "se": True}},
        {"mbconv": {"repeat": {"range": [1, 3, 1]}, "out": {"choices": [4, 8]}}},
        {"skip": {"out": {"choices": [8, 12]}}},
    ],
    "head": [{"conv": {"out": 16, "act": "relu"}}, {"pool": {}}, {"linear": {"out": "$classes"}}],
}

SMALL = {
    "name": "small",
    "input": {"channels": 2, "classes": 3, "resolution": {"choices": [6, 9]}},
    "trunk": [
        {"conv": {"kernel": {"choices": [3, 5]}, "stride": 2, "out": {"choices": [4, 8]}, "act": "hswish"}},
        {"one_of": [{"mbconv": {"out": 8, "expand": {"choices": [1, 2]}, "se": True}}, {"skip": {"out": 8}}]},
    ],
    "head": [{"pool": {}}, {"linear": {"out": "$classes"}}],
}
# Heads, widths and hidden widths under masks at once; the widths tie the skips, so one mask meets every operator.
ATTENTION = {
    "name": "attention",
    "input": {"channels": 2, "classes": 3, "resolution": 16},
    "choices": {"w": {"choices": [4, 6, 8]}, "v": {"choices": [6, 10]}, "heads": {"choices": [1, 2, 3]}},
    "trunk": [
        {"conv": {"kernel": 3, "stride": 2, "out": "$w", "bias": True, "act": "relu"}},
        {
            "one_of": [
                {"mb4d": {"expand": {"choices": [1, 2]}, "pool": {"choices": [3, 5]}, "layer_scale": 0.5}},
                {"mb3d": {"expand": {"choices": [1, 2]}, "act": {"choices": ["gelu", "relu"]}, "heads": "$heads",
                          "key_width": 4, "layer_scale": 0.5}},
                {"skip": {"out": "in"}},
            ],
            "repeat": 2,
        },
        {"conv_ffn": {"expand": {"choices": [0.5, 1, 2]}, "kernel": {"choices": [3, 5]}, "layer_scale": 0.5,
                      "attention": {"choices": [False, True]}, "attention_stride": 2, "heads": "$heads",
                      "key_width": 4}},
        {"attention_down": {"out": "$v", "heads": {"choices": [2, 4]}, "key_width": 2}},
        {"conv_ffn": {"repeat": {"range": [0, 2, 1]}, "attention": True, "heads": {"choices": [2, 3]}, "key_width": 4,
                      "layer_scale": 0.5}},
    ],
    "head": [{"norm_head": {"out": "$classes"}}],
    "where": [{"order": ["mb4d", "mb3d"], "of": "trunk.1.*.one_of"}],
}  # fmt: skip
POOLING = {
    "name": "pooling",
    "input": {"channels": 2, "classes": 3, "resolution": {"choices": [6, 9, 12]}},
    "trunk": [
        {"conv": {"kernel": 3, "stride": 2, "out": {"choices": [4, 8]}}},
        {"mb4d": {"repeat": 2, "pool": {"choices": [3, 5]}, "layer_scale": 0.5}},
    ],
    "head": [{"norm_head": {"out": "$classes", "distilled": False}}],
}
# Norms with parameters for each width: of a tied width, of a product with an expansion, masked and pending.
SWITCHABLE = {
    "name": "switchable",
    "input": {"channels": 2, "classes": 3, "resolution": 8},
    "choices": {"w": {"choices": [4, 6, 8]}},
    "trunk": [
        {"conv": {"kernel": 3, "stride": 2, "out": "$w", "act": "relu", "switchable": True}},
        {"mbconv": {"out": "$w", "expand": {"choices": [1, 2]}, "act": "relu", "switchable": True}},
        {
            "one_of": [
                {"conv_ffn": {"expand": {"choices": [1, 1.5, 2]}, "layer_scale": 0.5, "switchable": True,
                              "attention": {"choices": [False, True]}, "heads": {"choices": [1, 2]}, "key_width": 2}},
                {"mb4d": {"expand": 2, "layer_scale": 0.5, "switchable": True}},
                {"skip": {"out": "in"}},
            ]
        },
    ],
    "head": [{"norm_head": {"out": "$classes", "norm": "batch", "switchable": True}}],
}  # fmt: skip
# AutoFormer's choices: one width for all, heads and MLP ratio of each block, depth; relative positions.
TOKENS = {
    "name": "tokens",
    "input": {"channels": 2, "classes": 3, "resolution": 12},
    "choices": {"width": {"choices": [6, 9, 12]}},
    "trunk": [
        {"patch_embed": {"out": "$width", "kernel": 4, "norm": True}},
        {"tokens": {"count": 1}},
        {
            "transformer": {
                "heads": {"choices": [1, 2, 3]},
                "head_width": 4,
                "expand": {"choices": [1, 1.5, 2]},
                "relative": 1,
                "repeat": {"range": [1, 3, 1]},
            }
        },
    ],
    "head": [{"token_head": {"out": "$classes", "pool": "mean"}}],
}
# S3's: width of each stage, window, heads and MLP ratio of each block; windows that do not fill the map.
WINDOWS = {
    "name": "windows",
    "input": {"channels": 2, "classes": 3, "resolution": 14},
    "choices": {"w1": {"choices": [4, 8]}, "w2": {"choices": [6, 12]}},
    "templates": {
        "block": {"window_transformer": {"heads": {"choices": [1, 2]}, "head_width": 4,
                                         "window": {"choices": [2, 4, 7]}, "expand": {"choices": [1, 2]},
                                         "shifted": True}},
    },
    "trunk": [
        {"patch_embed": {"out": "$w1", "kernel": 2, "norm": True}},
        {"block": {"repeat": 2}},
        {"patch_merge": {"out": "$w2"}},
        {"block": {"repeat": {"range": [0, 2, 1]}}},
    ],
    "head": [{"norm_head": {"out": "$classes", "distilled": False}}],
}  # fmt: skip
# TNT's widths of both streams; CMT's; augmented shortcuts.
STREAMS = {
    "name": "streams",
    "input": {"channels": 2, "classes": 3, "resolution": 12},
    "trunk": [
        {
            "tnt_embed": {
                "out": {"choices": [6, 12]},
                "inner": {"choices": [2, 4]},
                "patch": 4,
                "kernel": 3,
                "stride": 2,
                "padding": 1,
            }
        },
        {
            "tnt": {
                "heads": {"choices": [1, 2]},
                "head_width": 4,
                "inner_heads": {"choices": [1, 2]},
                "inner_head_width": 2,
                "expand": {"choices": [1, 2]},
                "inner_expand": {"choices": [1, 2]},
                "repeat": {"range": [1, 2, 1]},
            }
        },
        {"tnt_out": {}},
    ],
    "head": [{"token_head": {"out": "$classes"}}],
}
REDUCED = {
    "name": "reduced",
    "input": {"channels": 2, "classes": 3, "resolution": 16},
    "choices": {"w": {"choices": [4, 8]}},
    "trunk": [
        {"conv_act_norm": {"out": {"choices": [4, 6]}, "stride": 2}},
        {"patch_embed": {"out": "$w", "kernel": 2, "norm": True}},
        {"cmt_bias": {"heads": 2, "reduction": 2}},
        {
            "cmt": {
                "heads": 2,
                "head_width": 3,
                "reduction": 2,
                "expand": {"choices": [1, 2]},
                "repeat": {"range": [1, 2, 1]},
            }
        },
        {"cmt_out": {}},
    ],
    "head": [{"conv": {"out": 8, "act": "swish"}}, {"pool": {}}, {"linear": {"out": "$classes"}}],
}
AUGMENTED = {
    "name": "augmented",
    "input": {"channels": 2, "classes": 3, "resolution": 8},
    "trunk": [
        {"patch_embed": {"out": 8, "kernel": 4}},
        {"tokens": {}},
        {"transformer": {"heads": {"choices": [1, 2]}, "head_width": 4, "shortcuts": 2}},
        {"transformer": {"heads": 2, "head_width": 4, "expand": {"choices": [1, 2]}, "shortcuts": 1,
                         "shortcut_blocks": 0, "shortcut_act": "none", "shortcut_factor": 1}},
    ],
    "head": [{"token_head": {"out": "$classes"}}],
}  # fmt: skip
# The same on every kind of block that adds to its input.
SHORTCUTS = {
    "name": "shortcuts",
    "input": {"channels": 2, "classes": 3, "resolution": 16},
    "trunk": [
        {"conv": {"kernel": 3, "stride": 2, "out": 8}},
        {"mbconv": {"out": 8, "expand": {"choices": [1, 2]}, "shortcuts": 1}},
        {"mb4d": {"expand": {"choices": [1, 2]}, "layer_scale": 0.5, "shortcuts": 2}},
        {"mb3d": {"heads": 1, "key_width": 4, "layer_scale": 0.5, "shortcuts": 1, "shortcut_blocks": 2}},
        {"conv_ffn": {"attention": {"choices": [False, True]}, "heads": 2, "key_width": 2, "layer_scale": 0.5,
                      "shortcuts": 1, "shortcut_blocks": 0}},
        {"window_transformer": {"heads": {"choices": [1, 2]}, "head_width": 4, "window": {"choices": [2, 4]},
                                "shortcuts": 1}},
        {"cmt_bias": {"heads": 2, "reduction": 2}},
        {"cmt": {"heads": 2, "head_width": 4, "reduction": 2, "expand": {"choices": [1, 2]}, "shortcuts": 1}},
        {"cmt_out": {}},
        {"tnt_embed": {"out": 8, "inner": 4, "patch": 4, "kernel": 3, "stride": 2, "padding": 1}},
        {"tnt": {"heads": {"choices": [1, 2]}, "head_width": 4, "inner_heads": 1, "inner_head_width": 2,
                 "shortcuts": 1}},
        {"tnt_out": {}},
    ],
    "head": [{"token_head": {"out": "$classes"}}],
}  # fmt: skip
# Padding around single pixels; windows that stand elsewhere though their maps are as large; widths and kernels that
# follow from the resolution; local means at the edge of a map.
WHERE_THEY_STAND = {
    "name": "where they stand",
    "input": {"channels": 2, "classes": 3, "resolution": {"choices": [9, 14]}},
    "trunk": [
        {"conv": {"out": 4, "kernel": "2 * ($resolution // 14) + 1", "act": "relu"}},
        {"conv": {"out": 4, "kernel": 1, "padding": 1}},
        {"conv": {"out": "$resolution // 3", "kernel": {"choices": [3, 5]}, "padding": 1, "stride": 4}},
        {"mb4d": {"pool": {"choices": [3, 5]}, "layer_scale": 0.5}},
        {"skip": {"out": {"choices": [3, 4]}}},
        {"mbconv": {"out": 6, "padding": {"choices": [0, 1]}, "stride": 4}},
    ],
    "head": [{"pool": {}}, {"linear": {"out": "$classes"}}],
}
WRITTEN = {
    "everything": EVERYTHING, "small": SMALL, "attention": ATTENTION, "pooling": POOLING, "switchable": SWITCHABLE,
    "tokens": TOKENS, "windows": WINDOWS, "streams": STREAMS, "reduced": REDUCED, "augmented": AUGMENTED,
    "shortcuts": SHORTCUTS, "where they stand": WHERE_THEY_STAND,
}  # fmt: skip
FULL = {"fbnetv2": 64, "efficientformer": 64, "efficientformerv2": 64}
"""Side at which a full space is checked."""


def random_variables(space, seed: int):
    """Weights, scales, shifts and statistics that are all different from their starting values."""
    rng = np.random.default_rng(seed)
    variables = init(space, jax.random.key(seed))
    for group, leaves in variables.items():
        for path, leaf in leaves.items():
            if path.endswith((".scale", ".shift", ".bias", ".mean", ".table", ".token", ".rows", ".columns", OF_WIDTH)):
                leaves[path] = jnp.asarray(rng.normal(0.5, 0.5, leaf.shape), jnp.float32)
            if path.endswith(".var"):
                leaves[path] = jnp.asarray(rng.uniform(0.5, 1.5, leaf.shape), jnp.float32)
        variables[group] = leaves
    return variables


@functools.cache
def prepared(name: str):
    """Space, variables, images of the largest side, and the supernet compiled in both modes."""
    space = space_from_data(WRITTEN[name], name) if name in WRITTEN else load_space(name)
    if name in FULL:
        space = at_input(space, channels=1, classes=10, side=FULL[name])
    side = space.resolution.max()
    images = jnp.asarray(np.random.default_rng(0).normal(size=(3, side, side, space.channels)), jnp.float32)
    net = Supernet(space)
    evaluate = jax.jit(lambda v, g: net.apply(v, images, g)[0])
    train = jax.jit(lambda v, g: net.apply(v, images, g, momentum=0.9, mutable=["batch_stats"]))
    return space, random_variables(space, 1), images, evaluate, train


def check_corner(name: str, assignment: dict[str, int]) -> None:
    space, variables, images, evaluate, train = prepared(name)
    found = architecture(space, assignment)
    weights, gates = inherit(variables, found), one_hot(Layout(space.choices), assignment)
    rows = grid_index(found.network.resolution.value, images.shape[1])
    small = images[:, rows][:, :, rows]
    plain, none = Supernet(found.network), one_hot(Layout(()), {})
    expected = plain.apply(weights, small, none)[0]
    scale = float(jnp.abs(expected).max())
    np.testing.assert_allclose(evaluate(variables, gates), expected, atol=2e-5 * scale)
    (logits, _), updated = train(variables, gates)
    (expected, _), wanted = plain.apply(weights, small, none, momentum=0.9, mutable=["batch_stats"])
    np.testing.assert_allclose(logits, expected, atol=5e-5 * float(jnp.abs(expected).max()))
    statistics = inherit({"params": variables["params"], "batch_stats": updated["batch_stats"]}, found)["batch_stats"]
    for path, value in wanted["batch_stats"].items():
        np.testing.assert_allclose(statistics[path], value, rtol=1e-4, atol=1e-5, err_msg=path)


def corner(space, seed: int) -> dict[str, int]:
    rng = np.random.default_rng(seed)
    return {c.name: int(rng.integers(len(c))) for c in space.choices}


CORNERS = {
    "everything": 12,
    "tiny": 12,
    "attention": 4,
    "pooling": 4,
    "switchable": 6,
    "tokens": 8,
    "windows": 8,
    "streams": 6,
    "reduced": 6,
    "augmented": 4,
    "shortcuts": 3,
    "where they stand": 6,
}


@pytest.mark.parametrize("name, seed", [(name, seed) for name, count in CORNERS.items() for seed in range(count)])
def test_supernet_is_the_plain_network(name, seed):
    check_corner(name, corner(prepared(name)[0], seed))


@pytest.mark.parametrize("name", ["everything", "switchable", pytest.param("attention", marks=pytest.mark.slow)])
def test_every_option_of_every_choice(name):
    """Around one network, each choice takes each of its options in turn."""
    space = prepared(name)[0]
    base = corner(space, 100)
    for choice in space.choices:
        for option in range(len(choice)):
            check_corner(name, base | {choice.name: option})


def test_switchable_norms_are_inherited_with_what_their_width_adds():
    """By hand: the parameter that all widths share, cut, plus the row of the width taken."""
    space, variables, _, _, _ = prepared("switchable")
    stored = variables["params"]
    assignment = {c.name: 0 for c in space.choices} | {"w": 1, "trunk.1.expand": 1}
    found = architecture(space, assignment)
    weights = inherit(variables, found)["params"]
    assert not any(name.endswith(OF_WIDTH) for name in weights)
    # The widths of the tied choice are 4, 6 and 8; hidden widths follow from them and the expansion.
    for norm, width, row in (("trunk.0.norm", 6, 1), ("trunk.1.project_norm", 6, 1), ("head.0.norm", 6, 1)):
        for leaf in ("scale", "shift"):
            shared, own = stored[f"{norm}.{leaf}"], stored[f"{norm}.{leaf}{OF_WIDTH}"].reshape(3, 8)
            np.testing.assert_array_equal(weights[f"{norm}.{leaf}"], shared[:width] + own[row, :width])
    hidden = found.network.nodes[1].fields["hidden"].value
    widths = sorted({8 * max(1, int(w * e + 4) // 8) for w in (4, 6, 8) for e in (1, 2)})
    own = stored["trunk.1.expand_norm.scale" + OF_WIDTH].reshape(len(widths), -1)[widths.index(hidden), :hidden]
    shared = stored["trunk.1.expand_norm.scale"][:hidden]
    np.testing.assert_array_equal(weights["trunk.1.expand_norm.scale"], shared + own)


def covering(space, limit: int = 200) -> list[dict[str, int]]:
    """Random networks that together take every option of every choice, each in a block that exists."""
    relevant, missing, found = relevance(space), {(c.name, n) for c in space.choices for n in range(len(c))}, []
    for seed in range(limit):
        assignment = corner(space, seed)
        new = {(name, n) for name, n in assignment.items() if relevant[name].at(assignment)} & missing
        if new:
            found.append(assignment)
            missing -= new
    assert not missing
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", ["efficientformer_tiny", "efficientformerv2_tiny"])
def test_every_option_of_small_spaces(name):
    for assignment in covering(prepared(name)[0]):
        check_corner(name, assignment)


@pytest.mark.slow
def test_every_corner_of_a_small_space():
    choices = prepared("small")[0].choices
    for indices in itertools.product(*(range(len(c)) for c in choices)):
        check_corner("small", {c.name: n for c, n in zip(choices, indices, strict=True)})


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, seed", [("fbnetv2", 0), ("fbnetv2", 1), ("fbnetv2", 2), ("efficientformer", 0), ("efficientformerv2", 0)]
)
def test_full_space(name, seed):
    space = prepared(name)[0]
    check_corner(name, corner(space, seed))


def test_sampled_resolutions_are_the_soft_mix_where_no_other_has_weight():
    space, variables, images, _, _ = prepared("everything")
    layout = Layout(space.choices)
    for seed in range(3):
        gates = keep_largest(gumbel_softmax(layout, init_theta(layout), jax.random.key(seed), 1.0), ["resolution"], 2)
        for momentum in (None, 0.9):
            soft, sampled = (
                Supernet(space, resolution_paths=paths).apply(
                    variables, images, gates, momentum=momentum, mutable=["batch_stats"]
                )[0][0]
                for paths in (None, 2)
            )
            np.testing.assert_allclose(soft, sampled, atol=2e-5 * float(jnp.abs(soft).max()))


@pytest.mark.parametrize("name", ["pooling", "where they stand"])
def test_a_sampled_resolution_is_the_plain_network(name):
    """Also at the edges of its map, which lies in the corner of a larger one."""
    space, variables, images, evaluate, _ = prepared(name)
    sampled = jax.jit(lambda v, g: Supernet(space, resolution_paths=1).apply(v, images, g)[0])
    for seed in range(3):
        gates = one_hot(Layout(space.choices), corner(space, seed) | {"resolution": 0})
        expected = evaluate(variables, gates)
        np.testing.assert_allclose(sampled(variables, gates), expected, atol=2e-5 * float(jnp.abs(expected).max()))


def test_gradients_stay_finite_where_a_resolution_has_almost_no_weight():
    """Coverage of 1e-30 overflowed when divided by; found in a search whose resolution was decided."""
    space, variables, images, _, _ = prepared("everything")
    layout = Layout(space.choices)
    theta = init_theta(layout).at[layout.rows["resolution"], 0].set(80.0)

    def loss(theta):
        gates = gumbel_softmax(layout, theta, jax.random.key(0), 1.0)
        outputs, _ = Supernet(space).apply(variables, images, gates, momentum=0.9, mutable=["batch_stats"])
        return jnp.sum(outputs[0] ** 2)

    assert bool(jnp.all(jnp.isfinite(jax.grad(loss)(theta))))
