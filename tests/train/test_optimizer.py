"""Rules of the step: decay masks, clipping, and torch's own optimisers on the same numbers."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dnas.grammar.read import space_from_data
from dnas.nn.packing import BLOCKS, MATRICES, VECTORS, Packing
from dnas.nn.supernet import init
from dnas.train.optimizer import adaptive_clip, decayed, optimizer
from dnas.train.recipe import read_recipe

PLAIN = replace(
    read_recipe("quick").fixed(), lr=0.1, weight_decay=0.01, nesterov=False, clip_norm=0.0, clip_adaptive=0.0,
    optimizer="sgd",
)  # fmt: skip
EVERY_LAYER = {
    "name": "every", "input": {"channels": 1, "classes": 3, "resolution": 8},
    "trunk": [{"conv": {"kernel": 3, "out": 4, "bias": True}}, {"mbconv": {"out": 4, "expand": 2, "se": True}}],
    "head": [{"pool_head": {"hidden": 6, "out": 5}}, {"linear": {"out": 3}}],
}  # fmt: skip


TABLES = {
    "name": "tables", "input": {"channels": 1, "classes": 3, "resolution": 8},
    "trunk": [
        {"patch_embed": {"out": 8, "kernel": 2}},
        {"window_transformer": {"heads": 1, "head_width": 4, "window": 2}},
        {"mb3d": {"heads": 1, "key_width": 4}},
        {"cmt_bias": {"heads": 1, "reduction": 2}}, {"cmt": {"heads": 1, "head_width": 4, "reduction": 2}},
        {"cmt_out": {}},
        {"tokens": {}}, {"transformer": {"heads": 1, "head_width": 4, "relative": 2, "shortcuts": 1}},
    ],
    "head": [{"token_head": {"out": "$classes"}}],
}  # fmt: skip
SPARED = (".scale", ".shift", ".bias", ".table", ".token", ".rows", ".columns")
"""How the names end of norms, biases, and tables of distances, positions and tokens."""


def rate(step):
    return 0.1 / (1 + jnp.float32(step))


def packing() -> Packing:
    return Packing(space_from_data(EVERY_LAYER, "every"))


@pytest.mark.parametrize("data", [EVERY_LAYER, TABLES], ids=lambda data: data["name"])
def test_decay_spares_norms_biases_and_tables_of_every_kind_of_layer(data):
    """With no gradient, a step changes weights alone, and by the factor 1 - lr * decay."""
    space = space_from_data(data, data["name"])
    plan, variables = Packing(space), init(space, jax.random.key(0))
    variables = jax.tree.map(lambda x: x + 1, {"params": variables["params"]})
    params = plan.pack(variables)["params"]
    assert decayed(params) == {MATRICES: True, VECTORS: False}
    for name in ("sgd", "rmsprop", "adamw"):
        rule = optimizer(replace(PLAIN, optimizer=name), rate, plan)
        updates, _ = rule.update(jax.tree.map(jnp.zeros_like, params), rule.init(params), params)
        for path, update in plan.unpack_group("params", updates).items():
            spared = path.endswith(SPARED)
            assert np.all((update == 0) == spared), (name, path)
            if name == "adamw" and not spared:
                np.testing.assert_allclose(update, -0.1 * 0.01 * variables["params"][path], rtol=1e-5)


def test_tables_of_blocks_that_are_sampled_are_spared():
    block = {"window_transformer": {"heads": 1, "head_width": 4, "window": 2}}
    data = {**TABLES, "trunk": [TABLES["trunk"][0], {"one_of": [block, {"skip": {"out": "in"}}]}, *TABLES["trunk"][6:]]}
    parts = Packing(space_from_data(data, "sampled"), paths=1).parts["params"]
    assert all(not path.endswith(SPARED) for name in parts if name.endswith(MATRICES) for path in parts[name])
    assert [path for path in parts[BLOCKS + VECTORS] if path.endswith(".table")]


def test_adaptive_clipping_limits_each_unit():
    space = space_from_data(EVERY_LAYER, "every")
    plan, variables = Packing(space), init(space, jax.random.key(0))
    weights = variables["params"]
    gradient = {path: 10 * jnp.ones_like(value) for path, value in weights.items()}
    path = "trunk.0.conv.weight"
    gradient[path] = gradient[path].at[..., 1].set(1e-6)
    clip = adaptive_clip(0.01, plan)
    packed = plan.pack({"params": gradient})["params"]
    found, _ = clip.update(packed, clip.init(packed), plan.pack({"params": weights})["params"])
    for name, value in plan.unpack_group("params", found).items():
        if value.ndim < 2:
            np.testing.assert_array_equal(value, gradient[name])
            continue
        for unit in range(value.shape[-1]):
            own = np.linalg.norm(np.asarray(weights[name][..., unit]))
            small = name == path and unit == 1
            wanted = 1e-6 * np.sqrt(value[..., 1].size) if small else 0.01 * max(own, 1e-3)
            assert np.linalg.norm(np.asarray(value[..., unit])) == pytest.approx(wanted, rel=1e-4), (name, unit)


def test_clipping_comes_before_the_decay():
    recipe = replace(PLAIN, clip_norm=1.0)
    params, gradient = {"w": jnp.full(2, 3.0)}, {"w": jnp.array([30.0, 40.0])}
    rule = optimizer(recipe, rate, packing())
    updates, _ = rule.update(gradient, rule.init(params), params)
    np.testing.assert_allclose(updates["w"], -0.1 * (np.array([0.6, 0.8]) + 0.01 * 3), rtol=1e-6)


def plain_steps(recipe, make):
    """Three steps on a fixed sequence of gradients, here and by a torch optimiser."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    generator = np.random.default_rng(0)
    start = generator.normal(size=(4, 3)).astype(np.float32)
    gradients = generator.normal(size=(3, 4, 3)).astype(np.float32)
    weights = torch.nn.Parameter(torch.tensor(start))
    rule = make(torch, [weights])
    schedule = torch.optim.lr_scheduler.LambdaLR(rule, lambda step: 1 / (1 + step))
    params = {"w": jnp.asarray(start)}
    own = optimizer(recipe, rate, packing())
    state = own.init(params)
    for gradient in gradients:
        weights.grad = torch.tensor(gradient)
        rule.step()
        schedule.step()
        updates, state = own.update({"w": jnp.asarray(gradient)}, state, params)
        params = optax.apply_updates(params, updates)
    np.testing.assert_allclose(params["w"], weights.detach().numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd_is_torchs(nesterov):
    plain_steps(
        replace(PLAIN, nesterov=nesterov),
        lambda torch, p: torch.optim.SGD(p, 0.1, momentum=0.9, weight_decay=0.01, nesterov=nesterov),
    )


def test_adamw_is_torchs():
    plain_steps(
        replace(PLAIN, optimizer="adamw"), lambda torch, p: torch.optim.AdamW(p, 0.1, eps=1e-8, weight_decay=0.01)
    )


def test_rmsprop_is_torchs():
    """Without momentum, whose place torch puts the learning rate outside of, as here, at a constant rate alone."""
    plain_steps(
        replace(PLAIN, optimizer="rmsprop", momentum=0.0, epsilon=1e-3),
        lambda torch, p: torch.optim.RMSprop(p, 0.1, alpha=0.9, eps=1e-3, weight_decay=0.01),
    )
