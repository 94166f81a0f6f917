"""The table of names read both ways, on small networks of every family."""

from __future__ import annotations

import numpy as np
import pytest

from dnas.errors import InputError
from dnas.export import parity
from dnas.grammar.catalogue import load_space
from dnas.grammar.read import space_from_data
from dnas.graph import graph_of
from dnas.graph.architecture import architecture
from dnas.graph.parts import nodes_of
from dnas.learning import weights
from dnas.timm.layouts import names_of, places
from dnas.timm.rows import Entry, kernel

from .networks import FAMILIES, checkpoint, drawn, network, saved

NAMES = {
    "mobile": ("conv_stem.weight", "bn1.running_mean", "blocks.0.0.conv_dw.weight", "blocks.1.0.se.conv_reduce.bias",
               "blocks.1.1.conv_pwl.weight", "blocks.1.2.conv.weight", "conv_head.weight", "classifier.bias"),
    "efficientnet": ("blocks.0.0.conv_pw.weight", "blocks.0.1.bn1.weight", "conv_head.weight", "bn2.running_var"),
    "efficientformer": ("stem.conv2.bias", "stem.norm1.running_var", "stages.0.blocks.0.ls1.gamma",
                        "stages.1.downsample.conv.weight", "stages.1.blocks.2.token_mixer.qkv.weight",
                        "stages.1.blocks.3.token_mixer.attention_biases", "head_dist.weight"),
    "efficientformer_v2": ("stem.conv1.conv.weight", "stages.1.downsample.conv.bn.weight",
                           "stages.1.blocks.0.token_mixer.stride_conv.conv.weight",
                           "stages.2.downsample.attn.q.local.weight", "stages.2.downsample.conv.conv.bias",
                           "stages.2.blocks.0.token_mixer.talking_head1.weight"),
    "deit": ("cls_token", "pos_embed", "patch_embed.proj.weight", "blocks.1.attn.qkv.weight", "norm.bias",
             "head.weight"),
    "distilled": ("dist_token", "head_dist.bias"),
    "swin": ("patch_embed.norm.weight", "layers.0.blocks.1.attn.relative_position_bias_table",
             "layers.1.downsample.reduction.weight", "layers.1.blocks.0.mlp.fc1.bias", "head.fc.weight"),
    "tnt": ("pixel_pos", "patch_pos", "pixel_embed.proj.bias", "norm1_proj.weight", "blocks.1.attn_in.qk.weight",
            "blocks.1.attn_out.v.weight", "blocks.0.norm_mlp_in.bias"),
}  # fmt: skip


def test_heads_of_different_widths_have_no_place_in_timm():
    """After pruning; two heads with one channel less each have."""
    written = architecture(network("efficientformer"), {})
    plain = written.network
    value = next(node for use in graph_of(plain).uses for node in nodes_of(use.parts) if node.path.endswith("value"))
    half = value.output.channels.value // 2
    of_both = [*range(1, half), *range(half + 1, 2 * half)]
    for kept, fits in ((range(1, 2 * half), False), (range(half + 1), False), (of_both, True)):
        pruned = space_from_data(written.data | {"keep": {value.path: list(kept)}}, "pruned")
        if fits:
            assert names_of(graph_of(pruned).uses, "pruned").entries
        else:
            with pytest.raises(InputError, match="has heads of different widths"):
                names_of(graph_of(pruned).uses, "pruned")


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_written_is_read_back(family, tmp_path):
    space = network(family)
    variables = drawn(space)
    found = weights.load(saved(tmp_path / "w.safetensors", checkpoint(space, variables)), space)
    moved = names_of(graph_of(space).uses, family).moved
    for bias, mean in moved.items():  # timm lacks the bias: the norm behind it takes it on
        variables["batch_stats"][mean] = variables["batch_stats"][mean] - variables["params"][bias]
        variables["params"][bias] = np.zeros_like(variables["params"][bias])
    assert bool(moved) == (family in ("mobile", "efficientnet"))
    for group, leaves in variables.items():
        assert leaves.keys() == found[group].keys()
        for name, value in leaves.items():
            np.testing.assert_array_equal(found[group][name], value, err_msg=name)


def test_a_bias_that_timm_lacks_changes_nothing(tmp_path):
    space = network("efficientnet")
    variables = parity.initial(space)
    params = drawn(space)["params"]
    own = {name: params[name] if name.endswith("bias") else value for name, value in variables["params"].items()}
    variables = {**variables, "params": own}
    found = weights.load(saved(tmp_path / "w.safetensors", checkpoint(space, variables)), space)
    images = parity.images(space)
    assert parity.difference(parity.reference(space, found, images), parity.reference(space, variables, images)) < 1e-5


@pytest.mark.parametrize("family", FAMILIES)
def test_names_are_timms(family):
    space = network(family)
    found = checkpoint(space, drawn(space))
    assert set(NAMES[family]) <= found.keys()
    entries = names_of(graph_of(space).uses, family).entries
    assert {entry.name: entry.shape for entry in entries} == {name: value.shape for name, value in found.items()}


def test_queries_keys_and_values_take_turns_where_timm_has_them_by_head():
    parts = [np.arange(4)[:, None].T + 10 * n for n in range(3)]  # [1, 4] each: two heads of two channels
    one = Entry("qkv", ("q", "k", "v"), ((1, 4),) * 3, np.transpose)
    assert one.made(parts)[:, 0].tolist() == [0, 1, 2, 3, 10, 11, 12, 13, 20, 21, 22, 23]
    by_head = Entry("qkv", ("q", "k", "v"), ((1, 4),) * 3, np.transpose, heads=2)
    assert by_head.made(parts)[:, 0].tolist() == [0, 1, 10, 11, 20, 21, 2, 3, 12, 13, 22, 23]


def test_kernels_are_turned():
    assert kernel(np.zeros((3, 3, 4, 8))).shape == (8, 4, 3, 3)
    assert kernel(np.zeros((3, 3, 8))).shape == (8, 1, 3, 3)
    assert kernel(np.zeros((4, 8))).shape == (8, 4, 1, 1)


def test_a_stage_begins_with_a_stride():
    assert list(places([1, 1, 2, 1, 2])) == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0)]
    assert list(places([2, 1])) == [(0, 0), (0, 1)]


@pytest.mark.parametrize(
    "name, said",
    [("cmt_ti", "no network of such blocks"), ("autoformer_t", "trunk.2.relative_scores.*is not in timm's network")],
)
def test_networks_that_timm_lacks_are_refused(name, said):
    with pytest.raises(InputError, match=said):
        names_of(graph_of(load_space(name)).uses, name)
