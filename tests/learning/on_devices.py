"""What a search and a training compute on one device and on several, as JSON on standard output.

Run by tests as a process of its own: how many devices a CPU simulates is decided before JAX starts.

python on_devices.py NAME 1 8
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from dnas.process.backend import configure

configure()

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

from dnas.cost.budget import parse_family  # noqa: E402
from dnas.data import synthetic  # noqa: E402
from dnas.data.batches import Batches  # noqa: E402
from dnas.data.preprocess import preprocessing_for  # noqa: E402
from dnas.grammar.read import space_from_data  # noqa: E402
from dnas.nn.gates import Gates, gumbel_softmax  # noqa: E402
from dnas.nn.supernet import init  # noqa: E402
from dnas.process import devices  # noqa: E402
from dnas.process.devices import Devices  # noqa: E402
from dnas.search.compiling import Compiler  # noqa: E402
from dnas.search.descent import Learner, compile_learning, fresh, optimizer, planned, streams  # noqa: E402
from dnas.search.learn import fed, learned_like, learning  # noqa: E402
from dnas.search.members import in_shares  # noqa: E402
from dnas.search.problem import Problem, make_problem  # noqa: E402
from dnas.search.settings import Settings  # noqa: E402
from dnas.search.strategies.dmasking import schedule as schedule_of  # noqa: E402
from dnas.search.together import learning_together  # noqa: E402
from dnas.train.recipe import read_recipe, with_values  # noqa: E402
from dnas.train.schedule import schedule  # noqa: E402
from dnas.train.step import training  # noqa: E402

BATCH = 32
SPACE = {
    "name": "small",
    "input": {"channels": 1, "classes": 2, "resolution": {"choices": [12, 16]}},
    "trunk": [
        {"conv": {"out": 8, "stride": 2, "kernel": 3, "act": "relu"}},
        {"repeat": 2, "one_of": [{"mbconv": {"out": 8, "hidden": n, "kernel": 3}} for n in (16, 8)]},
        {"conv": {"out": {"range": [8, 16, 8]}, "kernel": 1, "act": "relu"}},
    ],
    "head": [{"pool": {}}, {"linear": {"out": "$classes"}}],
}  # fmt: skip
NETWORK = {
    "name": "plain",
    "input": {"channels": 1, "classes": 2, "resolution": 16},
    "trunk": [
        {"conv": {"out": 8, "stride": 2, "kernel": 3, "act": "relu"}},
        {"mbconv": {"out": 8, "hidden": 16, "kernel": 3}},
        {"mbconv": {"out": 8, "hidden": 16, "kernel": 3}},
    ],
    "head": [{"pool": {}}, {"linear": {"out": "$classes"}}],
}


def problem_on(on: Devices) -> Problem:
    problem = make_problem(
        space_from_data(SPACE, "small"), [], synthetic.needs_large_kernel(0), Settings(batch_size=BATCH, side=16), 0
    )
    return replace(problem, devices=on)


def gradients(on: Devices) -> dict[str, Any]:
    """Of one step of a search: loss and gradients, and what was compiled for it."""
    problem = problem_on(on)
    variables, _ = fresh(problem, optimizer(problem.settings, planned(problem)))
    gates = gumbel_softmax(problem.layout, jnp.zeros(problem.layout.shape), jax.random.key(3), 5.0)
    batch, like = fed(problem, streams(problem)[0].at(0)), learned_like(problem, variables, gates)
    program = Compiler(None, on)(learning(problem), variables, gates, *batch, gives=like)
    learned = program(variables, gates, *batch)
    # Gates add up to 1 whatever moves them: what their gradient has in common for all options is nobody's.
    real = problem.layout.real
    of_gates = np.where(real, learned.gates, 0)
    of_gates -= np.where(real, of_gates.sum(1, keepdims=True) / real.sum(1, keepdims=True), 0)
    values = {"gates": of_gates, **learned.params, **{f"running {k}": v for k, v in learned.statistics.items()}}
    plain = {name: np.asarray(value).ravel().tolist() for name, value in values.items()}
    return {"loss": float(learned.loss), "values": plain, **compiled(program.compiled)}


def losses(on: Devices) -> dict[str, Any]:
    """Of twenty steps of a search."""
    problem = problem_on(on)
    compiler = Compiler(None, on)
    learner = Learner(problem, compile_learning(problem, compiler))
    weights, found = fresh(problem, optimizer(problem.settings, planned(problem))), []
    for n in range(20):
        gates = gumbel_softmax(problem.layout, jnp.zeros(problem.layout.shape), jax.random.key(n), 1.0)
        weights, metrics = learner.step(weights, gates, n)
        found.append(float(metrics["loss"]))
    return {"losses": found}


def family(on: Devices) -> dict[str, Any]:
    """Of one step of three members, side by side, whose shares of five images divide among few numbers of devices."""
    problem = make_problem(
        space_from_data(SPACE, "small"), [], synthetic.needs_large_kernel(0), Settings(batch_size=16, side=16), 0,
        parse_family("35kFLOPs,30kFLOPs,25kFLOPs"),
    )  # fmt: skip
    problem = in_shares(replace(problem, devices=on))
    variables, _ = fresh(problem, optimizer(problem.settings, planned(problem)))
    each = {**variables, "batch_stats": jax.tree.map(lambda a: jnp.stack([a] * 3), variables["batch_stats"])}
    keys = jax.random.split(jax.random.key(3), 3)
    drawn = [gumbel_softmax(problem.layout, jnp.zeros(problem.layout.shape), key, 5.0) for key in keys]
    gates = Gates(jnp.stack([one.values for one in drawn]), problem.layout)
    batch = fed(problem, streams(problem)[0].at(0))
    learned = Compiler(None, on)(learning_together(problem, 3), each, gates, *batch)(each, gates, *batch)
    values = {**learned.params, **{f"running {k}": v for k, v in learned.statistics.items()}}
    return {
        "loss": np.asarray(learned.loss).tolist(), "batch": problem.settings.batch_size, "steps": schedule_of(problem),
        "values": {name: np.asarray(value).ravel().tolist() for name, value in values.items()},
    }  # fmt: skip


def trained(on: Devices) -> dict[str, Any]:
    """Of twenty steps of a training with everything that is drawn at random for each image."""
    data, network = synthetic.needs_large_kernel(0), space_from_data(NETWORK, "plain")
    drawn = {"drop_path": 0.3, "dropout": 0.3, "mixup": 0.2, "cutmix": 0.5, "erase": 0.25, "crop_area": 0.5}
    recipe = with_values(read_recipe("quick").fixed(), {"batch_size": BATCH, "epochs": 1, "ema": 0.9, **drawn})
    preprocessing = preprocessing_for(data, side=16)
    of = training(network, preprocessing, recipe, schedule(recipe, 100, 50), devices=on)
    batches = Batches(data.train_images, data.train_labels, np.arange(len(data.train_labels)), BATCH, 0)
    state, found = on.state(of.init(init(network, jax.random.key(0)))), []
    step, key = on.program(of.step), on.state(jax.random.key(1))
    program = step.lower(state, on.batch(batches.at(0)), key, None).compile()
    for n in range(20):
        state, metrics = step(state, on.batch(batches.at(n)), key, None)
        found.append(float(metrics["loss"]))
    return {"losses": found, **compiled(program)}


COLLECTIVE = re.compile(
    r"^\s*(?:ROOT )?\S+ = (\(.*?\)|\S+) (all-reduce|all-gather|reduce-scatter|collective-permute|all-to-all)\(", re.M
)


def compiled(program: Any) -> dict[str, Any]:
    """Temporary bytes on a device, and every exchange between devices: kind, and the shapes of its results."""
    text = program.as_text()
    exchanges = [[kind, re.findall(r"(\w+\[[\d,]*\])", shapes)] for shapes, kind in COLLECTIVE.findall(text)]
    return {"temporary": program.memory_analysis().temp_size_in_bytes, "exchanges": exchanges}


CHECKS: dict[str, Callable[[Devices], dict[str, Any]]] = {
    "gradients": gradients, "losses": losses, "family": family, "trained": trained
}  # fmt: skip

if __name__ == "__main__":
    name, *counts = sys.argv[1:]
    found = {count: CHECKS[name](devices.of(jax.devices()[: int(count)])) for count in counts}
    print(json.dumps(found))
