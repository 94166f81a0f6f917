"""Checkpoints: equal bits after restore, whole after a kill, refused for another run."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dnas.cli.entry import call
from dnas.errors import InputError, Stopped
from dnas.learning.checkpoint import Checkpoints, differences, quiet
from dnas.learning.pace import Pace
from dnas.process.interrupt import asked_to_stop

ROOT = Path(__file__).parents[2]
IDENTITY = {"options": {"seed": 0, "lr": 0.1}, "data": "abc", "versions": {"jax": "1"}}


def state(seed: int = 0):
    """Every kind of leaf: parameters with dots in their names, optimiser state, integers, keys, nothing at all."""
    params = {"trunk.0.conv.weight": jax.random.normal(jax.random.key(seed), (3, 4)), "packed": jnp.arange(5.0)}
    return {
        "params": params, "opt": optax.adamw(0.1).init(params), "step": jnp.asarray(seed, jnp.int32),
        "key": jax.random.key(seed), "none": jnp.zeros((0, 3)), "tuple": (jnp.ones(()), None),
    }  # fmt: skip


def bits(tree) -> list[bytes]:
    leaves = jax.tree.leaves(tree)
    is_key = [jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) for leaf in leaves]
    return [
        np.asarray(jax.random.key_data(leaf) if k else leaf).tobytes() for leaf, k in zip(leaves, is_key, strict=True)
    ]


def test_restores_the_same_bits_types_and_notes(tmp_path):
    with Checkpoints(tmp_path, IDENTITY) as checkpoints:
        assert checkpoints.latest() is None
        checkpoints.save(7, state(7), {"history": ["a", "b"], "best": None})
    with Checkpoints(tmp_path, IDENTITY) as checkpoints:
        saved = checkpoints.restore(state(0))
        shapes = checkpoints.restore(jax.eval_shape(lambda: state(0)))
    assert saved.step == 7 and saved.notes == {"history": ["a", "b"], "best": None}
    assert bits(saved.state) == bits(state(7)) == bits(shapes.state)
    assert jax.tree.structure(saved.state) == jax.tree.structure(state(7))
    assert [leaf.dtype for leaf in jax.tree.leaves(saved.state)] == [leaf.dtype for leaf in jax.tree.leaves(state(7))]


def test_donated_arrays_are_saved_as_they_were(tmp_path):
    double = jax.jit(lambda tree: jax.tree.map(lambda x: 2 * x, tree), donate_argnums=0)
    values = {"w": jnp.arange(100_000.0)}
    with Checkpoints(tmp_path, IDENTITY) as checkpoints:
        checkpoints.save(1, values, {})
        values = double(values)
        np.testing.assert_array_equal(checkpoints.restore(values).state["w"], np.arange(100_000.0))


def test_keeps_the_last_few(tmp_path):
    with Checkpoints(tmp_path, IDENTITY, keep=2) as checkpoints:
        for step in (1, 2, 3):
            checkpoints.save(step, state(step), {})
        assert checkpoints.latest() == 3
        assert sorted(p.name for p in tmp_path.iterdir()) == ["2", "3"]


def test_another_run_is_refused_with_the_difference_named(tmp_path):
    with Checkpoints(tmp_path, IDENTITY) as checkpoints:
        checkpoints.save(1, state(1), {})
    other = {"options": {"seed": 1, "lr": 0.1, "ema": True}, "data": "abc", "versions": {"jax": "1"}}
    with Checkpoints(tmp_path, other) as checkpoints:
        with pytest.raises(InputError, match="options.seed was 0, is 1; options.ema was missing, is True.*--force"):
            checkpoints.restore(state())
        assert checkpoints.restore(state(), force=True).step == 1


def test_differences_name_every_place():
    assert differences({"a": {"b": 1}, "c": [1]}, {"a": {"b": 1}, "c": [1]}) == []
    assert differences({"a": {"b": 1}, "c": [1]}, {"a": {"b": 2}, "d": 0}) == [
        "a.b was 1, is 2", "c was [1], is missing", "d was missing, is 0",
    ]  # fmt: skip
    assert differences({"a": True}, {"a": 1}) == ["a was True, is 1"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: {**s, "step": jnp.zeros(3)}, r"shape of '\['step'\]'"),
        (lambda s: {**s, "more": jnp.zeros(3)}, r"misses '\['more'\]'"),
        (lambda s: {k: v for k, v in s.items() if k != "step"}, r"beyond what this run needs, '\['step'\]'"),
    ],
)
def test_other_shapes_are_refused_even_by_force(change, said, tmp_path):
    with Checkpoints(tmp_path, IDENTITY) as checkpoints:
        checkpoints.save(1, state(1), {})
        with pytest.raises(InputError, match=said):
            checkpoints.restore(change(state()), force=True)


def test_nothing_to_continue_from(tmp_path):
    with Checkpoints(tmp_path / "none", IDENTITY) as checkpoints, pytest.raises(InputError, match="no checkpoint"):
        checkpoints.restore(state())


def test_damage_names_the_checkpoint_and_the_former_one(tmp_path):
    with Checkpoints(tmp_path, IDENTITY) as checkpoints:
        checkpoints.save(1, state(1), {})
        checkpoints.save(2, state(2), {})
    for file in (tmp_path / "2" / "state").rglob("*"):
        if file.is_file() and file.stat().st_size > 40:
            file.write_bytes(file.read_bytes()[:20])
    with Checkpoints(tmp_path, IDENTITY) as checkpoints:
        with pytest.raises(InputError, match=r"/2: not a readable checkpoint.*continue from step 1"):
            checkpoints.restore(state())


def test_a_folder_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Exception, match="cannot write a checkpoint"):
        Checkpoints(tmp_path / "file" / "inside", IDENTITY)


WRITER = """
import sys, jax.numpy as jnp
from pathlib import Path
from dnas.learning.checkpoint import Checkpoints
checkpoints = Checkpoints(Path(sys.argv[1]), {"run": 1})
checkpoints.save(1, {"w": jnp.arange(16_000_000.0)}, {"step": 1})
checkpoints.wait()
print("first is whole", flush=True)
checkpoints.save(2, {"w": -jnp.arange(16_000_000.0)}, {"step": 2})
checkpoints.close()
"""


def test_a_kill_in_mid_write_leaves_the_former_checkpoint_whole(tmp_path):
    """SIGKILL while the second checkpoint's temporary folder is being filled."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for attempt in range(5):
        folder = tmp_path / str(attempt)
        child = subprocess.Popen([sys.executable, "-c", WRITER, folder], env=environment, stdout=subprocess.PIPE)
        assert child.stdout is not None and child.stdout.readline() == b"first is whole\n"
        while child.poll() is None and not any(p.name.startswith("2.") for p in folder.iterdir()):
            time.sleep(0.0005)
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        if not (folder / "2").exists():
            break
    else:
        pytest.fail("no kill fell into a write")
    assert any(p.name.startswith("2.") for p in folder.iterdir())
    with Checkpoints(folder, {"run": 1}) as checkpoints:
        saved = checkpoints.restore({"w": jax.ShapeDtypeStruct((16_000_000,), jnp.float32)})
        assert saved.step == 1 and saved.notes == {"step": 1}
        np.testing.assert_array_equal(saved.state["w"], np.arange(16_000_000, dtype=np.float32))
        checkpoints.save(2, {"w": jnp.ones(3)}, {})  # the remains are not in the way
        assert checkpoints.latest() == 2


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_asks_the_loop_to_stop(number, code, capsys):
    def main(_):
        with asked_to_stop() as asked:
            for step in range(10_000):
                if step == 3:
                    os.kill(os.getpid(), number)
                if asked():
                    raise Stopped(f"stopped after step {step}", asked())
        raise AssertionError("was not asked")

    before = signal.getsignal(number)
    assert call(main, None) == code
    assert capsys.readouterr().err == "stopped after step 3\n"
    assert signal.getsignal(number) is before


def test_a_second_signal_ends_at_once():
    with pytest.raises(KeyboardInterrupt), asked_to_stop() as asked:
        os.kill(os.getpid(), signal.SIGTERM)
        assert asked() == signal.SIGTERM
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(1)


def test_the_outer_one_learns_of_a_signal_that_the_inner_one_passed_over():
    """It came while a training wrote its result: the next one of a comparison was begun."""
    with asked_to_stop() as outer:
        with asked_to_stop() as inner:
            os.kill(os.getpid(), signal.SIGINT)
            assert (inner(), outer()) == (signal.SIGINT, 0)
        assert outer() == signal.SIGINT
    with asked_to_stop() as later:
        assert later() == 0


def test_a_changed_document_is_refused(tmp_path):
    """JSON has no checksum of its own: one other letter would otherwise be read as another history."""
    with Checkpoints(tmp_path, IDENTITY) as checkpoints:
        checkpoints.save(1, state(), {"history": ["abc"]})
    file = tmp_path / "1" / "document" / "metadata"
    for old, new in ((b"abc", b"abd"), (b'"identity"', b'"identitx"'), (b'"notes"', b'"nodes"')):
        whole = file.read_bytes()
        assert old in whole
        file.write_bytes(whole.replace(old, new))
        with (
            Checkpoints(tmp_path, IDENTITY) as checkpoints,
            pytest.raises(InputError, match="not a readable checkpoint"),
        ):
            checkpoints.restore(state())
        file.write_bytes(whole)
    with Checkpoints(tmp_path, IDENTITY) as checkpoints:
        assert checkpoints.restore(state()).notes == {"history": ["abc"]}


class Watch:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def paced(every_s: float | None, cost_s: float, run_s: float) -> tuple[int, float]:
    """Checkpoints of a run of one-second steps, and the share of its time that they take."""
    watch = Watch()
    pace, saved = Pace(every_s, watch), 0
    while watch.now < run_s:
        watch.now += 1
        if pace.due():
            saved += 1
            with pace.saving():
                watch.now += cost_s
    return saved, pace.seconds / watch.now


def test_checkpoints_take_little_of_the_time_unless_asked_for():
    assert paced(None, 0.1, 30) == (0, 0.0), "begun anew sooner than saved"
    assert paced(None, 0.1, 600)[0] in range(9, 11), "every minute"
    for cost_s in (1, 5, 30):
        saved, share = paced(None, cost_s, 36000)
        assert saved >= 10 and share <= 0.02, (cost_s, saved, share)
    saved, share = paced(0, 5, 600)
    assert saved == 100 and share > 0.5, "an interval that was given is kept"


@pytest.mark.parametrize("seconds", [math.nan, math.inf, -1.0])
def test_seconds_between_checkpoints_are_a_finite_number(seconds):
    with pytest.raises(InputError, match="--checkpoint-every: out of range"):
        Pace(seconds)


def test_what_a_reader_tells_while_a_checkpoint_is_read_comes_afterwards(capsys):
    """The noise of the library that reads it does not."""
    with quiet():
        print("left out: a.png cannot be read; b.png takes its place", file=sys.stderr)
        print("noise", file=sys.stderr)
    assert capsys.readouterr().err == "left out: a.png cannot be read; b.png takes its place\n"
