"""The environment of each process."""

from __future__ import annotations

import pytest

from dnas.errors import InputError
from dnas.fanout.cluster import cores_of_each
from dnas.fanout.devices import THREADS, Devices


def test_each_process_has_a_gpu_of_its_own():
    pair = Devices("cuda", 2)
    assert [pair.environment(n, 2, {}) for n in range(2)] == [{"CUDA_VISIBLE_DEVICES": n} for n in "01"]
    assert Devices("rocm", 2).environment(1, 2, {}) == {"ROCR_VISIBLE_DEVICES": "1"}
    for name in ("HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"):
        assert Devices("rocm", 2).environment(1, 2, {name: "2,3"}) == {name: "3"}
    own = {"CUDA_VISIBLE_DEVICES": "4,7"}
    shared = [pair.environment(n, 4, own) for n in range(4)]
    assert [e["CUDA_VISIBLE_DEVICES"] for e in shared] == ["4", "7", "4", "7"]
    assert {e["XLA_PYTHON_CLIENT_MEM_FRACTION"] for e in shared} == {"0.450"}
    given = {"XLA_PYTHON_CLIENT_MEM_FRACTION": "0.2"}
    assert pair.environment(0, 4, given)["XLA_PYTHON_CLIENT_MEM_FRACTION"] == "0.2"


def test_each_process_has_a_chip_of_a_tpu_and_talks_to_no_other():
    four = [Devices("tpu", 4).environment(n, 4, {"A": "b"}) for n in range(4)]
    assert [e["TPU_VISIBLE_CHIPS"] for e in four] == list("0123")
    assert len({e["TPU_PROCESS_PORT"] for e in four}) == len({e["TPU_PROCESS_ADDRESSES"] for e in four}) == 4
    assert four[1] == {
        "A": "b", "TPU_VISIBLE_CHIPS": "1", "TPU_PROCESS_BOUNDS": "1,1,1", "TPU_CHIPS_PER_PROCESS_BOUNDS": "1,1,1",
        "TPU_PROCESS_ADDRESSES": "localhost:8477", "TPU_PROCESS_PORT": "8477", "CLOUD_TPU_TASK_ID": "0",
    }  # fmt: skip
    chosen = Devices("tpu", 2).environment(1, 2, {"TPU_VISIBLE_CHIPS": "2,3"})
    assert chosen["TPU_VISIBLE_CHIPS"] == "3"
    with pytest.raises(InputError, match="--workers: processes cannot share a TPU .*up to 4"):
        Devices("tpu", 4).check(5)
    Devices("cuda", 1).check(5)


def test_processes_of_a_cpu_share_its_cores_and_what_the_user_has_set_stays():
    cpu = Devices("cpu", 1, 8)
    assert cpu.environment(0, 1, {"A": "b"}) == {"A": "b"}
    assert cpu.environment(2, 3, {}) == dict.fromkeys(THREADS, "2")
    assert cpu.environment(0, 20, {"OMP_NUM_THREADS": "5"}) == dict.fromkeys(THREADS, "1") | {"OMP_NUM_THREADS": "5"}


def test_devices_of_a_kind_that_is_not_known_are_left_to_jax():
    assert Devices("METAL", 1).environment(0, 2, {"A": "b"}) == {"A": "b"}


@pytest.mark.parametrize(("workers", "gpus"), [(3, 2), (5, 4), (4, 2), (7, 3), (9, 1)])
def test_shares_of_a_gpu_are_never_more_than_all_of_it(workers, gpus):
    several = [Devices("cuda", gpus).environment(n, workers, {}) for n in range(workers)]
    for gpu in map(str, range(gpus)):
        own = [float(e["XLA_PYTHON_CLIENT_MEM_FRACTION"]) for e in several if e["CUDA_VISIBLE_DEVICES"] == gpu]
        assert 0.4 < sum(own) <= 0.9


@pytest.mark.parametrize(
    ("machines", "count", "each"),
    [((8, 8), 1, 8), ((4, 4, 4), 2, 4), ((4, 12), 2, 6), ((4, 12), 5, 3), ((2, 2), 4, 1), ((16,), 3, 5)],
)
def test_every_task_of_a_cluster_fits_a_machine(machines, count, each):
    assert cores_of_each(machines, count) == each
    assert sum(cores // each for cores in machines) >= count
