"""How the weights of a supernet learn before networks are compared, and that one program serves all networks."""

from __future__ import annotations

import itertools

import jax
import numpy as np
import pytest

from dnas.cost.budget import parse_budget
from dnas.data import synthetic
from dnas.grammar.catalogue import load_space
from dnas.grammar.read import at_input
from dnas.learning.course import State
from dnas.learning.journal import Journal
from dnas.nn.gates import one_hot
from dnas.search import singlepath, strategies, supernet
from dnas.search.actions import extreme
from dnas.search.compiling import Compiler
from dnas.search.console import Console
from dnas.search.descent import Learner, summed
from dnas.search.problem import Problem, make_problem
from dnas.search.run import Options, advance
from dnas.search.settings import Settings
from dnas.search.singlepath import Paths
from dnas.solve.many import Constraints, as_options

from .made import space
from .test_search import search

DATA = synthetic.needs_large_kernel(0)
SETTINGS = Settings(
    epochs=0.5, batch_size=8, weights_lr=0.1, population=4, generations=3, parents=2, samples=6, rank_images=50,
    rank_norm_batches=1, norm_batches=1, check_images=50, rankings=2,
)  # fmt: skip


def problem_with(budgets: tuple[str, ...] = ("0.04Mparams",), **settings) -> Problem:
    found = Settings(**{**SETTINGS.to_json(), **settings}).validated()
    return make_problem(space(), [parse_budget(b) for b in budgets], DATA, found, 0)


class Recorder(Learner):
    """Remembers the gates, the targets and the answer of each gradient."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.told = []

    def gradient(self, weights, gates, n, targets=None):
        learned = super().gradient(weights, gates, n, targets)
        self.told.append((gates, targets, learned))
        return learned


def test_single_paths_keep_the_constraints():
    """Of EfficientFormer's space, where of 600 joint options one is allowed; the same number draws the same network."""
    found = load_space("efficientformer")
    draw = Paths(make_problem(at_input(found, side=32), [], DATA, SETTINGS, 0))
    paths = [draw(n, stream) for n in range(100) for stream in range(2)]
    assert Constraints(found.constraints, found.choices)(as_options(paths, found.choices)).all()
    assert len({tuple(path.values()) for path in paths}) == 200
    assert paths[:2] == [draw(0, 0), draw(0, 1)]


@pytest.mark.parametrize("budgets", [(), ("0.04Mparams",)])
def test_the_sandwich_s_bread_is_the_largest_and_the_smallest_network(budgets):
    """Also without a budget, and where the budget says nothing of a choice."""
    problem = problem_with(budgets)
    largest, smallest = (extreme(problem, sense) for sense in ("max", "min"))
    assert set(smallest.values()) == {0}
    assert largest == {c.name: len(c) - 1 for c in problem.space.choices}


@pytest.mark.parametrize("distill", [False, True])
def test_in_place_distillation_teaches_the_others_the_probabilities_of_the_largest(distill):
    """The programs are those of any step; what each network of a step is to learn comes with its images."""
    problem = problem_with(supernet="sandwich", distill=distill)
    learner = Recorder(problem, supernet.compile_training(problem, Compiler()))
    supernet.training(problem, learner).step(State(singlepath.start(problem), {}), 0)
    first, *others = learner.told
    assert first[1] is None and len(others) == 3  # the largest learns labels; the smallest and two
    for _, targets, _ in others:
        if distill:
            np.testing.assert_allclose(targets, jax.nn.softmax(first[2].logits), rtol=1e-6)
        else:
            assert targets is None
    largest, smallest = (one_hot(problem.layout, extreme(problem, sense)).values for sense in ("max", "min"))
    np.testing.assert_array_equal(first[0].values, largest)
    np.testing.assert_array_equal(others[0][0].values, smallest)


def test_a_step_follows_the_sum_of_the_gradients():
    problem = problem_with(supernet="sandwich", sandwich_random=0)
    learner = Learner(problem, supernet.compile_training(problem, Compiler()))
    before = singlepath.start(problem)
    gates = [one_hot(problem.layout, extreme(problem, sense)) for sense in ("max", "min")]
    first, second = (learner.gradient(before, g, 0) for g in gates)
    expected = learner.descend(before, first._replace(params=summed([first.params, second.params])))
    after, measured = supernet.training(problem, learner).step(State(singlepath.start(problem), {}), 0)
    for a, b in zip(jax.tree.leaves(after.arrays), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))
    right = np.mean(np.argmax(second.logits, -1) == learner.batches.at(0)[1])
    assert measured["smallest_accuracy"] == pytest.approx(right)


SLOW = [
    pytest.param(name, rule, marks=pytest.mark.slow)
    for name, rule in itertools.product(("evolution", "random", "sandwich"), ("single_path", "sandwich"))
    if (name, rule) != ("evolution", "single_path")
]


@pytest.mark.parametrize("name, rule", [("evolution", "single_path"), *SLOW])
def test_one_program_serves_every_network(name, rule):
    """After the programs are ready and one network was compared nothing is traced or compiled, however many follow."""
    problem, module, compiler = problem_with(supernet=rule), strategies.load(name), Compiler()
    programs = module.compile_programs(problem, compiler)
    assert sorted(compiler.traced) == ["compare", "learn", "update_weights"]
    strategy = module.strategy(problem, programs)
    state = advance(strategy, Journal(None, {}), Options(), Console(quiet=True), problem)
    strategy.outcome(state)
    compiled: list[str] = []
    jax.monitoring.register_event_duration_secs_listener(lambda event, *_, **__: compiled.append(event))
    again = advance(module.strategy(problem, programs), Journal(None, {}), Options(), Console(quiet=True), problem)
    heard = [event for event in compiled if "compile" in event]
    jax.monitoring.clear_event_listeners()
    assert not heard
    assert again.notes == state.notes


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("--strategy", "evolution", "--distill"), "--supernet single_path has no largest network"),
        (("--strategy", "random", "--distill"), "use --supernet sandwich"),
        (("--strategy", "sandwich", "--supernet", "single_path", "--distill"), "use --supernet sandwich"),
        (("--strategy", "evolution", "--mutation", "1.1"), "--mutation"),
        (("--strategy", "evolution", "--network-mutation", "-0.1"), "--network-mutation"),
        (("--strategy", "evolution", "--attempts", "0"), "--attempts"),
        (("--strategy", "evolution", "--mutations", "3", "--crossovers", "2"), "at most --population, 4"),
        (("--strategy", "evolution", "--mutations", "5"), "at most --population, 4"),
        (("--strategy", "evolution", "--sandwich-random", "-1"), "--sandwich-random"),
    ],
)
def test_a_mistake_is_one_line(argv, said, tmp_path, capsys):
    out = ("--out", str(tmp_path / "out"))
    assert search("autoformer_mini", "--budget", "5MFLOPs", *argv, "--preset", "smoke", *out) == 2
    error = capsys.readouterr().err
    assert said in error and len(error.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()
