"""Post-training quantisation of small networks."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from dnas.compress.asked import Asked
from dnas.compress.calibration import drawn, runner, seen
from dnas.compress.correction import corrected
from dnas.compress.products import parts_of, per_channel
from dnas.compress.ptq import ptq
from dnas.compress.scales import Steps, alone
from dnas.compress.sensitivity import sensitivities
from dnas.cost.budget import Budget, parse_budget
from dnas.cost.size import stored_bytes
from dnas.data.preprocess import Preprocessing
from dnas.errors import InputError
from dnas.export import onnx as onnx_export
from dnas.export import parity
from dnas.export.count_onnx import macs
from dnas.export.trace import trace, weights_of
from dnas.grammar.read import space_from_data
from dnas.graph import graph_of
from dnas.learning.evaluator import scores
from dnas.nn.supernet import abstract_variables
from tests.compress.small import CONVOLUTIONAL, QUIET, TRANSFORMER, setup_of
from tests.compress.test_quantize_formulas import by_numpy
from tests.export.networks import WRITTEN

NETWORKS = {"convolutional": CONVOLUTIONAL, "transformer": TRANSFORMER}


@pytest.fixture(scope="module", params=NETWORKS)
def setup(request, tmp_path_factory):
    return setup_of(NETWORKS[request.param], tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def eight(setup):
    """With 8 bits everywhere."""
    return ptq(setup, Asked("ptq"), None, QUIET)


def logits(space, variables, setup):
    return np.asarray(scores(space, setup.preprocessing)(variables, setup.dataset.train_images))


def test_eight_bits_say_nearly_what_the_network_says(setup, eight):
    space = space_from_data(eight.data, "eight")
    assert {node.path for part in parts_of(space) for node in part.products} <= space.quantization.keys()
    plain, found = (logits(s, v, setup) for s, v in ((setup.network, setup.variables), (space, eight.variables)))
    assert np.abs(found - plain).max() > 0
    assert parity.difference(found, plain) < 0.1
    assert eight.record["bytes"] == stored_bytes(graph_of(space)) < eight.record["bytes_before"]


def test_onnx_says_what_the_simulation_says(setup, eight):
    """In integer kernels of onnxruntime, with weights of 8 bits in the file."""
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    space = space_from_data(eight.data, "eight")
    model = onnx_export.model(trace(space), weights_of(eight.variables))
    assert macs(model) == macs(onnx_export.model(trace(setup.network), weights_of(setup.variables)))
    kinds = {i.name: i.data_type for i in model.graph.initializer}
    weights = [f"{node.path}.weight" for part in parts_of(space) for node in part.products if node.operator.second]
    assert all(kinds[f"{name}.q"] == onnx.TensorProto.INT8 and name not in kinds for name in weights)
    x = parity.images(space, 256)
    found = onnx_export.session(model.SerializeToString()).run(None, {onnx_export.INPUT: x.transpose(0, 3, 1, 2)})[0]
    simulated = parity.reference(space, eight.variables, x)
    assert np.mean(found.argmax(1) == simulated.argmax(1)) >= 0.995
    limit = 1e-5 if setup.network.name == "convolutional" else 5e-3
    assert parity.mean_difference(found, simulated) < limit, "a convolutional network is in whole numbers throughout"
    kernels = optimised(onnx, runtime, model)
    wanted = {"QLinearConv", "QGemm"} if setup.network.name == "convolutional" else {"MatMulIntegerToFloat", "QGemm"}
    assert wanted <= kernels


def optimised(onnx, runtime, model) -> set[str]:
    """Kernels that the runtime takes."""
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        options = runtime.SessionOptions()
        options.log_severity_level = 4
        options.optimized_model_filepath = str(Path(folder, "optimised.onnx"))
        runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return {node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node}


@pytest.mark.parametrize(
    "data",
    [
        TRANSFORMER | {"trunk": [
            {"patch_embed": {"out": 192, "kernel": 4}}, {"tokens": {}},
            {"transformer": {"repeat": 2, "heads": 4, "head_width": 48}},
        ]},
        CONVOLUTIONAL | {"trunk": [{"mbconv": {"repeat": 2, "out": 160, "expand": 6}}]},
    ],
)  # fmt: skip
def test_the_file_is_small(data):
    pytest.importorskip("onnx", reason="onnx is not installed")
    from dnas.nn.supernet import init
    from tests.compress.test_quantized_section import quantised

    plain, small = space_from_data(data, "plain"), quantised(data)
    made = [
        len(onnx_export.model(trace(s), weights_of(init(s, jax.random.key(0))), check=False).SerializeToString())
        for s in (plain, small)
    ]
    assert made[1] <= 0.3 * made[0]


@pytest.mark.parametrize("bits", [6, 10])
def test_other_bits_are_on_grids_of_8_and_16(setup, bits):
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    done = ptq(setup, Asked("ptq", bits=bits, scales="min-max"), None, QUIET)
    space = space_from_data(done.data, "other")
    model = onnx_export.model(trace(space), weights_of(done.variables))
    x = parity.images(space, 64)
    found = onnx_export.session(model.SerializeToString()).run(None, {onnx_export.INPUT: x.transpose(0, 3, 1, 2)})[0]
    simulated = parity.reference(space, done.variables, x)
    assert np.abs(found - simulated).mean() < 0.02 * np.abs(simulated).max()


def test_32_bits_are_the_network_bit_for_bit(setup):
    done = ptq(setup, Asked("ptq", bits=32), None, QUIET)
    assert "quantization" not in done.data
    found = logits(space_from_data(done.data, "whole"), done.variables, setup)
    np.testing.assert_array_equal(found, logits(setup.network, setup.variables, setup))


def test_the_same_seed_gives_the_same_network(setup, eight):
    again = ptq(setup, Asked("ptq"), None, QUIET)
    assert again.data == eight.data and again.record == eight.record
    for group, values in eight.variables.items():
        for name, value in values.items():
            np.testing.assert_array_equal(again.variables[group][name], value, err_msg=name)


def test_a_budget_of_bytes_is_kept(setup, eight):
    limit = int(eight.record["bytes"] * 0.92)
    done = ptq(setup, Asked("ptq", (Budget(f"{limit}B", "bytes", limit),), scales="mse"), None, QUIET)
    assert stored_bytes(graph_of(space_from_data(done.data, "small"))) == done.record["bytes"] <= limit
    assert len({row["bits"] for row in done.record["parts"]}) > 1
    with pytest.raises(InputError, match="at least"):
        ptq(setup, Asked("ptq", (Budget("9B", "bytes", 9),)), None, QUIET)


def test_mixed_bits_are_at_most_the_average(setup):
    done = ptq(setup, Asked("ptq", bits=6, mixed=True, scales="percentile"), None, QUIET)
    assert {row["bits"] for row in done.record["parts"]} <= {4, 5, 6, 7, 8}
    assert done.record["bits"] <= 6


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (Asked("ptq", bits=1), "--bits"),
        (Asked("ptq", bits=6.5), "--bits"),
        (Asked("ptq", bits=99), "--bits"),
        (Asked("ptq", scales="similar"), "similarity, min-max, percentile, mse"),
        (Asked("ptq", images=0), "--images"),
        (Asked("ptq", (Budget("1MMACs", "MACs", 1e6),)), "not a size"),
        (Asked("ptq", (Budget("1MB", "bytes", 1e6),), bits=8), "--budget"),
    ],
)
def test_what_is_not_accepted_is_said(setup, asked, said):
    with pytest.raises(InputError, match=said):
        ptq(setup, asked, None, QUIET)


def calibrated(setup):
    images, parts = drawn(setup, None), parts_of(setup.network)
    channelled = {node.path: per_channel(node) for part in parts for node in part.products}
    return images, parts, seen(setup.network, setup.variables, images, channelled, (), lambda n: None)[0]


def test_parts_are_attention_and_mlp_or_a_block(setup):
    names = [part.name for part in parts_of(setup.network)]
    if setup.network.name == "transformer":
        assert names == ["trunk.0", "trunk.2 (1 of 2)", "trunk.2 (2 of 2)", "head.0"]
    else:
        assert names == ["trunk.0", "trunk.1", "head.1"]


def test_sensitivity_by_a_second_way(setup):
    """The network with one part quantised by its file, and singular values by numpy."""
    images, parts, factors = calibrated(setup)
    network, variables, place = setup.network, setup.variables, 1
    part = parts[place]
    found = sensitivities(network, variables, images, parts, factors, (4, 6), lambda n: None)[place]
    for bits, omega in zip((4, 6), found, strict=True):
        how = {n.path: {"bits": bits} | ({"weights": "per-channel"} if per_channel(n) else {}) for n in part.products}
        small = space_from_data({**network.document.data, "quantization": how}, "one part")
        steps = {path: [alone("mse", of, bits) for of in factors[path]] for path in how}
        stats = variables["batch_stats"] | {
            f"{path}.{name}": step
            for path, both in steps.items() for name, step in zip(("first_scale", "second_scale"), both, strict=True)
        }  # fmt: skip
        taps = [part.map_of or part.output]
        plain, taken = runner(network, setup.preprocessing)(variables, images.few, None, taps)
        after = runner(small, setup.preprocessing)({**variables, "batch_stats": stats}, images.few, None)[0]
        feature = np.asarray(taken[part.map_of or part.output])[:8]
        matrices = (
            feature.reshape(-1, *feature.shape[-2:]) if part.map_of else feature.reshape(8, -1, feature.shape[-1])
        )
        values = np.linalg.svd(matrices, compute_uv=False)
        diversity = np.mean(values.sum(1) / np.sqrt((values**2).sum(1)))
        error = np.sum(np.square(np.asarray(after - plain))) / len(images.few)
        assert omega == pytest.approx(diversity * error, rel=1e-3)


@pytest.mark.parametrize("size", [256, 32])
def test_bias_correction_takes_off_the_mean_error(setup, monkeypatch, size):
    """Of the classifier, by numpy; also where images fill up the last batch, which count once all the same."""
    monkeypatch.setattr("dnas.compress.calibration.batch_size", lambda side: size)
    images, _, _ = calibrated(setup)
    path = next(
        node.path for node in graph_of(setup.network).nodes if node.operator.name == "linear" and "head" in node.path
    )
    held = {}

    def note(where, form, x, w):
        held[where] = np.asarray(x), np.asarray(w)
        return form(x, w)

    runner(setup.network, setup.preprocessing)(setup.variables, images.all, note)
    x, w = held[path]
    steps = Steps(np.float32(0.2), np.float32(0.3))
    found, left = corrected(setup.network, setup.variables, images, {path: steps}, {path: 4}, lambda n: None)
    rounded = (by_numpy(x, steps.first, 4) * steps.first) @ (by_numpy(w, steps.second, 4) * steps.second)
    wanted = np.asarray(setup.variables["params"][f"{path}.bias"]) - (rounded - x @ w).mean(0)
    np.testing.assert_allclose(found["params"][f"{path}.bias"], wanted, rtol=1e-4, atol=1e-5)
    assert left == []


@pytest.mark.parametrize("name", WRITTEN)
def test_products_are_those_that_operators_name(name):
    space = space_from_data(WRITTEN[name], name)
    met = []

    def note(path, form, x, w):
        met.append(path)
        return form(x, w)

    run = runner(space, preprocessing_of_zeros(space))
    images = np.zeros((1, space.resolution.value, space.resolution.value, space.channels), np.uint8)
    jax.eval_shape(lambda v: run(v, images, note), abstract_variables(space))
    assert sorted(met) == sorted(node.path for part in parts_of(space) for node in part.products)


@pytest.mark.slow
@pytest.mark.parametrize("name", WRITTEN)
def test_every_operator_is_exported_as_it_is_simulated(name, tmp_path):
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    done = ptq(setup_of(WRITTEN[name], tmp_path), Asked("ptq", bits=16, scales="min-max"), None, QUIET)
    space = space_from_data(done.data, name)
    model = onnx_export.model(trace(space), weights_of(done.variables))
    x = parity.images(space, 32)
    found = onnx_export.session(model.SerializeToString()).run(None, {onnx_export.INPUT: x.transpose(0, 3, 1, 2)})[0]
    simulated = parity.reference(space, done.variables, x)
    assert parity.difference(found, simulated) < 1e-3, "16 bits: rounding hardly shows"


def preprocessing_of_zeros(space):
    c = space.channels
    return Preprocessing(space.resolution.value, c, (0.0,) * c, (1.0,) * c, "bilinear")


def test_sizes_are_budgets_of_a_compression_alone():
    assert (parse_budget("2.5MB", sizes=True).kind, parse_budget("800 kB", sizes=True).limit) == ("bytes", 8e5)
    assert parse_budget("2.5MB", sizes=True).shown(2.4e6) == "2.40 MB"
    with pytest.raises(InputError, match="not a budget"):
        parse_budget("2.5MB")


def test_a_pruned_and_slimmed_network_is_quantised(tmp_path):
    pruned = {"keep": {"trunk.2.expand": [0, 3, 4, 9]}, "keep_tokens": {"trunk.2": [0, 3, 5]}}
    setup = setup_of(TRANSFORMER | pruned, tmp_path)
    done = ptq(setup, Asked("ptq", scales="min-max"), None, QUIET)
    assert {key: done.data[key] for key in pruned} == pruned
    found, plain = (
        logits(s, v, setup)
        for s, v in ((space_from_data(done.data, "small"), done.variables), (setup.network, setup.variables))
    )
    assert parity.difference(found, plain) < 0.1
