"""One run in two processes that meet on this machine."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from dnas.data.batches import batch_indices
from dnas.errors import InputError
from dnas.process import hosts
from dnas.process.hosts import Hosts

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SPACE = """
name: short
input: {channels: 1, classes: 10, resolution: 12}
trunk:
  - conv: {out: 8, stride: 2, kernel: 3, act: relu}
  - conv: {out: {range: [8, 16, 4]}, kernel: 1, act: relu}
head: [{pool: {}}, {linear: {out: $classes}}]
"""
SEARCH = ["dnas.search", "SPACE", "--budget", "0.02MFLOPs", "--preset", "smoke", "--epochs", "0.5", "--side", "12"]
TRAINING = ["dnas.train", "SEARCHED", "--epochs", "1", "--batch-size", "32"]
STREAM = ["--data", "IMAGES", "--data-in", "stream", "--readers", "1", "--batch-size", "16"]
STREAMED = [*SEARCH[:-4], "--epochs", "12", "--side", "12", *STREAM]


def address() -> str:
    """Where processes can meet."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


def started(home: Path, out: Path, command: list[str], *more: str) -> list[subprocess.Popen]:
    """Both processes of a run, the first one first."""
    words = [*spelled(home, command), "--out", str(out), *more, "--checkpoint-every", "0"]
    words += ["--coordinator", address(), "--processes", "2", "--process"]
    return [
        subprocess.Popen(
            [*words, str(n)], env=environment(home), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for n in range(2)
    ]


def spelled(home: Path, command: list[str]) -> list[str]:
    """The command with the paths of this machine."""
    named = {"SPACE": home / "short.yaml", "SEARCHED": home / "search", "IMAGES": home / "images"}
    return [sys.executable, "-m", *(str(named.get(word, word)) for word in command)]


def environment(home: Path) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT), "DNAS_KERNELS": "0", "DNAS_CACHE": str(home / "cache")}


def draw(home: Path) -> None:
    """Ten classes of image files that differ in which of their rows are bright."""
    image = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(0)
    for split, count in (("train", 12), ("test", 3)):
        for label in range(10):
            folder = home / "images" / split / f"class{label}"
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 120, (12, 12), dtype=np.uint8)
                pixels[label : label + 2] += 120
                image.fromarray(pixels).save(folder / f"{number:02}.png")


def saved(run: list[subprocess.Popen], out: Path) -> None:
    """Returns when the run has a whole checkpoint."""
    while not any(path.name.isdigit() for path in (out / "checkpoints").glob("*")):
        assert run[0].poll() is None, run[0].communicate()
        time.sleep(0.01)


def ended(run: list[subprocess.Popen]) -> list[tuple[int, str, str]]:
    """Exit code, standard output and errors of each."""
    said = [process.communicate(timeout=400) for process in run]
    return [(process.returncode, *texts) for process, texts in zip(run, said, strict=True)]


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A folder with the space and a search of it that nothing has broken."""
    home = tmp_path_factory.mktemp("hosts")
    (home / "short.yaml").write_text(SPACE)
    draw(home)
    (first, second) = ended(started(home, home / "search", SEARCH))
    assert (first[0], second[0]) == (0, 0), first[2] + second[2]
    assert "2 devices, cpu" in first[1] and "dnas.train" in first[1]
    assert all(line.startswith("[Gloo]") for line in second[1].splitlines()), second[1]  # a library's own
    return home


def unbroken(home: Path, command: list[str]) -> Path:
    """The folder of the command's run that nothing has broken, run once."""
    out = home / ("search" if command is SEARCH else "training" if command is TRAINING else "streamed")
    if not out.exists():
        said = ended(started(home, out, command))
        assert [code for code, *_ in said] == [0, 0], said
    return out


def same_bytes(out: Path, whole: Path) -> None:
    for name in ("architecture.json", "weights.safetensors", "history.jsonl"):
        assert (out / name).read_bytes() == (whole / name).read_bytes(), name


@pytest.mark.slow
@pytest.mark.parametrize("command", [SEARCH, TRAINING, STREAMED], ids=["search", "training", "streamed"])
@pytest.mark.parametrize("lost", [0, 1])
def test_a_run_that_lost_a_process_goes_on_to_the_same_bytes(home, tmp_path, command, lost):
    whole = unbroken(home, command)
    out = tmp_path / "run"
    run = started(home, out, command)
    saved(run, out)
    run[lost].send_signal(signal.SIGKILL)
    code, _, said = ended(run)[1 - lost]
    assert code == 2 and said.splitlines()[-1] == f"error: {hosts.LOST}", said
    assert [line for line in said.splitlines() if not line.startswith("note:")][1:] == []
    resumed = ended(started(home, out, command, "--resume"))
    assert [code for code, *_ in resumed] == [0, 0], resumed
    assert "continued after step" in resumed[0][1]
    same_bytes(out, whole)


@pytest.mark.slow
def test_streamed_shares_of_two_processes_give_what_one_process_learns(home, tmp_path):
    whole, out = unbroken(home, STREAMED), tmp_path / "one"
    alone = [*spelled(home, STREAMED), "--out", str(out), "--devices", "2"]
    subprocess.run(alone, env=environment(home) | {"JAX_NUM_CPU_DEVICES": "2"}, check=True, capture_output=True)
    found, expected = (
        [row["loss"] for row in map(json.loads, (folder / "history.jsonl").read_text().splitlines()) if "loss" in row]
        for folder in (out, whole)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-3)


@pytest.mark.slow
def test_an_image_that_one_process_cannot_read_is_named_by_it_and_the_run_goes_on_when_it_is_repaired(home, tmp_path):
    whole, out = unbroken(home, STREAMED), tmp_path / "run"
    file = home / "images" / "train" / "class4" / "07.png"
    content = file.read_bytes()
    run = started(home, out, STREAMED)
    saved(run, out)
    file.write_bytes(bytes(len(content)))
    try:
        said = ended(run)
    finally:
        file.write_bytes(content)
    assert [code for code, *_ in said] == [2, 2], said
    named, others = sorted((text for *_, text in said), key=lambda text: "class4/07.png cannot be read" not in text)
    assert "class4/07.png cannot be read" in named and hosts.LOST in others, said
    resumed = ended(started(home, out, STREAMED, "--resume"))
    assert [code for code, *_ in resumed] == [0, 0], resumed
    same_bytes(out, whole)


@pytest.mark.slow
def test_a_signal_to_all_saves_once_and_ends_all(home, tmp_path):
    out = tmp_path / "run"
    run = started(home, out, SEARCH)
    saved(run, out)
    for process in run:
        process.send_signal(signal.SIGTERM)
    (first, _, said), (second, *_) = ended(run)
    assert (first, second) == (143, 143) and "--resume goes on" in said


def test_each_process_reads_the_rows_of_its_own_devices_and_all_learn_from_the_whole_batch():
    env = os.environ | {"PYTHONPATH": str(ROOT), "DNAS_KERNELS": "0", "JAX_NUM_CPU_DEVICES": "2"}
    words = [sys.executable, str(HERE / "on_hosts.py"), address(), "2"]
    run = [
        subprocess.Popen([*words, str(n)], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for n in range(2)
    ]
    said = ended(run)
    assert [code for code, *_ in said] == [0, 0], said
    first, second = (json.loads(out.splitlines()[-1]) for _, out, _ in said)
    assert first["devices"] == second["devices"] == 4
    every = np.arange(40)
    wanted = {f"batch {size}": batch_indices(every, size, 0, 3).tolist() for size in (16, 12, 7)}
    wanted["filled"] = [30, 31, 32, 33, 34, 30, 31, 32]
    for name, whole in wanted.items():
        half = len(whole) // 2
        shares = (whole, whole) if name == "batch 7" else (whole[:half], whole[half:])  # 7 do not divide by 4
        for found, share in zip((first[name], second[name]), shares, strict=True):
            assert found["images"] == [image * 12 % 256 for image in whole]
            assert found["labels"] == (whole if name != "filled" else [*whole[:5], -1, -1, -1])
            assert found["asked"] == sorted(share), name


@pytest.fixture
def two_copies(tmp_path) -> Path:
    """A folder with the space and two copies of the images, one of which lacks a few."""
    (tmp_path / "short.yaml").write_text(SPACE)
    draw(tmp_path)
    (tmp_path / "images").rename(tmp_path / "images0")
    shutil.copytree(tmp_path / "images0", tmp_path / "images1")
    for file in sorted((tmp_path / "images1" / "train" / "class3").iterdir())[:5]:
        file.unlink()
    return tmp_path


def given(home: Path, what: str) -> list[tuple[int, str, str]]:
    """How both processes of `given_on_hosts.py` ended, within a minute or two."""
    words, meet = [sys.executable, str(HERE / "given_on_hosts.py")], address()
    run = [
        subprocess.Popen(
            [*words, meet, str(n), what, str(home)], env=environment(home), stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True,
        )
        for n in range(2)
    ]  # fmt: skip
    return ended(run)


def test_other_data_on_one_host_are_one_line_on_all_before_the_first_step(two_copies):
    for code, _, said in given(two_copies, "data"):
        line = said.splitlines()[-1]
        assert code == 2 and line.startswith("error: --coordinator: process 1 was not given what process 0 was: other")
    assert not (two_copies / "out").exists()


def test_the_first_process_decides_where_images_are_kept(two_copies):
    said = given(two_copies, "memory")
    assert [code for code, *_ in said] == [0, 0], said
    first, second = (json.loads(out.splitlines()[-1]) for _, out, _ in said)
    assert first == second and first["streamed"] is False
    assert first["each"] == [{"number": 0, "text": ""}, {"number": 1, "text": "ä"}]


def test_a_fault_on_one_host_ends_all_at_once_with_its_traceback(tmp_path):
    began = time.monotonic()
    first, second = given(tmp_path, "fault")
    assert time.monotonic() - began < 120  # JAX would wait for the other process for 300 s
    assert second[0] == 1 and "Traceback" in second[2] and "RuntimeError: a fault of ours" in second[2]
    assert first[0] == 2 and first[2].splitlines()[-1] == f"error: {hosts.LOST}", first


@pytest.mark.parametrize(
    "given, said",
    [
        (("host", 2, 0), "--coordinator: no address"),
        (("host:1", None, 0), "--coordinator: how many processes"),
        (("host:1", 2, 2), "--process: out of range"),
        ((None, 2, 0), "--processes, --process: nothing says where they meet"),
        (("auto", 2, 0), "--processes, --process: nothing says where they meet"),
    ],
)
def test_a_meeting_that_cannot_be_is_one_line(given, said):
    with pytest.raises(InputError, match=said):
        Hosts(*given)


def test_what_is_said_of_images_is_shown_after_what_libraries_say():
    said = "I0101 a library\\nE0101 a library\\nleft out: a.png cannot be read\\nits next line\\n"
    code = f"import sys; from dnas.process.hosts import Hosts; Hosts('x:1', 2, 0).watched(); sys.stderr.write('{said}')"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stderr == "I0101 a library\nleft out: a.png cannot be read\n" and done.returncode == 0


def test_one_process_agrees_with_itself():
    value = {"step": 3, "rows": ["a"]}
    assert hosts.agreed(value) is value and not hosts.several() and not hosts.follows()
