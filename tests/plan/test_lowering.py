"""Whatever a search, a training or an evaluation runs can be lowered for GPUs and TPUs, on a machine that has none.

One export for all three says so, and refuses calls into this process, as the CPU wing's forms are.
"""

from __future__ import annotations

import jax
import numpy as np
import pytest
from jax import export

from dnas.data.preprocess import Preprocessing, preprocessing_for
from dnas.grammar.read import space_from_data
from dnas.learning.evaluator import program as evaluation
from dnas.nn.supernet import abstract_variables
from dnas.nn.wing import plain
from dnas.plan.programs import Recorded, of_step, recorded, stand_in
from dnas.process.precision import BYTES
from dnas.search import strategies
from dnas.search.problem import make_problem
from dnas.search.settings import Settings
from dnas.space.space import Space
from dnas.train.recipe import read_recipe
from dnas.train.schedule import schedule
from dnas.train.step import training

PLATFORMS = ("cuda", "rocm", "tpu")
INPUT = {"channels": 1, "classes": 2, "resolution": 8}
SPACE = {
    "name": "short",
    "input": INPUT | {"resolution": {"choices": [4, 8]}},
    "trunk": [
        {"conv": {"out": 4, "stride": 2, "kernel": 3, "act": "relu"}},
        {"mbconv": {"out": {"range": [4, 8, 4]}, "hidden": 4, "kernel": {"choices": [3, 5]}, "se": True}},
        {"repeat": 2, "one_of": [
            {"label": "a", "mbconv": {"out": 4, "hidden": 4}}, {"label": "b", "conv": {"out": 4, "kernel": 3}},
            {"label": "skip", "skip": {"out": 4}},
        ]},
    ],
    "head": [{"pool": {}}, {"linear": {"out": "$classes"}}],
}  # fmt: skip
BLOCK = {"heads": {"choices": [1, 2]}, "head_width": 4, "expand": {"choices": [1, 2]}}
TRANSFORMER = {
    "name": "tokens",
    "input": INPUT,
    "choices": {"width": {"choices": [4, 8]}},
    "trunk": [
        {"patch_embed": {"out": "$width", "kernel": 4}},
        {"tokens": {}},
        {"transformer": {"repeat": {"range": [1, 2, 1]}, **BLOCK}},
    ],
    "head": [{"token_head": {"out": "$classes"}}],
}
TOKENS = [{"patch_embed": {"out": 8, "kernel": 4}}, {"tokens": {}}]
NETWORKS = {
    "convolutions": [
        {"conv": {"out": 4, "stride": 2, "kernel": 3, "act": "hswish"}}, {"mbconv": {"out": 4, "kernel": 5}},
    ],
    "tokens": [*TOKENS, {"transformer": {"heads": 2, "head_width": 4}}],
}  # fmt: skip
HEADS = {
    "convolutions": [{"pool": {}}, {"linear": {"out": "$classes"}}],
    "tokens": [{"token_head": {"out": "$classes"}}],
}
CHAIN = {  # what slimming and sandwich shrink
    "name": "chain", "input": INPUT,
    "trunk": [
        {"conv": {"out": 4, "stride": 2, "kernel": 3, "act": "relu"}},
        {"mbconv": {"repeat": {"range": [1, 2, 1]}, "out": {"range": [4, 8, 4]}, "expand": {"choices": [1, 2]}}},
    ],
    "head": HEADS["convolutions"],
}  # fmt: skip
SPACES = {"slimming": CHAIN, "sandwich": CHAIN, "evolution": TRANSFORMER, "space_evolution": TRANSFORMER}
IMAGES = stand_in(8, 1, 2)


def lowered(program: Recorded) -> None:
    """Fails where it cannot be."""
    function = jax.jit(program.function, donate_argnums=program.donate)
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), program.shapes())
    assert export.export(function, platforms=PLATFORMS)(*shapes).platforms == PLATFORMS


@pytest.mark.parametrize("name", strategies.NAMES)
def test_a_search_by_every_strategy(name):
    problem = make_problem(
        space_from_data(SPACES.get(name, SPACE), name), [], IMAGES,
        Settings(batch_size=4, assess_batch=4, precision="bfloat16"), 0,
    )  # fmt: skip
    with recorded(problem, name, here=False) as programs:
        assert of_step(programs) and len({p.name for p in programs}) > 2
        for program in programs:
            lowered(program)


def network(kind: str) -> tuple[Space, Preprocessing]:
    data = {"name": kind, "input": INPUT, "trunk": NETWORKS[kind], "head": HEADS[kind]}
    return space_from_data(data, kind), preprocessing_for(IMAGES, side=8)


@pytest.mark.parametrize("precision", BYTES)
@pytest.mark.parametrize("kind", NETWORKS)
def test_a_training_step(kind, precision):
    recipe = read_recipe("quick").fixed()
    with plain():
        made = training(*network(kind), recipe, schedule(recipe, 10, 5), precision=precision)
        state = jax.eval_shape(made.init, abstract_variables(network(kind)[0]))
        batch = IMAGES.train_images[:4], IMAGES.train_labels[:4]
        lowered(Recorded(made.step, (state, batch, jax.random.key(0), None), (0,)))


@pytest.mark.parametrize("kind", NETWORKS)
def test_an_evaluation(kind):
    with plain():
        answer = evaluation(*network(kind))
        variables = abstract_variables(network(kind)[0])
        lowered(Recorded(answer, (variables, IMAGES.train_images[:4], np.zeros(4, np.int32)), ()))
