"""Where channels may go: a factor of zero at the gate is the same as channels that were never made."""

from __future__ import annotations

import numpy as np
import pytest

from dnas.compress.asked import Asked
from dnas.compress.points import kept_entries, points
from dnas.compress.vtp import pruned
from dnas.errors import InputError
from dnas.export import parity
from dnas.grammar.catalogue import load_space
from dnas.grammar.read import space_from_data
from dnas.graph import graph_of
from dnas.graph.architecture import architecture
from tests.compress.networks import NETWORKS, images, run, variables_of
from tests.graph.test_keeping import by_onnx

RATE = 0.45


@pytest.fixture(params=NETWORKS)
def case(request):
    """A network written out, its prune points, and variables of the gated one with gates of all sizes."""
    written = architecture(NETWORKS[request.param](), {})
    places = points(written.network)
    gated = space_from_data(written.data | {"gates": [place.gate for place in places]}, "gated")
    return written, places, gated, variables_of(gated)


def test_zeros_at_the_gates_are_channels_that_are_gone(case):
    written, places, gated, variables = case
    found = pruned(written, places, variables, Asked("vtp", rate=RATE))
    left = {told["path"]: told["left"] for told in found.record["points"]}
    assert any(left[place.path] < place.length for place in places)
    masked = dict(variables["params"])
    for place in places:
        a = np.asarray(masked[place.scale])
        stays = np.argsort(-np.abs(a), kind="stable")[: left[place.path]]
        masked[place.scale] = np.where(np.isin(np.arange(len(a)), stays), a, 0).astype(np.float32)
    expected = run(gated, variables | {"params": masked}, images())
    small = space_from_data(found.data, "small")
    np.testing.assert_allclose(run(small, found.variables, images()), expected, rtol=1e-4, atol=1e-4)
    shapes = {path: parameter.lengths for path, parameter in graph_of(small).parameters.items()}
    assert {p: v.shape for group in found.variables.values() for p, v in group.items()} == shapes
    assert parity.difference(by_onnx(small, found.variables, images()), expected) < parity.LIMIT


def test_gates_of_one_are_not_there(case):
    written, places, gated, variables = case
    plain = {path: v for path, v in variables["params"].items() if path not in {place.scale for place in places}}
    ones = {place.scale: np.ones(place.length, np.float32) for place in places}
    expected = run(written.network, variables | {"params": plain}, images())
    np.testing.assert_array_equal(run(gated, variables | {"params": plain | ones}, images()), expected)


def test_all_kept_is_bit_for_bit_the_network_before(case):
    written, places, _, variables = case
    ones = {place.scale: np.ones(place.length, np.float32) for place in places}
    found = pruned(written, places, variables | {"params": variables["params"] | ones}, Asked("vtp", rate=0.0))
    assert found.data == written.data
    plain = {path: variables["params"][path] for path in found.variables["params"]}
    for path, value in plain.items():
        np.testing.assert_array_equal(found.variables["params"][path], value)


def test_a_pruned_network_is_pruned_again(case):
    written, places, _, variables = case
    once = pruned(written, places, variables, Asked("vtp", rate=0.3))
    small = architecture(space_from_data(once.data, "small"), {})
    again = points(small.network)
    gated = space_from_data(small.data | {"gates": [place.gate for place in again]}, "gated")
    second = variables_of(gated)
    twice = pruned(small, again, second, Asked("vtp", rate=0.3))
    for path, entries in twice.data["keep"].items():
        assert set(entries) <= set(once.data["keep"].get(path, entries))
    network = space_from_data(twice.data, "smaller")
    shapes = {path: parameter.lengths for path, parameter in graph_of(network).parameters.items()}
    assert {p: v.shape for group in twice.variables.values() for p, v in group.items()} == shapes
    assert np.isfinite(run(network, twice.variables, images())).all()


def test_entries_of_what_is_left_are_counted_as_the_file_does():
    space = space_from_data(NETWORKS["transformer"]().document.data | {"keep": {"trunk.2.0.expand": [1, 4, 7]}}, "t")
    assert kept_entries(space, {"trunk.2.0.expand": [0, 2], "trunk.2.1.mlp_norm.kept": [3]}) == {
        "trunk.2.0.expand": [1, 7], "trunk.2.1.mlp_norm": [3],
    }  # fmt: skip


def test_the_four_places_of_a_transformer_block():
    found = [(place.path.removeprefix("trunk.2.0."), place.gate.removeprefix("trunk.2.0."), place.length)
             for place in points(load_space("deit_ti")) if place.path.startswith("trunk.2.0.")]  # fmt: skip
    assert found == [
        ("attention_norm", "attention_norm", 192), ("value", "attend", 192), ("mlp_norm", "mlp_norm", 192),
        ("expand", "expand_act", 768),
    ]  # fmt: skip
    assert len(points(load_space("deit_ti"))) == 4 * 12


@pytest.mark.parametrize(
    ("gates", "said"),
    [
        (["trunk.2.0.expant"], "did you mean 'trunk.2.0.expand'?"),
        (["trunk.2.0.scores"], "no operator with channels"),
        (["trunk.2.0.expand", "trunk.2.0.expand"], "not a path"),
        ([3], "not a path"),
        ("trunk.2.0.expand", "gates"),
    ],
)
def test_a_mistake_is_told_in_one_line(gates, said):
    with pytest.raises(InputError) as caught:
        graph_of(space_from_data(NETWORKS["transformer"]().document.data | {"gates": gates}, "file"))
    assert said in str(caught.value) and "file" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("distilled", [True, False])
def test_a_norm_that_classifiers_alone_read_is_no_point(distilled):
    """Nothing would be saved before it, whether one classifier reads it or two."""
    data = {
        "name": "heads", "input": {"channels": 1, "classes": 3, "resolution": 8},
        "trunk": [{"conv": {"out": 8, "kernel": 3, "stride": 2}}, {"conv_ffn": {"expand": 2}}],
        "head": [{"norm_head": {"out": "$classes", "distilled": distilled}}],
    }  # fmt: skip
    found = [place.path for place in points(space_from_data(data, "heads"))]
    assert found and not any(path.startswith("head") for path in found)
