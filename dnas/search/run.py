"""The driver of a search: batches, compiled programs, progress, and the files of the result.

The only place of the search that reads clocks or writes files.
"""

from __future__ import annotations

import json
import math
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dnas import weights
from dnas.architecture import Architecture, architecture, options_taken
from dnas.data.batches import Batches, steps_per_epoch
from dnas.derive import Derivation, derive
from dnas.errors import UserError
from dnas.files import write_atomic, write_json
from dnas.nn.gates import Theta, as_mapping, one_hot, probabilities
from dnas.nn.inherit import inherit
from dnas.nn.packing import Packing
from dnas.nn.supernet import Variables
from dnas.search import assess
from dnas.search.assess import PackedVariables
from dnas.search.console import Console
from dnas.search.problem import Problem, proxy_notes
from dnas.search.result import found_document, provenance
from dnas.search.strategies.dmasking import SearchState, dmasking, largest_probability

DECIDED = 60.0
"""Logit of the option taken once a network is derived: noise no longer changes any draw."""


class Schedule(NamedTuple):
    """How many steps a search takes."""

    steps: int
    """On the weights."""
    warm_up: int
    """Of these, before theta moves."""
    settle: int
    """Of these, under the derived network's gates."""
    theta_steps: int


class Programs(NamedTuple):
    """Compiled programs of a search, each traced once, and the state it begins with."""

    start: Callable[[jax.Array], SearchState]
    weights: Callable
    theta: Callable
    assess: Callable
    seconds: float


class Trained(NamedTuple):
    """What the steps of a search leave."""

    searched: PackedVariables
    """The supernet at the end of the search."""
    settled: PackedVariables
    """The same after learning under the derived network's gates."""
    theta: Theta
    derivation: Derivation


@dataclass
class Found:
    """What a search ends with."""

    problem: Problem
    theta: Theta
    derivation: Derivation
    architecture: Architecture
    """At the space's own input, as the budgets count it."""
    by_proxy: Architecture
    """The same network on the data's images, which the weights fit."""
    accuracies: dict[str, float]
    images: int
    warnings: list[str]
    variables: Variables
    expected: list[float]


def run_search(problem: Problem, out: Path | None, console: Console, preset: str = "quick") -> Found:
    """Searches, derives, assesses and, with `out`, writes the result's files; raises `UserError` on divergence."""
    began = time.time()
    if out is not None:
        prepare_folder(out)
    console.opening(problem, proxy_notes(problem))
    programs = compile_programs(problem, console)
    searching = time.time()
    trained = train(problem, programs, out, console)
    searched = time.time()
    found = finish(problem, programs, trained, console)
    if out is not None:
        phases = {
            "compile_s": programs.seconds, "search_s": searched - searching, "finish_s": time.time() - searched,
            "total_s": time.time() - began,
        }  # fmt: skip
        _write(found, out, preset, phases)
    console.closing(found, out)
    return found


def prepare_folder(out: Path) -> None:
    """Makes the result's folder now: a search of minutes must not end at a folder that cannot be written."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):  # leaves what a former run wrote alone
            pass
    except OSError as error:
        raise UserError(f"--out {out}: cannot write here: {error.strerror or error}") from error


def schedule(problem: Problem) -> Schedule:
    """Steps of the settings' epochs on this data."""
    s = problem.settings
    steps = max(2, math.ceil(s.epochs * steps_per_epoch(len(problem.split.weights_index), s.batch_size)))
    warm_up, settle = int(s.warm_up * steps), int(s.settle * steps)
    return Schedule(steps, warm_up, settle, max(1, int((steps - warm_up - settle) / s.theta_every)))


def batches_of(problem: Problem) -> tuple[Batches, Batches]:
    """The streams for weights and for theta."""
    data, split, size = problem.dataset, problem.split, problem.settings.batch_size
    return (
        Batches(data.train_images, data.train_labels, split.weights_index, size, problem.seed),
        Batches(data.train_images, data.train_labels, split.theta_index, size, problem.seed + 1),
    )


def compile_programs(problem: Problem, console: Console) -> Programs:
    """Traces the three programs one after the other and compiles them side by side."""
    began = time.time()
    strategy = dmasking(problem, schedule(problem).steps)
    key = jax.random.key(problem.seed)
    state = strategy.init(key)
    batch = batches_of(problem)[0].at(0)
    gates = probabilities(problem.layout, state.theta)
    jobs = [
        (jax.jit(strategy.weights_step, donate_argnums=0), (state, batch, key)),
        (jax.jit(strategy.theta_step), (state, batch, key)),
        (jax.jit(assess.assessment(problem)), assess.example_arguments(problem, state.variables, gates)),
    ]
    with console.waiting("compiling"), ThreadPoolExecutor(len(jobs)) as pool:
        # XLA compiles outside the interpreter's lock: while one program compiles, the next is traced.
        futures = [pool.submit(function.trace(*arguments).lower().compile) for function, arguments in jobs]
        compiled = [future.result() for future in futures]
    seconds = time.time() - began
    console.compiled(seconds)
    weights, theta, assess_program = compiled
    return Programs(strategy.init, weights, theta, assess_program, seconds)


def train(problem: Problem, programs: Programs, out: Path | None, console: Console) -> Trained:
    """Weights and theta in turn, derivation, and a last phase in which the weights settle on the derived network.

    Raises `UserError` where a loss stops being finite.
    """
    plan = schedule(problem)
    batches, theta_batches = batches_of(problem)
    key = jax.random.key(problem.seed)
    state = programs.start(key)
    searched = theta = derivation = None
    history: list[str] = []
    metrics: dict[str, Any] = {}
    theta_done, every, last = 0, max(1, plan.steps // 100), plan.steps - plan.settle
    with console.progress(plan.steps) as progress:
        for step in range(plan.steps):
            state, of_weights = programs.weights(state, batches.at(step), key)
            metrics |= of_weights
            due = plan.theta_steps * (step + 1 - plan.warm_up) // (last - plan.warm_up) if step >= plan.warm_up else 0
            while theta_done < min(due, plan.theta_steps):
                state, of_theta = programs.theta(state, theta_batches.at(theta_done), key)
                metrics |= of_theta
                theta_done += 1
            if (step + 1) % every == 0 or step + 1 in (last, plan.steps):
                line = {"step": step + 1, "theta_step": theta_done, **_plain(metrics)}
                _refuse_nan(line, step + 1)
                history.append(json.dumps(line))
                progress.update(step + 1, line, problem)
                if out is not None:
                    write_atomic(out / "history.jsonl", "\n".join(history) + "\n")
            if step + 1 == last:
                searched, theta = state.variables, state.theta
                if plan.settle:
                    # The state is donated to the next step; what is kept of it must be a copy.
                    searched = jax.tree.map(jnp.copy, state.variables)
                derivation = derived(problem, theta)
                decided = DECIDED * one_hot(problem.layout, derivation.assignment).values
                state = state._replace(theta=decided)
                theta = jnp.copy(theta)
    assert searched is not None and theta is not None and derivation is not None
    return Trained(searched, state.variables, theta, derivation)


def derived(problem: Problem, theta: Theta) -> Derivation:
    """The most probable network within the budgets."""
    soft = probabilities(problem.layout, theta)
    logits = {name: np.log(np.maximum(p, 1e-300)) for name, p in as_mapping(soft).items()}
    return derive(
        problem.space, problem.walked, logits, [m.cost for m in problem.measured],
        [m.budget.limit for m in problem.measured], fill=problem.settings.fill,
    )  # fmt: skip


def _plain(metrics: dict[str, Any]) -> dict[str, Any]:
    values = jax.device_get(metrics)
    return {name: np.asarray(value, np.float64).round(6).tolist() for name, value in values.items()}


def _refuse_nan(line: dict[str, Any], step: int) -> None:
    bad = [name for name, value in line.items() if not np.all(np.isfinite(np.asarray(value, np.float64)))]
    if bad:
        raise UserError(
            f"the search diverged at step {step}: {', '.join(bad)} not finite; nothing is exported. "
            "Try a smaller --weights-lr or --theta-lr"
        )


def finish(problem: Problem, programs: Programs, trained: Trained, console: Console) -> Found:
    """Batch norms estimated again, accuracies, and what looks wrong."""
    derivation = trained.derivation
    by_proxy = architecture(problem.proxy, derivation.assignment)
    soft, hard = probabilities(problem.layout, trained.theta), one_hot(problem.layout, derivation.assignment)
    accuracies: dict[str, float] = {}
    images = 0
    kinds = [("soft", soft, trained.searched), ("derived", hard, trained.searched)]
    if schedule(problem).settle:
        kinds.append(("settled", hard, trained.settled))
    variables = trained.settled
    with console.waiting("estimating batch norms and accuracies"):
        for name, gates, before in kinds:
            accuracies[f"{name}_before"], images = assess.accuracy(programs.assess, problem, before, gates)
            variables = assess.estimate_norms(programs.assess, problem, before, gates)
            accuracies[name], images = assess.accuracy(programs.assess, problem, variables, gates)
    expected = [float(v) for v in np.asarray(problem.expected(soft), np.float64)] if problem.measured else []
    return Found(
        problem, trained.theta, derivation, architecture(problem.space, derivation.assignment), by_proxy, accuracies,
        images, _warnings(problem, trained.theta, derivation),
        inherit(Packing(problem.proxy).unpack(variables), by_proxy), expected,
    )  # fmt: skip


def _warnings(problem: Problem, theta: Theta, derivation: Derivation) -> list[str]:
    """Collapse to skips, a flat theta, an unused budget."""
    notes = []
    taken = options_taken(problem.space, derivation.assignment)
    blocks = [name for name, option in taken.items() if name.endswith(".one_of")]
    skips = [name for name in blocks if taken[name] == "skip"]
    if blocks and len(skips) > 0.5 * len(blocks):
        notes.append(
            f"skip collapse: {len(skips)} of {len(blocks)} blocks are skipped; search longer, or warm up longer"
        )
    decided = float(np.mean(largest_probability(problem, theta))) if problem.space.choices else 1.0
    even = float(np.mean([1 / len(c) for c in problem.space.choices])) if problem.space.choices else 1.0
    if decided < even + 0.25 * (1 - even):
        notes.append(
            f"theta is nearly flat (mean largest probability {decided:.2f}): the choices were hardly decided by the "
            "data; search longer or raise --theta-lr"
        )
    if derivation.note:
        notes.append(derivation.note)
    return notes


def _write(found: Found, out: Path, preset: str, phases: dict[str, float]) -> None:
    document = found_document(found, preset)
    write_json(out / "architecture.json", document)
    weights.save(out / "weights.safetensors", found.by_proxy.network, found.variables)
    write_json(out / "provenance.json", provenance(found, preset, phases))
