"""Steps on blocks in the vector that holds them: the step that takes them out and puts them back."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dnas.cpu.built import usable
from dnas.nn.gates import one_hot
from dnas.nn.wing import wing
from dnas.search.descent import descending, descent, fresh, stepping, writing
from dnas.search.learn import packing_of
from tests.nn.test_rows import problem

pytestmark = pytest.mark.skipif(not usable(), reason="numba is not installed, or this is no CPU")


@pytest.mark.parametrize("clip", [0.5, 1e6])
@pytest.mark.parametrize("paths", [1, 2])
def test_loops_take_the_step_of_the_library(paths, clip):
    """The second of two steps, under gates at which a layer's second block is nothing; with decay, limited and not."""
    made, draw = problem("chain", paths), np.random.default_rng(0)
    packing = packing_of(made)
    rule = descent(lambda n: 0.1 / (1 + n), 0.1, clip, 0.9)
    variables, state = fresh(made, rule)
    rest = variables["batch_stats"]
    forms = wing().rows
    assert forms is not None
    by_loops = jax.jit(descending(rule, packing, forms))
    for first in ({c.name: 0 for c in made.space.choices}, {c.name: len(c) - 1 for c in made.space.choices}):
        chosen = packing.chosen(one_hot(made.layout, first))
        of_ones = packing.used(jax.tree.map(jnp.ones_like, variables["params"]), chosen)
        gradient = jax.tree.map(lambda leaf: leaf * draw.normal(size=leaf.shape).astype(np.float32), of_ones)
        after = stepping(rule, packing)(variables["params"], state, gradient, chosen)
        wanted = writing(packing)(variables, state, after, chosen, rest)
        found = by_loops(variables, state, gradient, chosen, rest)
        assert jax.tree.structure(found) == jax.tree.structure(wanted)
        changed = 0
        for a, b, before in zip(*(jax.tree.leaves(tree) for tree in (found, wanted, (variables, state))), strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6)
            changed += int((np.asarray(a) != np.asarray(before)).any())
        assert changed >= 7, "four vectors of parameters, at least three of momentum, and the count"
        variables, state = wanted
