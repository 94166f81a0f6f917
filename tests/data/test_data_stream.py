"""Images that are streamed from disk are those that memory would hold, in the same batches; readers come and go."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest

from dnas.data.batches import Ahead, Batches, batch_indices
from dnas.data.load import load, scan
from dnas.data.preprocess import preprocessing_for
from dnas.data.reading import Reading
from dnas.data.splits import search_split
from dnas.data.stream import images as images_module
from dnas.data.stream.feed import Feed
from dnas.data.stream.images import Streamed, soon, taken, within
from dnas.errors import DataError, InputError, MissingExtra

Image = pytest.importorskip("PIL.Image")
needs_grain = pytest.mark.skipif(find_spec("grain") is None, reason="grain is not installed")
CLASSES = ("ant", "bee", "cow")
THREADS, PROCESSES = (Reading(data_in="stream", readers=count) for count in (0, 2))


def folder(root, count=7, splits=("train", "val")):
    """Pictures that differ from one another, of several kinds and sizes."""
    rng = np.random.default_rng(0)
    for split in splits:
        for name in CLASSES:
            (root / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 255, (20 + number, 25, 3), dtype=np.uint8)
                kind = ("png", "jpg")[number % 2]
                Image.fromarray(pixels).save(root / split / name / f"{number}.{kind}")
    return root


def both(root, reading=THREADS, side=16):
    return load(str(root), reading=Reading(data_in="memory"), side=side), load(str(root), reading=reading, side=side)


@pytest.mark.parametrize("reading", [THREADS, pytest.param(PROCESSES, marks=needs_grain)], ids=["threads", "processes"])
def test_streamed_batches_are_those_of_memory(tmp_path, reading):
    memory, streamed = both(folder(tmp_path, splits=("train", "val", "test")), reading)
    assert streamed.streamed and not memory.streamed
    assert (streamed.validation, streamed.class_names) == (memory.validation, memory.class_names)
    assert preprocessing_for(streamed) == preprocessing_for(memory)
    index = search_split(streamed, 0).weights_index
    of_memory = Batches(memory.train_images, memory.train_labels, index, 8, seed=3)
    of_stream = Batches(streamed.train_images, streamed.train_labels, index, 8, seed=3)
    ahead = Ahead(of_stream.share(np.arange(8)), 9)
    for step in (0, 1, 2, 2, 5, 6, 7, 7):
        expected = of_memory.at(step)
        for found in (of_stream.at(step), ahead.at(step) if step < 3 else of_stream.alone(step)):
            assert found[0].dtype == np.uint8 and found[1].dtype == np.int32
            np.testing.assert_array_equal(found[0], expected[0])
            np.testing.assert_array_equal(found[1], expected[1])
    ahead.close()
    for split in ("train", "validation", "test"):
        images, labels = streamed.part(split)
        np.testing.assert_array_equal(np.asarray(images), memory.part(split)[0])
        np.testing.assert_array_equal(labels, memory.part(split)[1])


@pytest.mark.parametrize("reading", [THREADS, pytest.param(PROCESSES, marks=needs_grain)], ids=["threads", "processes"])
def test_batches_in_another_order_are_one_stream(tmp_path, reading, monkeypatch):
    """A race has every candidate learn from the same batches: readers are begun once for all its turns."""
    memory, streamed = both(folder(tmp_path), reading)
    begun, begin, others = [], Feed._begin, set(multiprocessing.active_children())
    monkeypatch.setattr(Feed, "_begin", lambda feed, step: begun.append(step) or begin(feed, step))
    expected, order = whole_of(memory), np.array([3, 4, 3, 4, 5, 3, 3])
    found = whole_of(streamed).reordered(order)
    for _ in range(2):
        for n, step in enumerate(order):
            np.testing.assert_array_equal(found.at(n)[0], expected.at(int(step))[0])
            np.testing.assert_array_equal(found.at(n)[1], expected.at(int(step))[1])
        found.rest()
        assert not set(multiprocessing.active_children()) - others
    assert begun == ([] if reading is THREADS else [0, 0])
    np.testing.assert_array_equal(whole_of(memory).reordered(order).at(2)[0], expected.at(3)[0])


@needs_grain
def test_a_reader_without_memory_ends_the_run_in_one_line(tmp_path, monkeypatch):
    batches = whole_of(both(folder(tmp_path), PROCESSES)[1])
    batches.at(0)

    def lacking(_):
        raise MemoryError

    monkeypatch.setattr("dnas.data.stream.feed.next", lacking, raising=False)
    with pytest.raises(DataError, match="had too little memory; fewer --readers"):
        batches.at(1)


def test_systems_without_some_signals_read_data_too():
    code = "import signal; del signal.SIGKILL, signal.SIGBUS; import dnas.data.load, dnas.data.batches"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code], check=True, env=env)


def test_a_test_split_is_drawn_from_what_is_streamed_as_from_memory(tmp_path):
    memory, streamed = both(folder(tmp_path, splits=("",)), THREADS)
    np.testing.assert_array_equal(streamed.test_labels, memory.test_labels)
    np.testing.assert_array_equal(np.asarray(streamed.test_images), memory.test_images)
    np.testing.assert_array_equal(np.asarray(streamed.train_images), memory.train_images)


@pytest.mark.parametrize("hosts", [1, 2, 4])
def test_shares_of_hosts_are_the_whole_batch_and_no_host_decodes_another_ones(tmp_path, hosts, monkeypatch):
    _, streamed = both(folder(tmp_path), THREADS)
    whole = Batches(streamed.train_images, streamed.train_labels, np.arange(21), 8, seed=0)
    expected, asked = whole.at(4), []
    begun = images_module.Stream._begun
    record = lambda stream, numbers: asked.append(set(numbers.tolist())) or begun(stream, numbers)  # noqa: E731
    monkeypatch.setattr(images_module.Stream, "_begun", record)
    parts = []
    for rows in np.split(np.arange(8), hosts):
        asked.clear()
        own = both(tmp_path, THREADS)[1].train_images
        parts.append(replace(whole, images=own).share(rows).at(4))
        ahead = (batch_indices(whole.index, 8, 0, step)[rows] for step in (4, 5, 6))
        assert asked == [set(numbers.tolist()) for numbers in ahead]
    for found, all_of_it in zip(zip(*parts, strict=True), expected, strict=True):
        np.testing.assert_array_equal(np.concatenate(found), all_of_it)


def test_streamed_images_are_indexed_as_an_array_is(tmp_path):
    memory, streamed = both(folder(tmp_path), THREADS)
    images, expected = streamed.train_images, memory.train_images
    assert isinstance(images, Streamed) and (images.shape, len(images)) == (expected.shape, len(expected))
    assert isinstance(images[3:9], Streamed) and isinstance(taken(images, np.array([1])), Streamed)
    for at in (np.array([4, 4, 0]), [2], -1, np.arange(21) < 3, np.array([], int)):
        np.testing.assert_array_equal(images[at], expected[at])
    np.testing.assert_array_equal(np.asarray(images[3:9][::2]), expected[3:9][::2])


def test_an_image_that_is_asked_for_early_is_decoded_once(tmp_path, monkeypatch):
    _, streamed = both(folder(tmp_path), THREADS)
    expected, seen = np.asarray(streamed.train_images), []
    decode = images_module.decode_into
    monkeypatch.setattr(images_module, "decode_into", lambda *about: seen.append(about[2]) or decode(*about))
    images, chosen = streamed.train_images, np.array([5, 5, 2, 9, 5])
    soon(images, chosen)
    for _ in range(2):
        np.testing.assert_array_equal(images[chosen], expected[chosen])
    assert len(seen) == 3
    for first in range(2 * images_module.SOON):  # more than is kept: what was asked first is decoded anew
        soon(images, np.array([first]))
    np.testing.assert_array_equal(images[np.array([0])], expected[:1])


@needs_grain
def test_what_fits_stays_in_memory_and_the_choice_is_told(tmp_path, monkeypatch):
    folder(tmp_path)
    assert any("images are kept in memory: 32 kB as pixels" in note for note in load(str(tmp_path), side=16).notes)
    monkeypatch.setattr("dnas.data.reading.whole", lambda: 40_000)
    data = load(str(tmp_path), side=16, reading=Reading(readers=3))
    assert data.streamed
    told = "images are streamed from disk, decoded by 3 processes: 32 kB as pixels are too many for memory "
    assert told + "(the machine has 40 kB)" in data.notes
    monkeypatch.setitem(sys.modules, "grain", None)
    assert load(str(tmp_path), side=16, reading=THREADS).streamed
    with pytest.raises(MissingExtra, match=r"^grain is missing; install dnas\[data\], or .*--readers 0$"):
        load(str(tmp_path), side=16, reading=PROCESSES)
    with pytest.raises(InputError, match="--data-in: unknown.*auto, memory, stream"):
        Reading(data_in="disk")  # pyright: ignore
    with pytest.raises(InputError, match="--readers: out of range"):
        Reading(readers=-1)
    with pytest.raises(InputError, match="fashion-mnist-5k is read whole, and cannot be streamed"):
        scan(reading=THREADS)


@needs_grain
def test_what_is_free_at_the_moment_does_not_decide_where_images_are(tmp_path, monkeypatch):
    """A run that went on with less free memory had other data."""
    folder(tmp_path)
    first = load(str(tmp_path), side=16)
    monkeypatch.setattr("dnas.process.free_memory.of_machine", lambda: 0)
    assert load(str(tmp_path), side=16).fingerprint == first.fingerprint and not first.streamed


@needs_grain
def test_the_fingerprint_is_of_names_sizes_and_labels(tmp_path):
    root = folder(tmp_path)
    first = load(str(root), reading=THREADS, side=16)
    assert first.fingerprint == load(str(root), reading=PROCESSES, side=16).fingerprint
    assert first.fingerprint != load(str(root), reading=THREADS, side=8).fingerprint
    assert first.origin is not None and first.origin.listing == both(root)[0].origin.listing
    file = root / "train" / "bee" / "0.png"
    file.rename(root / "train" / "ant" / "00.png")
    assert first.fingerprint != load(str(root), reading=THREADS, side=16).fingerprint
    (root / "train" / "ant" / "00.png").rename(file)
    file.write_bytes(file.read_bytes() + b" ")
    assert first.fingerprint != load(str(root), reading=THREADS, side=16).fingerprint


@needs_grain
def test_an_unreadable_image_is_named(tmp_path):
    root = folder(tmp_path)
    (root / "train" / "bee" / "3.jpg").write_bytes(b"no picture")
    images = load(str(root), reading=PROCESSES, side=16).train_images
    np.asarray(images[:7])
    with pytest.raises(DataError, match=r"train/bee/3.jpg cannot be read: cannot identify .*--skip-bad"):
        np.asarray(images)
    batches = Batches(images, np.zeros(21, np.int32), np.arange(7, 14), 7, seed=0)
    with pytest.raises(DataError, match=r"train/bee/3.jpg cannot be read: cannot identify .*--skip-bad"):
        batches.at(0)


@pytest.mark.slow
@needs_grain
def test_another_image_of_the_class_takes_the_place_of_an_unreadable_one(tmp_path, capsys):
    root = folder(tmp_path)
    for number in (3, 5):
        (root / "train" / "bee" / f"{number}.jpg").write_bytes(b"no picture")
    (root / "train" / "bee" / "6.png").unlink()
    (root / "train" / "bee" / "6.png").symlink_to(root / "nowhere")
    for readers in (0, 3):
        data = load(str(root), reading=Reading(skip_bad=True, data_in="stream", readers=readers), side=16)
        images = data.train_images
        batches = Batches(images, data.train_labels, np.arange(21), 21, seed=0)
        rows = batches.at(3)[0][np.argsort(batches.chosen(3))]
        for bad, instead in ((10, 11), (12, 7), (13, 7)):
            np.testing.assert_array_equal(rows[bad], rows[instead])
        told = capsys.readouterr().err.splitlines()
        assert len(told) == 3 and "train/bee/3.jpg cannot be read" in "".join(told)
        assert "train/bee/4.png takes its place" in "".join(told) and "No such file or directory" in "".join(told)
        np.testing.assert_array_equal(images[np.array([10])], rows[11:12])
        assert not capsys.readouterr().err


@pytest.mark.parametrize("reading", [THREADS, pytest.param(PROCESSES, marks=needs_grain)], ids=["threads", "processes"])
def test_what_takes_the_place_of_an_unreadable_image_is_of_the_same_part_of_the_data(tmp_path, reading, capsys):
    root = folder(tmp_path, count=6, splits=("train", "val", "test"))
    (root / "train" / "ant" / "5.jpg").write_bytes(b"no picture")
    data = load(str(root), reading=replace(reading, skip_bad=True), side=16)
    split, images = search_split(data, 0), data.train_images
    weights = [Batches(images, data.train_labels, split.weights_index, 18, seed=s) for s in (0, 0)]
    preprocessing_for(data)
    rows = [
        batches.at(step)[0][np.argsort(batches.chosen(step))] for batches, step in zip(weights, (0, 2), strict=True)
    ]
    alone = weights[0].alone(0)[0][np.argsort(weights[0].chosen(0))]
    for found in (rows[0][5], rows[1][5], alone[5], data.part("train")[0][5], within(images, split.weights_index)[5]):
        np.testing.assert_array_equal(
            found, images[0]
        )  # the first of ant; the next one of all is of the choices' share
    np.testing.assert_array_equal(within(images, np.array([5, 18]))[5], images[18])
    told = [line for line in capsys.readouterr().err.splitlines() if "train/ant/5.jpg cannot be read" in line]
    assert len(told) == 2 and "train/ant/0.png takes its place" in told[1]
    with pytest.raises(DataError, match="train/ant/5.jpg cannot be read .*, nor can another image of its class"):
        Batches(images, data.train_labels, np.array([5, 6, 7]), 3, seed=0).at(0)


def test_means_are_those_of_the_whole_where_a_slice_has_no_other_image_of_a_class(tmp_path, monkeypatch):
    root = folder(tmp_path, count=3)
    (root / "train" / "bee" / "1.jpg").write_bytes(b"no picture")
    data = load(str(root), reading=replace(THREADS, skip_bad=True), side=16)
    monkeypatch.setattr("dnas.data.preprocess.CHUNK_BYTES", 1)
    pixels = np.asarray(data.train_images) / 255
    np.testing.assert_allclose(preprocessing_for(data).mean, pixels.mean((0, 1, 2)), atol=1e-6)
    np.testing.assert_array_equal(np.asarray(data.train_images[4:5]), data.train_images[[5]])


@needs_grain
def test_a_reader_that_dies_gives_one_line_and_readers_end_with_their_batches(tmp_path):
    data = load(str(folder(tmp_path)), reading=PROCESSES, side=16)
    others, batches = set(multiprocessing.active_children()), whole_of(data)
    expected = batches.at(0)[0]
    readers = set(multiprocessing.active_children()) - others
    assert len(readers) == 2 and all(process.is_alive() for process in readers)
    del batches
    assert not set(multiprocessing.active_children()) - others
    batches = whole_of(data)
    batches.at(0)
    for process in set(multiprocessing.active_children()) - others:
        process.kill()
    with pytest.raises(DataError, match=r"^a process that reads images ended by signal 9 \(SIGKILL\).*--readers 0"):
        for step in range(20):
            batches.at(step)
    np.testing.assert_array_equal(batches.at(0)[0], expected)


@needs_grain
def test_readers_leave_the_signals_of_a_job_to_their_program(tmp_path):
    """Slurm and systemd send SIGTERM to every process of a job; a run then saves, and may need batches for that."""
    data = load(str(folder(tmp_path)), reading=PROCESSES, side=16)
    others, batches, expected = set(multiprocessing.active_children()), whole_of(data), whole_of(data)
    for step in range(2):  # both have begun
        batches.at(step)
    for process in set(multiprocessing.active_children()) - others:
        os.kill(process.pid, signal.SIGTERM)
    for step in range(2, 20):
        np.testing.assert_array_equal(batches.at(step)[0], expected.at(step)[0])
    del batches, expected
    assert not set(multiprocessing.active_children()) - others


def whole_of(data):
    return Batches(data.train_images, data.train_labels, np.arange(21), 8, seed=0)


SCRIPT = """
import multiprocessing
import numpy as np
from dnas.data.batches import Batches
from dnas.data.load import load
from dnas.data.reading import Reading

def main():
    data = load(FOLDER, reading=Reading(data_in="stream", readers=2), side=16)
    batches = Batches(data.train_images, data.train_labels, np.arange(21), 8, seed=0)
    batches.at(0)
    print(*(process.pid for process in multiprocessing.active_children()), flush=True)
    input()
"""
GUARDED = SCRIPT + 'if __name__ == "__main__":\n    main()\n'


def started(tmp_path, code):
    script = tmp_path / "script.py"
    script.write_text(code.replace("FOLDER", repr(str(folder(tmp_path / "data")))))
    return subprocess.Popen(
        [sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip


@pytest.mark.slow
@needs_grain
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_no_reader_outlives_its_program(tmp_path, number):
    program = started(tmp_path, GUARDED)
    readers = [int(pid) for pid in program.stdout.readline().split()]
    assert len(readers) == 2 and all(map(runs, readers))
    program.send_signal(number)
    assert "spawn_main" not in program.communicate()[1]
    waited = time.monotonic() + 20
    while any(map(runs, readers)) and time.monotonic() < waited:
        time.sleep(0.02)
    assert not any(map(runs, readers))


def runs(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat") as stat:
        return stat.read().split()[2] != "Z"


@pytest.mark.slow
@needs_grain
def test_a_script_without_a_guard_is_told_what_it_needs(tmp_path):
    program = started(tmp_path, SCRIPT + "main()\n")
    said = program.communicate()[1]
    assert program.returncode and 'a script needs `if __name__ == "__main__":`' in said.splitlines()[-1]
