"""A family of budgets in one run: what a step computes, and what the run leaves."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dnas
from dnas.cost.budget import parse_budget, parse_family
from dnas.errors import Stopped, UserError
from dnas.grammar.read import space_from_data
from dnas.learning.journal import Journal
from dnas.nn.gates import Gates, probabilities
from dnas.process import devices
from dnas.runs.read import read_run
from dnas.search import members, strategies
from dnas.search.compiling import Compiler
from dnas.search.console import Console
from dnas.search.descent import fresh, optimizer, planned
from dnas.search.learn import Learned, as_targets, learning, packing_of
from dnas.search.members import images_on_a_device, in_shares, members_of, notes
from dnas.search.memory import estimate, within
from dnas.search.problem import Problem, make_problem
from dnas.search.run import Options, advance, identity
from dnas.search.settings import Settings
from dnas.search.together import default_lanes, learning_together, shares

from .planted import TASKS, Planted
from .test_resume import SPACE
from .test_search import search

LIMITS = ("29kFLOPs", "22kFLOPs", "19.5kFLOPs")
"""Each has a network that uses 97 % of it."""


def problem_of(batch_size: int = 12, task: Planted = TASKS["width"], **settings) -> Problem:
    """Three members on a space, of two kernels and six widths if not given."""
    chosen = dataclasses.replace(Settings(batch_size=batch_size), **settings)
    family = parse_family("0.5MFLOPs,0.3MFLOPs,0.4MFLOPs")
    return make_problem(task.space, [parse_budget("2kparams")], task.data(0), chosen, 0, family)


def test_a_limit_of_memory_leaves_every_member_its_images():
    """A batch of 20 was halved to 10 and the search refused, for which 12 was small enough."""
    asked, seen = problem_of(20), []
    found = asked
    with pytest.raises(UserError, match="--max-memory: the search needs at least"):
        while True:
            found = within(asked, estimate(found, "dmasking").total - 1, "dmasking")
            members.check(found, "dmasking")
            seen.append(in_shares(found).settings.batch_size)
            assert estimate(in_shares(found), "dmasking").total <= estimate(found, "dmasking").total
    assert seen[0] > 12 and seen[-1] == 12 and found.settings.assess_batch < asked.settings.assess_batch


@pytest.mark.parametrize(("asked", "used"), [(16, 15), (32, 33), (3, 12), (12, 12)])
def test_every_member_gets_as_many_images_and_at_least_four(asked, used):
    for count in (1, 4):
        on = devices.of([jax.devices()[0]] * count)
        assert in_shares(dataclasses.replace(problem_of(asked), devices=on)).settings.batch_size == used


def test_memory_counts_the_share_of_each_member_on_a_device():
    four = dataclasses.replace(problem_of(16), devices=devices.of([jax.devices()[0]] * 4))
    assert images_on_a_device(problem_of(16)) == 16
    assert images_on_a_device(four) == 15  # a share of five lies on every device
    assert images_on_a_device(dataclasses.replace(four, family=())) == 4
    (_, said) = notes(four, in_shares(four))
    assert said.startswith("a share of 5 divides into 1 equal parts on 4 devices")


def test_members_keep_what_the_family_has_in_common_and_a_budget_of_their_own():
    members = members_of(problem_of())
    assert [[m.budget.text for m in one.measured] for one in members] == [
        ["2kparams", "0.5MFLOPs"], ["2kparams", "0.4MFLOPs"], ["2kparams", "0.3MFLOPs"],
    ]  # fmt: skip
    assert all(one.settings.floor == 0.97 and not one.family for one in members)
    assert all(one.settings.floor == 0 for one in members_of(problem_of(fill=0.0)))


class Step:
    """What a step computes for three members, and for each of them alone."""

    def __init__(self, task: Planted = TASKS["width"]):
        self.problem = problem_of(task=task)
        variables = fresh(self.problem, optimizer(self.problem.settings, planned(self.problem))).variables
        layout, data = self.problem.layout, self.problem.dataset
        logits = jax.random.normal(jax.random.key(0), (3, *layout.shape))
        self.gates = jax.vmap(lambda own: probabilities(layout, own))(logits)
        self.images, self.targets = data.train_images[:12], as_targets(data.train_labels[:12], data.classes)
        self.params = variables["params"]
        self.statistics = jax.tree.map(lambda a: jnp.stack([a + n for n in range(3)]), variables["batch_stats"])
        self.arguments = {"params": self.params, "batch_stats": self.statistics}, self.gates, self.images, self.targets
        learn = jax.jit(learning(self.problem, whole=True))
        self.alone = [self.of_one(learn, n) for n in range(3)]

    def of_one(self, learn: Callable[..., Learned], n: int) -> Learned:
        variables = {"params": self.params, "batch_stats": jax.tree.map(lambda a: a[n], self.statistics)}
        own = Gates(self.gates.values[n], self.problem.layout)
        return learn(variables, own, self.images[n::3], self.targets[n::3])


@pytest.fixture(scope="module")
def step() -> Step:
    return Step()


@pytest.mark.parametrize("lanes", [1, 3])
def test_members_learn_as_they_would_alone_and_the_weights_get_the_mean_of_their_gradients(step, lanes):
    check(step, jax.jit(learning_together(step.problem, lanes))(*step.arguments))


def check(step: Step, found: Learned) -> None:
    """Each member's part is what it computes alone."""
    for name in ("loss", "accuracy", "logits", "statistics", "gates"):
        for n, own in enumerate(step.alone):
            mine = jax.tree.map(lambda a, n=n: a[n], getattr(found, name))
            jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), mine, getattr(own, name))
    mean = jax.tree.map(lambda *parts: sum(parts) / 3, *(own.params for own in step.alone))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), found.params, mean)


@pytest.mark.slow
def test_each_member_runs_the_blocks_of_its_own_gates():
    """Of a choice between more blocks than are run."""
    options = [{"mbconv": {"out": 12, "kernel": k, "expand": e}} for k in (3, 5) for e in (1, 2)]
    task = TASKS["width"]
    data = {
        "name": "blocks", "input": {"channels": 1, "classes": 2, "resolution": 16},
        "trunk": [{"conv": {"out": 12, "stride": 2, "kernel": 3}}, {"one_of": [*options, {"skip": {"out": 12}}]}],
        "head": [{"pool": {}}, {"linear": {"out": "$classes"}}],
    }  # fmt: skip
    step = Step(dataclasses.replace(task, space=space_from_data(data, "blocks")))
    assert default_lanes(step.problem) == 1 and packing_of(step.problem).runs
    check(step, jax.jit(learning_together(step.problem, 1))(*step.arguments))


def test_a_step_of_a_family_has_the_arithmetic_and_the_memory_of_one_search(step):
    """By the compiler's count. It counts the body of a loop once, that is for one member."""
    variables = {"params": step.params, "batch_stats": jax.tree.map(lambda a: a[0], step.statistics)}
    own = Gates(step.gates.values[0], step.problem.layout)
    single = jax.jit(learning(step.problem)).lower(variables, own, step.images, step.targets).compile()
    one, three = (jax.jit(learning_together(step.problem, lanes)).lower(*step.arguments).compile() for lanes in (1, 3))
    flops = [program.cost_analysis()["flops"] for program in (single, one, three)]
    assert 3 * flops[1] <= 1.1 * flops[0] and flops[2] <= 1.1 * flops[0]
    memory = [program.memory_analysis().temp_size_in_bytes for program in (single, one)]
    assert memory[1] <= 1.5 * memory[0]


def test_shares_are_taken_in_turn():
    found = shares(np.arange(12).reshape(12, 1), 3)
    assert np.asarray(found)[..., 0].tolist() == [[0, 3, 6, 9], [1, 4, 7, 10], [2, 5, 8, 11]]


def asked(home: Path, out: Path) -> list[str]:
    """A search for three budgets, which have one more in common."""
    (home / "short.yaml").write_text(SPACE)
    limits = ["--family", ",".join(LIMITS[::-1]), "--budget", "2kparams"]
    options = ["--epochs", "1", "--side", "12", "--preset", "smoke", "--out", str(out)]
    return [str(home / "short.yaml"), *limits, *options]


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """The folder of such a run."""
    home = tmp_path_factory.mktemp("family")
    assert search(*asked(home, home / "out")) == 0
    return home / "out"


@pytest.mark.slow
def test_killed_in_each_of_its_phases_it_goes_on_to_the_same_bytes(tmp_path):
    env = os.environ | {"DNAS_CACHE": str(tmp_path / "cache"), "PYTHONPATH": os.pathsep.join(sys.path)}

    def command(name: str) -> list[str]:
        more = ("--checkpoint-every", "0", "--resume")
        return [sys.executable, "-m", "dnas.search", *asked(tmp_path, tmp_path / name), *more]

    subprocess.run(command("whole"), env=env, check=True, capture_output=True)
    out, killed = tmp_path / "killed", []
    for phase in ("search", "race", "settle"):
        process = subprocess.Popen(command("killed"), env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        while process.poll() is None and not any(row.get("phase") == phase for row in rows_of(out)):
            time.sleep(0.005)
        process.kill()
        process.communicate()
        killed += [phase] * (process.returncode == -signal.SIGKILL)
    assert killed == ["search", "race", "settle"] and not (out / "architecture.json").exists()
    subprocess.run(command("killed"), env=env, check=True, capture_output=True)

    def result(folder: Path) -> dict[str, bytes]:
        files = (
            file for file in folder.rglob("*") if file.is_file() and file.name not in ("provenance.json", "run.json")
        )
        return {str(file.relative_to(folder)): file.read_bytes() for file in files}

    found, expected = result(out), result(tmp_path / "whole")
    assert {f"family/{limit}/weights.safetensors" for limit in LIMITS} < found.keys() == expected.keys()
    assert [name for name, content in expected.items() if found[name] != content] == []


def rows_of(out: Path) -> list[dict]:
    """The whole rows that a run has written so far."""
    file = out / "history.partial.jsonl"
    lines = file.read_text().split("\n")[:-1] if file.is_file() else []
    return [json.loads(line) for line in lines]


def test_each_network_keeps_its_budgets_and_uses_what_it_may(run):
    said = json.loads((run / "family.json").read_text())
    assert [own["budget"] for own in said["members"]] == list(LIMITS)
    for own in said["members"]:
        document = json.loads((run / own["folder"] / "architecture.json").read_text())
        assert 0.97 * own["limit"] <= document["costs"]["macs"] == own["cost"] <= own["limit"]
        assert document["costs"]["params"] <= 2000
        assert document["search"]["budget_satisfied"]
    tightest = json.loads((run / "architecture.json").read_text())
    assert tightest["costs"] == document["costs"]


def test_each_network_is_a_result_like_any_other(run):
    whole = read_run(run)
    assert [m.budget for m in whole.family] == list(LIMITS)  # type: ignore
    table = (run / "family.md").read_text()
    for member in whole.family:  # type: ignore
        own = read_run(run / "family" / member.budget)
        assert own.network is not None and own.network.counted.macs == member.cost
        assert own.rows and all(row.loss is not None for row in own.rows)  # type: ignore
        assert f"family/{member.budget}" in table


def test_the_running_accuracy_counts_the_images_that_steps_have(run):
    rows = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    counted = [row["val_images"] for row in rows if "val_images" in row]
    assert counted and all(images % 15 == 0 for images in counted)  # 16 were asked for, which three cannot share


def test_python_has_the_members(run):
    found = dnas.open_run(run)
    assert list(found.members) == list(LIMITS)  # type: ignore
    for budget, member in found.members.items():  # type: ignore
        assert member.budgets[-1]["budget"] == budget and member.accuracy["settled"] >= 0
        assert member.members == {}


def test_stopped_anywhere_and_continued_ends_in_the_same_bits(tmp_path):
    problem = problem_of(epochs=0.3, finalists=3, rank_images=50, rank_norm_batches=1)
    module, console = strategies.load("dmasking", family=True), Console(quiet=True)
    programs, who = module.compile_programs(problem, Compiler()), identity(problem, "dmasking")

    def journal(folder: str) -> Journal:
        (tmp_path / folder).mkdir(exist_ok=True)
        return Journal(tmp_path / folder, who, every_s=1e9)

    whole = journal("whole")
    expected = advance(module.strategy(problem, programs), whole, Options(), console, problem)
    stopped, found = 0, None
    while found is None:
        part, left = journal("parts"), [7]

        def asked(left=left) -> int:
            left[0] -= 1
            return 15 if left[0] == 0 else 0

        try:
            found = advance(module.strategy(problem, programs), part, Options(resume=True), console, problem, asked)
        except Stopped:
            stopped += 1
    assert stopped >= 4
    assert found.notes == expected.notes and part.rows == whole.rows
    for a, b in zip(jax.tree.leaves(found.arrays), jax.tree.leaves(expected.arrays), strict=True):
        np.testing.assert_array_equal(a, b)
