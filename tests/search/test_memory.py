"""The memory of a search is known before it is compiled, and kept below a limit."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import jax
import numpy as np
import pytest

from dnas.cli.entry import call, parse
from dnas.cli.search import Arguments, main
from dnas.cost.budget import parse_family
from dnas.data.load import load
from dnas.errors import InputError, UserError
from dnas.grammar.catalogue import load_space
from dnas.nn.wing import plain
from dnas.plan.programs import recorded
from dnas.process.memory_amounts import memory_shown, parse_memory, told_apart
from dnas.search import strategies
from dnas.search.candidates import lanes_of
from dnas.search.descent import Weights
from dnas.search.memory import LEAST_BATCH, estimate, within
from dnas.search.problem import Problem, make_problem
from dnas.search.settings import Settings, with_overrides
from dnas.search.strategies import dmasking

QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
"""Less work for the code generator; what lies where in memory was decided before it."""


def problem_of(name: str, side: int | None = None, **settings) -> Problem:
    return make_problem(load_space(name), [], load(None), Settings(side=side, **settings), 0)


def compiled_bytes(problem: Problem, name: str, strategy: str = "dmasking", here: bool = True) -> int:
    """Arguments, results and temporary memory of a program that a search compiles."""
    with recorded(problem, strategy, here) as programs:
        (program,) = (program for program in programs if program.name == name)
        m = program.traced().lower().compile(QUICK).memory_analysis()
    return m.argument_size_in_bytes + m.output_size_in_bytes + m.temp_size_in_bytes - m.alias_size_in_bytes


slow = partial(pytest.param, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    ("name", "side", "settings"),
    [
        ("tiny", 32, {"batch_size": 64}),
        slow("tiny", 32, {"batch_size": 64, "low_memory": True}),
        slow("tiny", 64, {"batch_size": 16, "resolution_paths": 0}),
        slow("fbnetv2", 64, {"batch_size": 16}),
        slow("fbnetv2", 64, {"batch_size": 16, "low_memory": True}),
        slow("fbnetv2", 96, {"batch_size": 32, "resolution_paths": 1}),
        slow("fbnetv1_32", 32, {"batch_size": 32, "paths": 2}),
        slow("efficientformerv2_tiny", 32, {"batch_size": 32}),
    ],
)
def test_the_estimate_is_near_the_compilers_figure(name, side, settings):
    problem = problem_of(name, side, **settings)
    need = estimate(problem, "dmasking")
    found = np.array([compiled_bytes(problem, name) for name in ("learn", "compare")])
    ratio = np.array([need.learn, need.assess]) / found
    print(name, side, settings, found, ratio)
    assert max(need.learn, need.assess) / found.max() == pytest.approx(1, abs=0.2), ratio
    assert ratio[0] == pytest.approx(1, abs=0.2), ratio


@pytest.mark.parametrize(
    ("strategy", "lanes"), [("evolution", 8), ("dmasking", 1), slow("slimming", 8), slow("sandwich", 8)]
)
def test_networks_side_by_side_each_count(strategy, lanes, monkeypatch):
    """As accelerators compare them."""
    problem = problem_of("tiny", 32)
    with plain():
        one = estimate(problem, strategy).assess
        monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
        assert lanes_of(problem, strategy) == lanes
        need = estimate(problem, strategy).assess
        assert need == one if lanes == 1 else 0.9 * lanes < need / one < lanes
        assert need / compiled_bytes(problem, "compare", strategy, here=False) == pytest.approx(1, abs=0.2)


def test_a_family_is_compared_side_by_side(monkeypatch):
    problem = make_problem(load_space("tiny"), [], load(None), Settings(), 0, parse_family("0.4MFLOPs,0.6MFLOPs"))
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert lanes_of(problem, "dmasking") == 8 and lanes_of(replace(problem, family=()), "dmasking") == 1


@pytest.mark.parametrize("race", [0.14, 0.0])
def test_what_a_race_keeps_and_a_checkpoint_copies_lies_beside(race):
    problem = problem_of("tiny", 32, race=race)
    arrays = dmasking.start(problem)
    state = Weights(arrays.variables, arrays.weights_opt), arrays.kept
    momentum, kept, copied = arrays.weights_opt, arrays.kept, state
    assert (arrays.kept is None) == (race == 0)
    found = sum(leaf.nbytes for leaf in jax.tree.leaves((momentum, kept, copied)))
    assert estimate(problem, "dmasking").beside == pytest.approx(found, abs=64)  # numbers of steps


@pytest.mark.parametrize("strategy", [name for name in strategies.NAMES if name != "dmasking"])
def test_a_strategy_without_a_race_keeps_nothing_for_one(strategy):
    problem = problem_of("tiny", 32)
    without = replace(problem, settings=replace(problem.settings, race=0.0))
    assert problem.settings.race > 0 and estimate(problem, strategy) == estimate(without, strategy)
    assert estimate(problem, strategy).beside < estimate(problem, "dmasking").beside


def test_the_estimate_grows_with_images_and_shrinks_with_low_memory():
    at = {b: estimate(problem_of("fbnetv2", 64, batch_size=b), "dmasking") for b in (16, 32, 48)}
    assert at[16].assess == at[32].assess == at[48].assess
    # The weights take the same for any batch, images the same each.
    more = at[32].learn - at[16].learn
    assert at[48].learn - at[32].learn == pytest.approx(more, rel=0.02) and 0.3 < more / at[16].learn < 1
    low = estimate(problem_of("fbnetv2", 64, batch_size=32, low_memory=True), "dmasking")
    assert at[32].learn / low.learn > 1.8


def test_a_limit_changes_what_changes_the_search_least_first():
    problem = problem_of("fbnetv1_32", 32, paths=0)
    need, found, seen = estimate(problem, "dmasking").total, problem, []
    while True:
        try:
            found = within(problem, need - 1, "dmasking")
        except UserError as error:
            assert "at least" in str(error) and "--image-size" in str(error)
            break
        assert estimate(found, "dmasking").total < need
        need = estimate(found, "dmasking").total
        seen.append(found.adapted)
    names = [" ".join(sorted(text.split()[0] for text in adapted)) for adapted in seen]
    assert names == sorted(names, key=len), "each limit adds to what the former changed"
    s = found.settings
    assert s.low_memory and s.batch_size == LEAST_BATCH and s.assess_batch < 100
    first = [next(n for n, adapted in enumerate(seen) if any(f in text for text in adapted)) for f in
             ("paths", "low_memory", "batch_size")]  # fmt: skip
    assert first == sorted(first)
    roomy = within(problem, 10**15, "dmasking")
    assert roomy.settings == problem.settings and roomy.adapted == ()


def test_it_is_chosen_said_and_recorded(tmp_path, capsys):
    import json

    out = tmp_path / "out"
    settings = with_overrides("smoke", epochs=0.03)
    problem = make_problem(load_space("tiny"), [], load(None), settings, 0)
    while not problem.settings.low_memory:
        problem = within(problem, estimate(problem, "dmasking").total - 1, "dmasking")
    limit = estimate(problem, "dmasking").total  # whatever the forms of operators here
    argv = ["tiny", "--preset", "smoke", "--epochs", "0.03", "--max-memory", f"{limit / 1e6}MB", "--out", str(out)]
    assert call(main, parse(Arguments, argv)) == 0
    said = capsys.readouterr().out
    assert "memory: about" in said and "to keep within --max-memory: " in said
    search = json.loads((out / "architecture.json").read_text())["search"]
    assert search["adapted_to_memory"] and search["settings"]["low_memory"] is True
    assert json.loads((out / "provenance.json").read_text())["memory"]["learn"] < limit


def test_too_small_a_limit_is_one_line(tmp_path, capsys):
    argv = ["tiny", "--max-memory", "100kB", "--out", str(tmp_path / "out")]
    assert call(main, parse(Arguments, argv)) == 2
    error = capsys.readouterr().err
    assert "the limit is 100 kB" in error and "at least" in error and len(error.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "size"), [("4GB", 4 * 10**9), ("1.5 GiB", 3 * 2**29), ("512MiB", 2**29), ("7kB", 7000)]
)
def test_amounts_of_memory(text, size):
    assert parse_memory(text) == size


@pytest.mark.parametrize(
    "text", ["4", "4gb", "4G", "GB", "-1GB", "1e3MB", "nanGB", "0MB", "4GB 2", "1,5GB", "9999999999TB"]
)
def test_other_amounts_are_refused(text):
    with pytest.raises(InputError, match="--max-memory.*e.g. 4GB"):
        parse_memory(text)


def test_amounts_are_shown_in_units_of_people():
    sizes = {900: "1 kB", 5_432_000: "5.43 MB", 97_260_000: "97.3 MB", 312_000_000: "312 MB", 3_210_000_000: "3.21 GB"}
    assert [memory_shown(n) for n in sizes] == list(sizes.values())


def test_what_is_needed_and_the_limit_never_look_the_same():
    assert told_apart(1_530_000, 1_500_000) == ("1.53 MB", "1.50 MB")
    assert told_apart(1_501_000, 1_500_000) == ("1,501,000 bytes", "1,500,000 bytes")


def test_a_machine_without_the_memory_says_what_to_try(tmp_path, capsys, monkeypatch):
    """An allocation that fails in the compiled program: one line, exit 2."""
    from dnas.search.strategies import dmasking

    def strategy(problem, programs):
        made = original(problem, programs)

        def step(state, n):
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1234567 bytes.")

        return replace(made, phases=(replace(made.phases[0], steps=2, step=step), *made.phases[1:]))

    original = dmasking.strategy
    monkeypatch.setattr(dmasking, "strategy", strategy)
    argv = ["tiny", "--preset", "smoke", "--out", str(tmp_path / "out")]
    assert call(main, parse(Arguments, argv)) == 2
    error = capsys.readouterr().err
    assert "out of memory" in error and "--batch-size" in error and "--max-memory" in error
    assert len(error.strip().splitlines()) == 1


@pytest.mark.parametrize("free", [1_000, 12_000_000, 13_000_001])
def test_a_search_that_does_not_fit_is_refused_before_its_first_step(tmp_path, capsys, monkeypatch, free):
    """By the estimate before anything is compiled, or by the compiler's figure, which knows better.

    The most that is free would do for the largest program, but not for what lies beside it.
    """
    from dnas.process import free_memory
    from dnas.search import run

    steps: list[int] = []
    monkeypatch.setattr(free_memory, "of_machine", lambda: free)
    monkeypatch.setattr(run, "advance", lambda *a: steps.append(1))
    monkeypatch.setattr("dnas.search.compiling.Compiler.memory", 13_000_000)
    argv = ["tiny", "--preset", "smoke", "--out", str(tmp_path / "out")]
    assert call(main, parse(Arguments, argv)) == 2
    error = capsys.readouterr().err
    assert "not enough memory: the search needs about" in error and "--batch-size below 16, --low-memory" in error
    assert len(error.strip().splitlines()) == 1 and not steps


def test_a_batch_larger_than_the_data_is_said():
    from dnas.search.problem import proxy_notes

    problem = problem_of("tiny", batch_size=6_400)
    assert "a batch of 6,400 repeats the 3,200 images there are 2 times" in proxy_notes(problem)
    assert not any("repeats" in note for note in proxy_notes(problem_of("tiny")))
