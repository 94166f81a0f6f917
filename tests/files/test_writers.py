"""Every writer under a full disk, a read-only folder and a kill in mid-write: the former file whole, or none."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from dnas.cli import entry
from dnas.cost.latency_table import read_table, write_table
from dnas.errors import UserError, what_to_try
from dnas.export.write import export
from dnas.files import write_atomic, write_json
from dnas.grammar.catalogue import find_table
from dnas.learning.weights import write_tensors
from dnas.measure.measurement import Measurement
from dnas.measure.measurement import save as save_measurement
from dnas.report.write import write_report

ROOT = Path(__file__).parents[2]
RUN = ROOT / "tests" / "report" / "runs" / "tiny-0"
BIG = 400_000
"""Bytes that none of the small disks below holds."""


def write_bytes(path: Path) -> None:
    write_atomic(path, os.urandom(BIG))


def json_file(path: Path) -> None:
    write_json(path, {"text": "x" * BIG})


def history(path: Path) -> None:
    write_atomic(path, "\n".join(json.dumps({"step": n, "loss": 1.0}) for n in range(BIG // 20)) + "\n")


def tensors(path: Path) -> None:
    write_tensors(path, {"params/w": np.ones(BIG // 4, np.float32)}, {"format": "x"})


def table(path: Path) -> None:
    small = read_table(find_table("pixel3"))
    entries = {f"conv side=8 in=8 out={n}": 1.0 for n in range(1, BIG // 30)}
    write_table(path, type(small)("big", "d", "r", "ms", entries))


def record(path: Path) -> None:
    results = {f"conv side=8 in=8 out={n} kernel=3": {"ms": 1.0, "repeats": 5} for n in range(BIG // 40)}
    save_measurement(path, Measurement({"runtime": "x"}, "now", [], results))


def page(path: Path) -> None:
    pytest.importorskip("vl_convert", reason="pages need dnas[report]")
    write_report([RUN] * 16, path, overwrite=True)


def exported(path: Path) -> None:
    export("fbnet_c", "torch", None, path, overwrite=True)


WRITERS: dict[str, Callable[[Path], None]] = {
    f.__name__: f for f in (write_bytes, json_file, history, tensors, table, record, page, exported)
}


@pytest.fixture(scope="module")
def small_disk(tmp_path_factory) -> Iterator[Path]:
    """A disk of 256 kB."""
    folder = tmp_path_factory.mktemp("disk")
    mount = shutil.which("mount")
    if os.geteuid() != 0 or mount is None:
        pytest.skip("mounting a small disk needs root")
    done = subprocess.run([mount, "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)], capture_output=True)
    if done.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {done.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def left_alone(path: Path) -> bool:
    return path.read_bytes() == b"former" and [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.fixture
def former(request, small_disk) -> Iterator[Path]:
    path = small_disk / "result.json"
    path.write_bytes(b"former")
    yield path
    for left in small_disk.iterdir():
        left.unlink()


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk(name, former):
    with pytest.raises(UserError, match="disk is full; free some space.*--out") as told:
        WRITERS[name](former)
    assert str(former.with_suffix("")) in str(told.value)
    assert left_alone(former)


def test_checkpoints_on_a_full_disk(small_disk):
    """The former checkpoint is read back whole."""
    import jax.numpy as jnp

    from dnas.learning.checkpoint import Checkpoints

    folder = small_disk / "checkpoints"
    state = {"w": jnp.arange(4000.0)}
    try:
        with Checkpoints(folder, {}) as checkpoints:
            checkpoints.save(1, state, {})
        big = {"w": jnp.asarray(np.random.default_rng(0).normal(size=BIG).astype(np.float32))}
        with pytest.raises(UserError, match="cannot write.*the disk is full; free some space"):
            with Checkpoints(folder, {}) as checkpoints:
                checkpoints.save(2, big, {})
        # Room again, as a user would make it: by removing what the failed write left.
        for left in folder.iterdir():
            if left.name != "1":
                shutil.rmtree(left)
        with Checkpoints(folder, {}) as checkpoints:
            assert np.array_equal(checkpoints.restore(state).state["w"], state["w"])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize("name", ["json_file", "page"])
def test_a_read_only_disk(name, former):
    folder = former.parent
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
    try:
        with pytest.raises(UserError, match="read-only; write to another folder"):
            WRITERS[name](former)
        assert left_alone(former)
    finally:
        subprocess.run(["mount", "-o", "remount,rw", str(folder)], check=True)


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("call", ["write", "fsync", "replace", "mkstemp"])
def test_an_error_of_the_disk_at_any_moment(name, call, tmp_path, monkeypatch):
    """Without root too: each system call of a write fails in turn."""
    path = tmp_path / "result.json"
    path.write_bytes(b"former")
    if call == "write":
        monkeypatch.setattr(os, "fdopen", lambda handle, mode: Failing(handle))
    elif call == "mkstemp":
        monkeypatch.setattr("dnas.files.write.tempfile.mkstemp", full)
    else:
        monkeypatch.setattr(os, call, full)
    with pytest.raises(UserError, match="disk is full"):
        WRITERS[name](path)
    monkeypatch.undo()
    assert left_alone(path)


def full(*arguments, **named):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class Failing:
    """A file that takes half of what it is given and then is full."""

    def __init__(self, handle: int):
        self.handle = handle

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self.handle)

    def write(self, data: bytes) -> None:
        os.write(self.handle, data[: len(data) // 2])
        full()

    def flush(self) -> None: ...

    def fileno(self) -> int:
        return self.handle


CHILD = """
import os, signal, sys
sys.path.insert(0, {root!r})
from pathlib import Path
from tests.files.test_writers import WRITERS
kill = lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL)
moment = {moment!r}
if moment: setattr(os, moment, kill)
WRITERS[{name!r}](Path({path!r}))
"""


def child(name: str, path: Path, moment: str = "") -> subprocess.Popen:
    code = CHILD.format(root=str(ROOT), name=name, path=str(path), moment=moment)
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["json_file", "tensors", "table", "record", "page", "exported"])
@pytest.mark.parametrize("moment", ["fsync", "chmod", "replace"])
def test_a_kill_inside_a_write(name, moment, tmp_path):
    """Killed after the bytes, before they are safe, named and in place: the former file stands."""
    path = tmp_path / "result.json"
    path.write_bytes(b"former")
    done = child(name, path, moment)
    done.communicate()
    assert done.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"former"


LOOP = """
import sys
sys.path.insert(0, {root!r})
from pathlib import Path
from dnas.files import write_json
print("ready", flush=True)
while True:
    for letter in "ab":
        write_json(Path({path!r}), {{"text": letter * 3_000_000}})
"""


@pytest.mark.slow
def test_kills_at_twenty_random_moments(tmp_path):
    """A process that writes without end, killed again and again: never half a file."""
    path = tmp_path / "result.json"
    draw = random.Random(0)
    whole = {json.dumps({"text": letter * 3_000_000}, indent=2) + "\n" for letter in "ab"}
    seen = set()
    for _ in range(20):
        writer = subprocess.Popen(
            [sys.executable, "-c", LOOP.format(root=str(ROOT), path=str(path))], stdout=subprocess.PIPE
        )
        assert writer.stdout is not None and writer.stdout.readline() == b"ready\n"
        time.sleep(draw.uniform(0, 0.05))
        writer.kill()
        writer.wait()
        writer.stdout.close()
        if path.exists():
            seen.add(path.read_text())
    assert seen and seen <= whole


# What is said ---------------------------------------------------------------------------------------------------------


def told(error: BaseException, capsys) -> str:
    def main(_: None) -> None:
        raise error

    assert entry.call(main, None) == 2
    line = capsys.readouterr().err
    assert line.startswith("error: ") and line.count("\n") == 1
    return line


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, "disk is full"), (errno.EROFS, "read-only"), (errno.EACCES, "permission denied"),
        (errno.EDQUOT, "quota"), (errno.EFBIG, "ulimit -f"),
    ],
)  # fmt: skip
def test_limits_of_the_machine_are_one_line(number, said, capsys):
    line = told(OSError(number, os.strerror(number), "/somewhere/x"), capsys)
    assert "/somewhere/x" in line and said in line


def test_out_of_memory_is_one_line(capsys):
    assert "out of memory; try a smaller --batch-size" in told(MemoryError(), capsys)


def test_out_of_memory_in_xla_is_one_line(capsys):
    """A real one: more than any machine has."""
    import jax.numpy as jnp

    def main(_: None) -> None:
        jnp.zeros((1 << 46,), jnp.float32).block_until_ready()

    assert entry.call(main, None) == 2
    line = capsys.readouterr().err
    assert "out of memory; try" in line and "RESOURCE_EXHAUSTED" in line and line.count("\n") == 1


@pytest.mark.parametrize("error", [OSError(errno.EIO, "broken"), ValueError("RESOURCE_EXHAUSTED"), KeyError("x")])
def test_faults_of_our_own_keep_their_traceback(error):
    def main(_: None) -> None:
        raise error

    assert what_to_try(error) is None
    with pytest.raises(type(error)):
        entry.call(main, None)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_standard_output_on_a_full_disk():
    with open("/dev/full", "w") as out:
        done = subprocess.run(
            [sys.executable, "-m", "dnas.count", "fbnet_c"], stdout=out, stderr=subprocess.PIPE, text=True, cwd=ROOT
        )
    assert done.returncode == 2
    assert (
        done.stderr
        == "error: standard output: the disk is full; free some space, or write to another disk with --out\n"
    )


def test_a_name_with_a_null_byte_is_one_line():
    with pytest.raises(UserError, match="not a file name"):
        write_atomic(Path("a\0b"), b"")


def test_a_long_name_can_be_written(tmp_path):
    """The file written before it is renamed must not have a longer name than names may have."""
    path = tmp_path / ("x" * 250)
    write_atomic(path, b"1")
    assert path.read_bytes() == b"1"
