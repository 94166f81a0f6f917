"""The section `quantization` of an architecture: read, run, written again, refused where it is damaged."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dnas.compress.products import parts_of, quantization
from dnas.cost.count import count
from dnas.cost.size import stored_bytes
from dnas.errors import InputError, UserError
from dnas.export import parity
from dnas.export.write import export
from dnas.files import to_json
from dnas.grammar.read import at_input, space_from_data
from dnas.graph import graph_of
from dnas.graph.architecture import architecture
from dnas.learning import weights
from dnas.nn.inherit import inherit
from dnas.nn.supernet import init
from dnas.space.space import Space
from tests.compress.small import CONVOLUTIONAL, TRANSFORMER
from tests.compress.test_quantize_formulas import by_numpy

LINEAR = {
    "name": "linear",
    "input": {"channels": 3, "classes": 5, "resolution": 1},
    "trunk": [{"pool": {}}, {"linear": {"out": "$classes"}}],
}
PATH = "trunk.1.linear"


def quantised(data: dict, section: dict | None = None, bits: int = 8) -> Space:
    plain = space_from_data(data, data["name"])
    every = {node.path: bits for part in parts_of(plain) for node in part.products}
    section = section or {path: how.to_json() for path, how in quantization(plain, every).items()}
    return space_from_data(data | {"quantization": section}, data["name"])


def with_steps(space: Space, step: float = 0.05) -> dict:
    variables = init(space, jax.random.key(0))
    stats = {
        name: np.full_like(v, step) if name.endswith(weights.STEPS) else v
        for name, v in variables["batch_stats"].items()
    }
    return {**variables, "batch_stats": stats}


def test_a_linear_layer_is_a_product_of_whole_numbers():
    space = quantised(LINEAR, {PATH: {"bits": 5}})
    variables = with_steps(space)
    variables["params"] = {
        name: np.random.default_rng(1).normal(size=v.shape) for name, v in variables["params"].items()
    }
    variables["batch_stats"] = {f"{PATH}.first_scale": np.float32(0.1), f"{PATH}.second_scale": np.float32(0.07)}
    x = np.random.default_rng(0).normal(size=(7, 1, 1, 3)).astype(np.float32)
    whole_x, whole_w = (
        by_numpy(x[:, 0, 0], np.float32(0.1), 5),
        by_numpy(np.float32(variables["params"][f"{PATH}.weight"]), np.float32(0.07), 5),
    )
    wanted = (whole_x.astype(int) @ whole_w.astype(int)) * 0.1 * 0.07 + variables["params"][f"{PATH}.bias"]
    np.testing.assert_allclose(parity.reference(space, variables, x), wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("data", [CONVOLUTIONAL, TRANSFORMER])
def test_what_is_written_is_what_was_read(data):
    space = quantised(data)
    again = architecture(space, {})
    assert again.data["quantization"] == {path: how.to_json() for path, how in space.quantization.items()}
    variables, x = with_steps(space), parity.images(space, 3)
    found = parity.reference(again.network, inherit(variables, again), x)
    np.testing.assert_array_equal(found, parity.reference(space, variables, x))
    assert weights.fingerprint(again.network) == weights.fingerprint(space)
    plain = space_from_data(data, "plain")
    assert weights.fingerprint(plain) != weights.fingerprint(space)
    assert {k: count(space)[k] for k in ("macs", "params")} == {k: count(plain)[k] for k in ("macs", "params")}
    assert graph_of(at_input(space, classes=7)).output["channels"].length == 7


def test_steps_are_part_of_the_weights(tmp_path):
    space = quantised(CONVOLUTIONAL)
    file, variables = tmp_path / "w.safetensors", with_steps(space)
    weights.save(file, space, variables)
    read = weights.load(file, space)
    assert all(np.array_equal(read[g][n], v) for g in variables for n, v in variables[g].items())
    without = {**variables, "batch_stats": dict(variables["batch_stats"])}
    del without["batch_stats"]["trunk.0.conv.first_scale"]
    weights.save(file, space, without)
    with pytest.raises(InputError, match="'batch_stats/trunk.0.conv.first_scale' is missing"):
        weights.load(file, space)
    weights.save(file, space, with_steps(space, 0.0))
    with pytest.raises(InputError, match="not above 0"):
        weights.load(file, space)
    with pytest.raises(InputError, match="is not part of it"):
        weights.load(file, space_from_data(CONVOLUTIONAL, "plain"))


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({PATH: {"bits": 1}}, "a whole number from 2 to 16"),
        ({PATH: {"bits": 99}}, "a whole number from 2 to 16"),
        ({PATH: {"bits": True}}, "not bits"),
        ({PATH: {"bits": 6.5}}, "not bits"),
        ({PATH: {}}, "'bits' is missing"),
        ({PATH: {"weights": "per-channel"}}, "'bits' is missing"),
        ({PATH: {"bits": 8, "weights": "per-row"}}, "per-tensor, per-channel"),
        ({PATH: {"bits": 8, "scale": 1}}, "scale"),
        ({PATH: 8}, "quantization"),
        ({PATH: {"bits": 8, "result": 0}}, "a whole number from 2 to 16"),
        ({"trunk.1.lineer": {"bits": 8}}, "did you mean 'trunk.1.linear'"),
        ({"trunk.0.pool": {"bits": 8}}, "no product of two arrays"),
        ([PATH], "quantization"),
    ],
)
def test_what_is_damaged_is_refused(section, said):
    with pytest.raises(InputError, match=said.replace("?", r"\?")):
        graph_of(space_from_data(LINEAR | {"quantization": section}, "damaged"))


def test_scores_have_no_channels_of_weights():
    with pytest.raises(InputError, match="weights: per-tensor"):
        graph_of(quantised(TRANSFORMER, {"trunk.2.scores": {"bits": 8, "weights": "per-channel"}}))


def test_a_space_with_choices_is_not_quantised():
    trunk = [{"conv": {"kernel": 3, "out": {"choices": [4, 8]}}}]
    with pytest.raises(InputError, match="cannot be quantised before a search"):
        space_from_data(CONVOLUTIONAL | {"trunk": trunk, "quantization": {"trunk.0.conv": {"bits": 8}}}, "space")


def test_bytes_are_those_of_the_bits():
    space = quantised(LINEAR, {PATH: {"bits": 3}})
    assert stored_bytes(graph_of(space_from_data(LINEAR, "plain"))) == 4 * (15 + 5)
    assert stored_bytes(graph_of(space)) == -(-15 * 3 // 8) + 4 * (5 + 2), "weights; bias and two steps"


def test_a_pruned_network_is_quantised_too():
    data = CONVOLUTIONAL | {"keep": {"trunk.1.expand": [0, 3, 4, 9]}}
    assert graph_of(quantised(data)).parameters["trunk.1.expand.second_scale"].lengths == (4,)


@pytest.mark.parametrize("to", ["torch", "flax", "timm"])
def test_source_files_are_refused_by_name(to, tmp_path):
    (tmp_path / "q.json").write_text(to_json(architecture(quantised(LINEAR), {}).data))
    with pytest.raises(UserError, match="is quantised"):
        export(str(tmp_path / "q.json"), to, out=tmp_path)


def test_a_step_of_training_moves_quantised_weights():
    space, x = quantised(TRANSFORMER), parity.images(quantised(TRANSFORMER), 3)
    variables = with_steps(space)

    def loss(params):
        return jnp.sum(parity.forward(space, {**variables, "params": params})(x) ** 2)

    moved = jax.jit(jax.grad(loss))(variables["params"])
    assert float(jnp.abs(moved["trunk.2.value.weight"]).max()) > 0
