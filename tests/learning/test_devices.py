"""Several devices compute what one does. A CPU simulates them, in processes of their own (`on_devices.py`)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from dnas.errors import InputError
from dnas.process import devices
from dnas.runs.result import read_result

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def simulating(count: int) -> dict[str, str]:
    """An environment with so many devices, in which one device computes as each of several does."""
    return os.environ | {"JAX_NUM_CPU_DEVICES": str(count), "DNAS_KERNELS": "0", "PYTHONPATH": str(ROOT)}


def found(check: str, *counts: int) -> dict[int, dict[str, Any]]:
    """What `on_devices.py` finds, by the number of devices."""
    command = [sys.executable, str(HERE / "on_devices.py"), check, *map(str, counts)]
    done = subprocess.run(command, env=simulating(max(counts)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {int(count): of for count, of in json.loads(done.stdout).items()}


def same_gradients(of: dict[int, dict[str, Any]]) -> None:
    one = of[1]
    for count, other in of.items():
        np.testing.assert_allclose(other["loss"], one["loss"], rtol=1e-6)
        for name, wanted in one["values"].items():
            scale = np.max(np.abs(wanted))
            np.testing.assert_allclose(other["values"][name], wanted, atol=1e-5 * scale, err_msg=f"{name} on {count}")


def of_kind(found: dict[str, Any], *kinds: str) -> list[list[str]]:
    return [shapes for kind, shapes in found["exchanges"] if kind in kinds]


def are_of_norms(found: dict[str, Any], parts: int) -> None:
    """Mean and variance of each channel, forward and back, and nothing of an image, are exchanged by these."""
    for (shape,) in of_kind(found, "all-gather"):
        assert shape.startswith(f"f32[{parts},2,"), shape
    for (shape,) in of_kind(found, "reduce-scatter"):
        assert shape.startswith("f32[1,2,"), shape


def test_a_step_of_a_search_is_the_same_on_eight_devices_and_reduces_gradients_once():
    of = found("gradients", 1, 8)
    same_gradients(of)
    assert not of[1]["exchanges"]
    # The one reduction: of all gradients in one vector, with the means of loss and accuracy.
    (reduced,) = of_kind(of[8], "all-reduce")
    gradients = sum(len(v) for name, v in of[1]["values"].items() if not name.startswith("running"))
    assert Counter(reduced) == Counter({"f32[]": 2, f"f32[{gradients}]": 1})
    are_of_norms(of[8], 8)
    assert not of_kind(of[8], "collective-permute", "all-to-all")
    assert of[8]["temporary"] < of[1]["temporary"] / 8 * 1.5


def test_a_training_draws_the_same_for_each_image_on_eight_devices():
    of = found("trained", 1, 8)
    np.testing.assert_allclose(of[8]["losses"], of[1]["losses"], rtol=1e-3)
    sizes = sorted(of_kind(of[8], "all-reduce"), key=str)
    # Gradients with the loss; how many are right; mean and spread of the pixels, with which images are covered.
    (gradients,) = (shapes for shapes in sizes if "f32[]" in shapes)
    assert len(gradients) == 2
    assert [shapes for shapes in sizes if shapes != gradients] == [["f32[1]", "f32[1]"], ["f32[1]"], ["s32[]"]]
    # An image is mixed with its mirror in the batch, which another device has, and so are their labels.
    assert of_kind(of[8], "collective-permute") == [["f32[4,2]"], ["f32[4,16,16,1]"]]
    are_of_norms(of[8], 8)
    assert of[8]["temporary"] < of[1]["temporary"] / 8 * 1.5


def test_a_step_of_a_family_is_the_same_on_any_number_of_devices():
    of = found("family", 1, 3)  # a batch of 15 has three parts on three devices, a share of five is on each of them
    assert (of[1]["batch"], of[1]["steps"]) == (of[3]["batch"], of[3]["steps"]) == (15, of[1]["steps"])
    same_gradients(of)


@pytest.mark.slow
def test_gradients_are_the_same_on_any_number_of_devices():
    of = found("gradients", 1, 2, 4, 8)
    same_gradients(of)
    for count in (2, 4, 8):
        assert len(of_kind(of[count], "all-reduce")) == 1
        assert of[count]["temporary"] < of[1]["temporary"] / count * 1.5


@pytest.mark.slow
@pytest.mark.parametrize("check", ["losses", "trained"])
def test_losses_of_twenty_steps_are_the_same_on_any_number_of_devices(check):
    of = found(check, 1, 2, 4, 8)
    for count in (2, 4, 8):
        np.testing.assert_allclose(of[count]["losses"], of[1]["losses"], rtol=1e-3)


def test_a_batch_is_divided_evenly_or_some_devices_repeat_work():
    eight = devices.of([jax.devices()[0]] * 8)
    assert (eight.parts(32), eight.share(32), eight.note(32)) == (8, 4, [])
    assert (eight.parts(100), eight.share(100)) == (4, 25)
    (line,) = eight.note(100)
    assert "4 equal parts on 8 devices" in line and "a multiple of 8" in line
    assert devices.ONE.note(7) == [] and devices.ONE.share(7) == 7


def test_more_devices_than_there_are_is_one_line():
    with pytest.raises(InputError, match=r"--devices: JAX sees \d+ here \(found 1000; accepted: 1 to"):
        devices.chosen(1000)
    with pytest.raises(InputError, match="--devices"):
        devices.chosen(0)
    assert devices.chosen() == devices.chosen(1) == devices.ONE


# Commands -------------------------------------------------------------------------------------------------------------

SPACE = """
name: short
input: {channels: 1, classes: 10, resolution: {choices: [8, 12]}}
trunk:
  - conv: {out: 8, stride: 2, kernel: 3, act: relu}
  - one_of:
      - mbconv: {out: 8, hidden: 16, kernel: {choices: [3, 5]}}
      - skip: {out: 8}
  - conv: {out: {range: [8, 16, 4]}, kernel: 1, act: relu}
head: [{pool: {}}, {linear: {out: $classes}}]
"""


def searching(home: Path, out: Path, count: int, *more: str) -> list[str]:
    (home / "short.yaml").write_text(SPACE)
    words = [str(home / "short.yaml"), "--budget", "0.025MFLOPs", "--preset", "smoke", "--side", "12"]
    return [sys.executable, "-m", "dnas.search", *words, "--out", str(out), "--devices", str(count), *more]


def simulating_in(home: Path, count: int) -> dict[str, str]:
    """With a cache of compiled programs for all that is run there."""
    return simulating(count) | {"DNAS_CACHE": str(home / "cache")}


def losses_of(folder: Path) -> list[float]:
    rows = map(json.loads, (folder / "history.jsonl").read_text().splitlines())
    return [row["loss"] for row in rows if "loss" in row]


@pytest.mark.slow
@pytest.mark.parametrize(
    "count, more",
    [
        (8, ["--strategy", "dmasking"]),
        (4, ["--strategy", "slimming", "--low-memory"]),
        (2, ["--strategy", "sandwich", "--distill"]),
        (4, ["--strategy", "evolution"]),
        (8, ["--strategy", "random", "--paths", "0", "--resolution-paths", "0"]),
        (3, ["--strategy", "random", "--batch-size", "12"]),
    ],
)
def test_every_strategy_searches_as_on_one_device_and_its_network_is_trained(count, more, tmp_path):
    for n in (1, count):
        subprocess.run(searching(tmp_path, tmp_path / str(n), n, *more), env=simulating_in(tmp_path, count), check=True)
        trained = ["-m", "dnas.train", str(tmp_path / str(n)), "--epochs", "0.5", "--batch-size", "24"]
        trained += ["--out", str(tmp_path / f"trained{n}"), "--devices", str(n)]
        subprocess.run([sys.executable, *trained], env=simulating_in(tmp_path, count), check=True)
    np.testing.assert_allclose(losses_of(tmp_path / str(count)), losses_of(tmp_path / "1"), rtol=1e-3)
    np.testing.assert_allclose(losses_of(tmp_path / f"trained{count}"), losses_of(tmp_path / "trained1"), rtol=1e-3)


@pytest.mark.slow
def test_a_checkpoint_of_eight_devices_goes_on_on_one_and_two(tmp_path):
    out = tmp_path / "run"
    command = searching(tmp_path, out, 8, "--checkpoint-every", "0")
    run = subprocess.Popen(command, env=simulating_in(tmp_path, 8), stdout=subprocess.PIPE)
    while not any(path.name.isdigit() and int(path.name) >= 5 for path in (out / "checkpoints").glob("*")):
        assert run.poll() is None
        time.sleep(0.01)
    run.kill()
    run.wait()
    for count in (8, 2, 1):
        shutil.copytree(out, tmp_path / str(count))
        more = searching(tmp_path, tmp_path / str(count), count, "--resume")
        done = subprocess.run(more, env=simulating_in(tmp_path, 8), check=True, capture_output=True, text=True)
        assert "continued after step" in done.stdout
    for count in (2, 1):
        np.testing.assert_allclose(losses_of(tmp_path / str(count)), losses_of(tmp_path / "8"), rtol=1e-3)
        mine, theirs = (read_result(tmp_path / n).space.document.data for n in (str(count), "8"))
        assert mine["trunk"] == theirs["trunk"]
