"""Every search algorithm as a user runs it: files, budgets, the same bytes after a stop."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

from dnas.cost import ledger
from dnas.cost.budget import parse_budget
from dnas.data.load import load
from dnas.errors import Stopped
from dnas.grammar.catalogue import load_space
from dnas.grammar.read import read_space
from dnas.graph import graph_of
from dnas.learning.course import State
from dnas.learning.journal import Journal
from dnas.search import singlepath, strategies
from dnas.search.actions import Actions, Reachable, extreme, free_choices, path_choices
from dnas.search.compiling import Compiler
from dnas.search.console import Console
from dnas.search.problem import Problem, make_problem
from dnas.search.run import Options, advance, identity
from dnas.search.settings import with_overrides
from dnas.search.strategies import slimming
from dnas.solve.many import Constraints, as_options

from .test_search import search


def two_of(fast: str, other: str) -> list:
    """Both strategies, the second in the slow tests."""
    return [fast, pytest.param(other, marks=pytest.mark.slow)]


CHAINS = two_of("sandwich", "slimming")
SAMPLED = two_of("random", "evolution")


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Callable[[str], Path]:
    """The folder of one run of a strategy on the small space; chain strategies have a family."""
    home = tmp_path_factory.mktemp("strategies")

    @functools.cache
    def once(name: str) -> Path:
        command = ["tiny", "--budget", "0.02Mparams", "--preset", "smoke", "--strategy", name]
        if name in ("sandwich", "slimming"):
            command += ["--family", "0.4MFLOPs,0.12MFLOPs,0.25MFLOPs", "--rankings", "0"]
        else:
            command += ["--budget", "0.2MFLOPs"]
        assert search(*command, "--out", str(home / name)) == 0
        return home / name

    return once


def document(file: Path) -> dict:
    return json.loads(file.read_text())


def macs_and_params(file: Path) -> tuple[int, int]:
    """Counted anew from the file."""
    walked = graph_of(read_space(file))
    return ledger.at(ledger.macs(walked.ledger), {}), ledger.at(ledger.params(walked.ledger), {})


TIED = """
name: tied
input: {channels: 1, classes: 10, resolution: 16}
choices: {first: {choices: [8, 16]}, second: {choices: [8, 16]}}
where: [$first == $second]
trunk:
  - conv: {out: $first, stride: 2, kernel: 3, act: relu}
  - conv: {out: $second, stride: 2, kernel: 3, act: relu}
head: [{pool: {}}, {linear: {out: $classes}}]
"""


@pytest.mark.parametrize("name", CHAINS)
def test_where_no_single_action_is_allowed_a_chain_goes_to_what_the_solver_finds(name, tmp_path):
    (tmp_path / "tied.yaml").write_text(TIED)
    command = [str(tmp_path / "tied.yaml"), "--budget", "40kFLOPs", "--preset", "smoke", "--strategy", name]
    assert search(*command, "--image-size", "16", "--out", str(tmp_path / "run")) == 0
    first, second = document(tmp_path / "run" / "chain.json")["steps"]
    assert first["actions"] == [] and second["actions"] == [{"solved": "single actions led no further"}]
    taken = document(tmp_path / "run" / "architecture.json")["choices_taken"]
    assert taken == {"first": 8, "second": 8}


@pytest.mark.parametrize("name", SAMPLED)
def test_sampled_networks_keep_and_fill_the_budgets(run, name):
    macs, params = macs_and_params(run(name) / "architecture.json")
    assert macs <= 200_000 and params <= 20_000
    assert max(macs / 200_000, params / 20_000) >= 0.97
    told = document(run(name) / "architecture.json")
    assert told["search"]["strategy"] == name and told["search"]["budget_satisfied"]
    assert told["search"]["compared"] in range(4, 9)  # eight, less those that were drawn twice


@pytest.mark.parametrize("name", SAMPLED)
def test_networks_compared_are_recorded_with_their_costs(run, name):
    told = document(run(name) / "architecture.json")
    search, met = told["search"], told["search"]["met"]
    space = load_space("tiny")
    costs = ledger.macs(graph_of(space).ledger)
    rows = [dict(zip(search["options"], map(int, text.split()), strict=True)) for text in met["options"]]
    macs = [ledger.at(costs, row) for row in rows]
    assert macs == met["costs"]["0.2MFLOPs"] and max(macs) <= 200_000 and max(met["costs"]["0.02Mparams"]) <= 20_000
    assert len(rows) == len(met["accuracy"]) == search["compared"] and 0 < met["drawn"] <= len(rows)
    assert max(met["accuracy"]) == pytest.approx(search["share_accuracy"], abs=1e-6)
    taken = {name: option for name, option in told["choices_taken"].items() if name not in search["not_used"]}
    assert any(all(search["options"][n][row[n]] == option for n, option in taken.items()) for row in rows)


def test_of_many_networks_compared_some_are_recorded_and_the_best(monkeypatch):
    problem = small_problem("random")
    scores = [[n / 50 if n == 17 else 0.1, 1.0] for n in range(50)]
    rows = [[n % len(c) for c in problem.space.choices] for n in range(50)]
    monkeypatch.setattr(singlepath, "MET", 5)
    met = singlepath.summary(problem, rows, scores, 30)["met"]
    kept = [0, 12, 17, 24, 36, 49]
    assert met["options"] == [" ".join(map(str, rows[n])) for n in kept] and met["accuracy"][2] == 0.34
    assert met["drawn"] == 4 and [len(values) for values in met["costs"].values()] == [6]


@pytest.mark.parametrize("name", CHAINS)
def test_chains_end_within_the_budgets_and_no_action_back_fits(run, name):
    macs, params = macs_and_params(run(name) / "architecture.json")
    assert macs <= 120_000 and params <= 20_000
    if max(macs / 120_000, params / 20_000) < 0.97:
        problem = small_problem(name, budgets=("0.02Mparams", "0.12MFLOPs"))
        taken = document(run(name) / "architecture.json")["choices_taken"]
        state = {c.name: c.options.index(taken[c.name]) for c in problem.space.choices}
        assert not Actions(problem).back(state)


@pytest.mark.parametrize("name", CHAINS)
def test_every_network_of_the_chain_is_a_file_that_costs_what_is_told(run, name):
    out = run(name)
    steps = document(out / "chain.json")["steps"]
    assert [s["number"] for s in steps] == list(range(len(steps))) and len(steps) > 3
    assert {p.name for p in (out / "chain").iterdir()} == {f"{n:03d}.json" for n in range(len(steps))}
    for step in steps:
        macs, params = macs_and_params(out / step["file"])
        assert step["costs"] == [params, macs]
    assert macs_and_params(out / steps[-1]["file"]) == macs_and_params(out / "architecture.json")
    down = [s["costs"][1] for s in steps if s["number"] == 0 or s["actions"][0].get("gain", 1) > 0]
    assert down == sorted(down, reverse=True)


@pytest.mark.parametrize("name", CHAINS)
def test_each_step_is_a_row_of_the_history(run, name):
    rows = [json.loads(line) for line in (run(name) / "history.jsonl").read_text().splitlines()]
    told = [row["chain"] for row in rows if row.get("chain")]
    steps = document(run(name) / "chain.json")["steps"][1:]
    assert [t["number"] for t in told] == [s["number"] for s in steps]
    assert [t["actions"] for t in told] == [s["actions"] for s in steps]
    for row in told:
        assert {"costs", "loss", "accuracy", "drop", "mes"} <= row.keys()


@pytest.mark.parametrize("name", CHAINS)
def test_a_network_for_each_budget_of_the_family(run, name):
    for limit in (0.4, 0.25, 0.12):
        macs, params = macs_and_params(run(name) / "family" / f"{limit}MFLOPs.json")
        assert macs <= limit * 1e6 and params <= 20_000
    tightest = (run(name) / "family" / "0.12MFLOPs.json", run(name) / "architecture.json")
    assert macs_and_params(tightest[0]) == macs_and_params(tightest[1])


def small_problem(
    name: str, seed: int = 0, budgets: tuple[str, ...] = ("0.2MFLOPs",), space: str = "tiny", **settings
) -> Problem:
    found = with_overrides("smoke", **settings)
    return make_problem(load_space(space, None), [parse_budget(b) for b in budgets], load(None), found, seed)


@pytest.mark.parametrize("name", [*two_of("sandwich", "slimming"), *two_of("random", "evolution")])
def test_stopped_anywhere_and_continued_ends_in_the_same_bits(name, tmp_path):
    problem = small_problem(name, settle=0.1)
    module, console = strategies.load(name), Console(quiet=True)
    programs = module.compile_programs(problem, Compiler())
    who = identity(problem, name)

    def journal(folder: str) -> Journal:
        (tmp_path / folder).mkdir(exist_ok=True)
        return Journal(tmp_path / folder, who, every_s=1e9)

    whole = journal("whole")
    expected = advance(module.strategy(problem, programs), whole, Options(), console, problem)
    stopped, found = 0, None
    while found is None:
        part = journal("parts")
        left = [4]

        def asked(left=left) -> int:
            left[0] -= 1
            return 15 if left[0] == 0 else 0

        try:
            found = advance(module.strategy(problem, programs), part, Options(resume=True), console, problem, asked)
        except Stopped:
            stopped += 1
    assert stopped >= 4
    assert found.notes == expected.notes and part.rows == whole.rows
    for a, b in zip(leaves(found), leaves(expected), strict=True):
        np.testing.assert_array_equal(a, b)


def leaves(state) -> list[np.ndarray]:
    import jax

    return [np.asarray(leaf) for leaf in jax.tree.leaves(state.arrays)]


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("--strategy", "slimming"), "slims down to a budget"),
        (("--strategy", "sandwich"), "slims down to a budget"),
        (("--strategy", "random", "--family", "0.2MFLOPs,0.3MFLOPs"), "use dmasking, slimming or sandwich"),
        (("--family", "0.2MFLOPs,0.3MFLOPs", "--start", "fbnetv2_f1"), "begins at no design with --family"),
        (("--strategy", "sandwich", "--family", "0.2MFLOPs,0.01Mparams"), "different budgets of one kind"),
        (("--strategy", "sandwich", "--family", "0.01MFLOPs,1MFLOPs"), "smallest network"),
        (("--strategy", "random", "--samples", "0"), "--samples"),
    ],
)
def test_a_mistake_is_one_line(argv, said, tmp_path, capsys):
    assert search("tiny", *argv, "--preset", "smoke", "--out", str(tmp_path / "out")) == 2
    error = capsys.readouterr().err
    assert said in error and len(error.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_frontier_is_one_step_of_each_choice():
    problem = small_problem("sandwich")
    actions, largest = Actions(problem), extreme(problem, "max")
    frontier = actions.frontier(largest)
    by_choice: dict[str, list[int]] = {}
    for reachable in frontier:
        assert reachable.costs[0] < actions.cost_of(largest)[0]
        assert reachable.costs == actions.cost_of(reachable.assignment)
        by_choice.setdefault(reachable.action.choice, []).append(reachable.action.after)
    sizes = {c.name: c.options for c in problem.space.choices}
    assert sizes["resolution"][by_choice["resolution"][0]] == 24  # not 16
    assert set(by_choice) == set(sizes) - {c.name for c in free_choices(problem)}
    assert all(len(options) == 1 for options in by_choice.values())


def test_paths_decide_which_operators_there_are():
    problem = small_problem("slimming")
    names = {c.name.rsplit(".", 1)[-1] for c in path_choices(problem)}
    assert names == {"one_of", "se", "act", "repeat"}  # an activation costs nothing


def test_extremes_are_the_extremes_of_the_space():
    problem = small_problem("slimming")
    measured = problem.measured[0]
    assert measured.at(extreme(problem, "max")) == measured.largest
    assert measured.at(extreme(problem, "min")) == measured.smallest
    free = free_choices(problem)[0].name
    assert extreme(problem, "max", {free: 1})[free] == 1 and extreme(problem, "max")[free] == 0


ORDERED = """
name: ordered
input: {channels: 3, classes: 10, resolution: 16}
choices:
  w: {range: [8, 24, 8]}
templates:
  block:
    one_of:
      - {mbconv: {out: $w, kernel: 3, expand: 2}, label: small}
      - {mbconv: {out: $w, kernel: 5, expand: 4}, label: big}
      - {skip: {out: $w}}
trunk:
  - conv: {out: $w, kernel: 3, stride: 2, act: relu}
  - block: {}
  - block: {}
head: [{pool: {}}, {linear: {out: $classes}}]
"""


def test_a_block_is_replaced_or_removed_and_a_tied_width_moves_everywhere(tmp_path):
    problem = ordered(tmp_path)
    assert moves(problem, Actions(problem).frontier(extreme(problem, "max"))) == [
        ("w", 16), ("trunk.1.one_of", "small"), ("trunk.1.one_of", "skip"), ("trunk.2.one_of", "small"),
        ("trunk.2.one_of", "skip"),
    ]  # fmt: skip


def ordered(folder: Path) -> Problem:
    file = folder / "ordered.yaml"
    file.write_text(ORDERED)
    return make_problem(read_space(file), [parse_budget("0.3MFLOPs")], load(None), with_overrides("smoke"), 0)


def moves(problem: Problem, reachable: Sequence[Reachable]) -> list[tuple[str, object]]:
    return [(r.action.choice, problem.space.choice(r.action.choice).options[r.action.after]) for r in reachable]


def test_slimming_compares_the_least_important_of_each_kind_and_the_earliest_replacement(tmp_path):
    """Published: EfficientFormer (Li et al. 2022), section 4.2; the earliest attention is replaced."""
    problem = ordered(tmp_path)
    theta = np.zeros(problem.layout.shape, np.float32)
    row = [c.name for c in problem.layout.choices].index("trunk.2.one_of")
    theta[row] = 1.0, 0.0, 1.0  # of the second block, to replace it and to leave it out both matter less
    state = State(SimpleNamespace(theta=jnp.asarray(theta)), {})
    frontier = Actions(problem).frontier(extreme(problem, "max"))
    compared = slimming.shortlist_of(problem)(state, frontier, lambda reachable: 1.0, 0.0)
    assert moves(problem, compared) == [
        ("w", 16), ("trunk.1.one_of", "small"), ("trunk.2.one_of", "small"), ("trunk.2.one_of", "skip"),
    ]  # fmt: skip


KEPT = [
    *((name, "tiny", budgets) for name in ("sandwich", "slimming")
      for budgets in (("0.1MFLOPs",), ("0.3MFLOPs", "0.008Mparams"))),
    ("slimming", "efficientformer_tiny", ("1.5MFLOPs", "0.2Mparams")),
    ("slimming", "efficientformer_tiny", ("4MFLOPs", "0.1Mparams")),
    ("sandwich", "efficientformerv2_tiny", ("0.7MFLOPs", "0.2Mparams")),
    ("sandwich", "efficientformerv2_tiny", ("3MFLOPs", "0.06Mparams")),
]  # fmt: skip
"""Strategy, space and budgets: of each pair now the one and now the other is the tighter."""


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name, space, budgets", KEPT)
def test_budgets_are_kept_with_no_less_than_needed(name, space, budgets, seed, tmp_path):
    command = [space, "--preset", "smoke", "--strategy", name, "--seed", str(seed), "--out", str(tmp_path)]
    assert search(*command, *(text for b in budgets for text in ("--budget", b))) == 0
    problem = small_problem(name, seed, budgets, space)
    taken = document(tmp_path / "architecture.json")["choices_taken"]
    state = {c.name: c.options.index(taken[c.name]) for c in problem.space.choices}
    shares = [m.at(state) / m.budget.limit for m in problem.measured]
    assert max(shares) <= 1
    reasons = [b.get("unused_because") for b in document(tmp_path / "architecture.json")["search"]["budgets"]]
    assert max(shares) >= 0.97 or (all(reasons) and not Actions(problem).back(state))
    assert Constraints(problem.space.constraints, problem.space.choices)(as_options([state], problem.space.choices))[0]
