"""`python -m dnas.train` on images that are streamed: the result of those in memory, whatever happens on the way."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from tests.train.test_train import NETWORK, RECIPE, train

Image = pytest.importorskip("PIL.Image")
pytest.importorskip("grain")
pytestmark = pytest.mark.slow


@pytest.fixture
def home(tmp_path):
    """Classes that differ in where they are bright."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 16), ("test", 4)):
        for label in range(3):
            folder = tmp_path / "data" / split / f"class{label}"
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 120, (8, 8), dtype=np.uint8)
                pixels[2 * label : 2 * label + 2] += 120
                Image.fromarray(pixels).save(folder / f"{number:02}.png")
    (tmp_path / "small.yaml").write_text(NETWORK)
    (tmp_path / "recipe.yaml").write_text(RECIPE + "rand_augment: 1\n")
    return tmp_path


def arguments(home, out, *more):
    data, recipe = str(home / "data"), str(home / "recipe.yaml")
    return [str(home / "small.yaml"), "--data", data, "--recipe", recipe, "--out", str(home / out), *more]


def weights(home, out):
    return (home / out / "weights.safetensors").read_bytes()


STREAM = ("--data-in", "stream", "--readers", "2")


def test_an_unreadable_image_ends_a_training_which_goes_on_when_it_is_repaired(home, capsys):
    assert train(*arguments(home, "memory")) == 0
    assert train(*arguments(home, "whole", *STREAM)) == 0
    assert weights(home, "whole") == weights(home, "memory")
    assert "streamed from disk, decoded by 2 processes, as --data-in says" in capsys.readouterr().out
    file = home / "data" / "test" / "class1" / "01.png"
    content = file.read_bytes()
    file.write_bytes(bytes(len(content)))
    assert train(*arguments(home, "broken", *STREAM)) == 2
    error = capsys.readouterr().err
    assert "test/class1/01.png cannot be read" in error and "the same command with --resume goes on" in error
    file.write_bytes(content)
    assert train(*arguments(home, "broken", *STREAM, "--resume")) == 0
    assert weights(home, "broken") == weights(home, "memory")


def test_a_training_that_was_killed_goes_on_with_the_same_batches(home):
    more = (*STREAM, "--checkpoint-every", "0", "--epochs", "40")
    assert train(*arguments(home, "whole", *more)) == 0
    command = [sys.executable, "-m", "dnas.train", *arguments(home, "killed", *more)]
    checkpoints = home / "killed" / "checkpoints"
    with subprocess.Popen(command, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}) as program:
        while program.poll() is None and not any(checkpoints.glob("[0-9]*")):
            time.sleep(0.05)
        program.send_signal(signal.SIGKILL)
    assert not (home / "killed" / "weights.safetensors").exists()
    assert train(*arguments(home, "killed", *more, "--resume")) == 0
    assert weights(home, "killed") == weights(home, "whole")
