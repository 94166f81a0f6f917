"""What a search step costs, by the compiler's own count: FLOPs, bytes and temporary memory. No time is measured."""

from __future__ import annotations

import copy
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
import pytest

from dnas import maths
from dnas.grammar.catalogue import load_space
from dnas.grammar.read import at_input, space_from_data
from dnas.graph.architecture import architecture
from dnas.maths.activation import ACTIVATIONS, mixed
from dnas.maths.mixing import Grids, on_grids
from dnas.nn.gates import Gates, Layout
from dnas.nn.packing import Packing
from dnas.nn.supernet import Supernet, abstract_variables

HEAD = [{"pool": {}}, {"linear": {"out": "$classes"}}]


class Figures(NamedTuple):
    flops: float
    bytes: float
    temp: float

    def over(self, other: Figures) -> Figures:
        return Figures(*(a / b for a, b in zip(self, other, strict=True)))


def figures(program: jax.stages.Compiled) -> Figures:
    counted, memory = program.cost_analysis(), program.memory_analysis()
    return Figures(counted["flops"], counted["bytes accessed"], memory.temp_size_in_bytes)


def step(space, learned: str = "weights", batch: int = 16, options: dict | None = None, **modes) -> Figures:
    """One gradient of the cross-entropy in training mode, all options mixed softly but for `modes`."""
    net, layout, packing, side = Supernet(space, **modes), Layout(space.choices), Packing(space), space.resolution.max()
    variables = jax.eval_shape(packing.pack, abstract_variables(space))
    images = jax.ShapeDtypeStruct((batch, side, side, space.channels), jnp.float32)
    labels = jax.ShapeDtypeStruct((batch,), jnp.int32)

    def loss(params, gates, stats, images, labels):
        (logits, _), updated = net.apply(
            packing.unpack({"params": params, "batch_stats": stats}), images, Gates(gates, layout), momentum=0.9,
            mutable=["batch_stats"],
        )  # fmt: skip
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean(), packing.pack(updated)

    gradient = jax.value_and_grad(loss, argnums={"weights": 0, "gates": 1}[learned], has_aux=True)
    gates = jax.ShapeDtypeStruct(layout.shape, jnp.float32)
    lowered = jax.jit(gradient).lower(variables["params"], gates, variables["batch_stats"], images, labels)
    return figures(lowered.compile(options))


def space_of(*trunk, side: int = 32):
    data = {
        "name": "s",
        "input": {"channels": 3, "classes": 10, "resolution": side},
        "trunk": list(trunk),
        "head": HEAD,
    }
    return space_from_data(data, "s")


STEM = {"conv": {"kernel": 3, "stride": 2, "out": 16, "act": "hswish"}}


def test_twelve_options_of_widths_cost_as_much_as_one():
    """Same largest widths, and masks that fold into weights and norms."""

    def network(options: int):
        def least(largest, by):
            return largest if options == 1 else {"range": [largest - by * (options - 1), largest, by]}

        blocks = [{"mbconv": {"out": least(96, 8), "expand": least(6, 0.5), "residual": False}} for _ in range(2)]
        return space_of(STEM, *blocks, {"conv": {"out": 96, "act": "relu"}})

    assert [len(c) for c in network(12).choices] == [12] * 4
    ratio = step(network(12)).over(step(network(1)))
    assert max(ratio) <= 1.005, ratio


def test_separate_paths_for_every_width_cost_fifteen_times_more():
    """One layer with 6 expansions x 6 widths: as masks, and as 36 blocks."""
    expansions, widths = [1, 2, 3, 4, 5, 6], [16, 24, 32, 40, 48, 56]
    stem, block = STEM, {"kernel": 3, "act": "relu", "residual": False}
    masks = space_of(stem, {"mbconv": block | {"expand": {"choices": expansions}, "out": {"choices": widths}}})
    paths = space_of(
        stem, {"one_of": [{"mbconv": block | {"expand": e, "out": w}} for e in expansions for w in widths]}
    )
    none = space_of(stem, {"mbconv": block | {"expand": 1, "expand_conv": False, "out": 8}})
    outside = step(none, batch=4).flops / 2  # stem and head, generously
    assert step(paths, batch=4).flops - outside >= 15 * step(masks, batch=4).flops


@pytest.mark.parametrize("sides", [(8, 12, 16, 20, 24, 32), (14, 18, 22, 25, 29, 32)])
@pytest.mark.parametrize("stride", [1, 2])
def test_spatial_operators_flops_are_the_sum_of_their_grids(sides, stride):
    """Between kernels 5 and 3 only the operator itself differs: 16 more products and sums a pixel and channel."""
    channels, batch = 8, 2

    def flops(options, kernel):
        pairs = [(n, (n - 1) // stride + 1) for n in options]

        def forward(x, w, gate):
            grids = Grids(gate, pairs)
            return on_grids(lambda v, w: maths.conv.depthwise(v, w, stride, kernel // 2), x, w, grids)

        shapes = [(batch, max(options), max(options), channels), (kernel, kernel, channels), (len(options),)]
        program = jax.jit(forward).lower(*(jax.ShapeDtypeStruct(s, jnp.float32) for s in shapes)).compile()
        return program.cost_analysis()["flops"]

    def operator(options):
        weights = len(options) * 16 * channels  # each option's gate times the weights
        return flops(options, 5) - flops(options, 3) - weights

    pixels = sum(((n - 1) // stride + 1) ** 2 for n in sides)
    assert operator(sides) == pytest.approx(2 * 16 * batch * channels * pixels, rel=0.005)
    largest = ((max(sides) - 1) // stride + 1) ** 2
    assert operator(sides) / operator(sides[-1:]) == pytest.approx(pixels / largest, rel=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("learned", ["weights", "gates"])
def test_six_resolutions_against_one(learned):
    """The whole fbnetv2 step at the default proxy, all six mixed softly."""
    space = load_space("fbnetv2")
    data = copy.deepcopy(space.document.data)
    data["input"]["resolution"] = space.resolution.max()
    six, one = (
        step(at_input(s, channels=1, classes=10, side=64), learned) for s in (space, space_from_data(data, "one"))
    )
    ratio = six.over(one)
    print(learned, six, one, ratio)
    assert ratio.flops <= 1.45 and ratio.temp <= 1.5, ratio


QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
"""Less work for the code generator: what is computed and where it lies in memory were decided before it."""


def layers_of_four(count: int):
    """Equal layers of four branches: two kernels, with and without squeeze-excite."""
    branches = [{"mbconv": {"out": 16, "expand": 4, "kernel": k, "se": se}} for k in (3, 5) for se in (False, True)]
    return space_of(STEM, *[{"one_of": branches} for _ in range(count)])


@pytest.mark.parametrize(("count", "less"), [(2, 1.6), pytest.param(8, 4, marks=pytest.mark.slow)])
def test_low_memory_keeps_the_inside_of_one_layer(count, less):
    """And computes a forward pass more: a third of a step."""
    space = layers_of_four(count)
    ratio = step(space, options=QUICK).over(step(space, options=QUICK, low_memory=True))
    print(count, ratio)
    assert ratio.temp >= less, ratio
    assert ratio.flops >= 0.7, ratio


@pytest.mark.slow
def test_low_memory_on_a_whole_space():
    space = at_input(load_space("fbnetv2"), channels=1, classes=10, side=64)
    modes = {"options": QUICK, "resolution_paths": 2}
    ratio = step(space, **modes).over(step(space, **modes, low_memory=True))
    print(ratio)
    assert ratio.temp >= 1.8 and ratio.flops >= 0.7, ratio


@pytest.mark.slow
def test_all_choices_against_the_plain_largest_network():
    """fbnetv2 at one resolution and without skips: a path for all options costs little more than the largest."""
    data = copy.deepcopy(load_space("fbnetv2").document.data)
    data["input"]["resolution"] = max(data["input"]["resolution"]["choices"])
    data["templates"] = {name: template["one_of"][0] for name, template in data["templates"].items()}
    space = at_input(space_from_data(data, "choices"), channels=1, classes=10, side=64)
    plain = architecture(space, {c.name: len(c) - 1 for c in space.choices}).network
    ratio = step(space).over(step(plain))
    print(ratio)
    assert ratio.flops <= 1.08 and ratio.temp <= 1.4, ratio


@pytest.mark.slow
@pytest.mark.parametrize("name, side", [("autoformer_tiny", 64), ("autoformer_mini", 28)])
def test_all_choices_of_a_transformer_against_its_largest_network(name, side):
    """Entangled weights: masks on widths, heads, hidden units and depth cost little beside the products."""
    space = at_input(load_space(name), side=side)
    plain = architecture(space, {c.name: len(c) - 1 for c in space.choices}).network
    ratio = step(space, batch=8).over(step(plain, batch=8))
    print(ratio)
    assert ratio.flops <= 1.05 and ratio.bytes <= 1.15 and ratio.temp <= 1.15, ratio


def test_a_mixture_of_activations_keeps_its_input_alone():
    """Between two matrix products; by itself jax would keep a map of each option."""
    x, w, v, gates = (jax.ShapeDtypeStruct(s, jnp.float32) for s in ((4096, 64), (64, 256), (256, 64), (2,)))
    hidden = 4096 * 256 * 4

    def memory(mix) -> float:
        def loss(w, v, gates, x):
            for _ in range(4):
                x = mix(x @ w, gates) @ v
            return jnp.sum(x)

        return figures(jax.jit(jax.grad(loss, (0, 1, 2))).lower(w, v, gates, x).compile()).temp

    one = memory(lambda x, gates: ACTIVATIONS["hswish"](x) * gates[0])
    both = memory(functools.partial(mixed, ("relu", "hswish")))
    assert both <= one + 2 * hidden
