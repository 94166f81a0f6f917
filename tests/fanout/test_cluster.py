"""Tasks on a Ray cluster, which is of this machine alone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from rich.console import Console

from dnas.errors import InputError, UserError
from dnas.fanout.choose import chosen
from dnas.fanout.cluster import Cluster
from dnas.fanout.devices import THREADS
from dnas.fanout.run import fan_out
from tests.fanout.chores import task

ray = pytest.importorskip("ray", reason="ray is not installed (extra ray)")
pytestmark = pytest.mark.slow
QUIET = Console(quiet=True)
BEFORE = dict(os.environ)


@pytest.fixture(scope="module", autouse=True)
def cluster():
    """A cluster of two cores, in which the tests' tasks are found by name."""
    before = {name: os.environ.get(name) for name in ("PYTHONPATH", "JAX_PLATFORMS", *THREADS)}
    os.environ["PYTHONPATH"] = str(Path(__file__).parents[2])
    for name in THREADS:
        os.environ.pop(name, None)
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()
    for name, value in before.items():
        os.environ.pop(name, None) if value is None else os.environ.__setitem__(name, value)


def test_it_is_as_on_one_machine(tmp_path):
    """Order, repetition of what is lost, one line for mistakes."""
    pool = chosen(2, "ray")
    assert isinstance(pool, Cluster) and pool.count == 2
    ended: list[int] = []
    tasks = [task("doubled", number=n, seconds=0.0 if n else 3.0) for n in range(3)]
    assert fan_out(pool, tasks, QUIET, "doubling", lambda n, value: ended.append(n)) == [0, 2, 4] and ended[-1] == 0
    assert fan_out(pool, [task("mortal", file=str(tmp_path / "twice"), times=2)], QUIET, "work") == [3]
    with pytest.raises(UserError, match="mortal: its process was lost 3 times, the last time by SIGKILL"):
        fan_out(pool, [task("mortal", file=str(tmp_path / "ever"), times=9)], QUIET, "work")
    with pytest.raises(UserError, match="^mistaken: no such image$"):
        fan_out(pool, [task("mistaken")], QUIET, "work")


def test_when_one_cannot_be_done_the_others_are_asked_to_save(tmp_path):
    file = tmp_path / "long"
    with pytest.raises(UserError, match="no such image"):
        fan_out(chosen(2, "ray"), [task("long", file=str(file)), task("mistaken_after", file=str(file))], QUIET, "work")
    assert file.read_text() == "saved"


def test_cores_are_shared_and_one_a_machine_is_the_rule():
    names = list(THREADS)
    assert set(fan_out(chosen(2, "ray"), [task("environment", names=names)], QUIET, "work")[0].values()) == {"1"}
    assert chosen(None, "ray").count == 1


def test_tasks_compute_where_they_may_while_the_command_leaves_the_devices_to_them():
    found = fan_out(chosen(1, "ray"), [task("environment", names=["JAX_PLATFORMS"])], QUIET, "work")
    assert os.environ["JAX_PLATFORMS"] == "cpu" and found[0]["JAX_PLATFORMS"] == BEFORE.get("JAX_PLATFORMS")


def test_more_than_the_cluster_has_is_refused():
    with pytest.raises(InputError, match="--workers: the cluster has 2 cores and 0 GPUs .*up to 2"):
        chosen(3, "ray")
