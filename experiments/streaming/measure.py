"""Streaming measured on the files of `make_images.py`: pace beside PyTorch's DataLoader, memory, kill -9 and going on.

    python experiments/streaming/measure.py FOLDER --torch /path/of/python/with/torch
    python experiments/streaming/measure.py FOLDER --seconds 600            # without torch, longer for the memory

Writes `experiments/results/streaming.md`. Rounds of the two loaders alternate, on the same files, with as many
processes, the same batch and the same steps of decoding, on the cores that this process may use; both are timed when
what was decoded ahead of the round is used up. Processor time is that of all processes. Memory is the sum of the
proportional set sizes (PSS) of the program and its readers, which counts shared pages once.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dnas.data.batches import Batches
from dnas.data.load import load
from dnas.data.reading import Reading

SIDE, BATCH = 224, 64
TRAINED = 16
NETWORK = """
name: small224
input: {channels: 3, classes: 100, resolution: 224}
trunk:
  - conv: {kernel: 3, stride: 2, out: 8, act: hswish}
  - mbconv: {out: 16, stride: 2, expand: 3}
  - mbconv: {out: 24, stride: 2, expand: 3, repeat: 2}
  - mbconv: {out: 40, stride: 2, expand: 3, repeat: 2}
  - mbconv: {out: 64, stride: 2, expand: 3, repeat: 2}
head:
  - conv: {kernel: 1, out: 256, act: hswish}
  - pool: {}
  - linear: {out: $classes}
"""
"""What learns while memory is watched, and its batches."""
RESULT = Path(__file__).parents[1] / "results" / "streaming.md"
WARM = 8
"""Batches of a round that are not timed: more than are decoded ahead."""
KILLED, STEPS = 12, 24


def batches_of(folder: Path, readers: int) -> Batches:
    """The training stream."""
    data = load(str(folder), reading=Reading(data_in="stream", readers=readers), side=SIDE)
    return Batches(data.train_images, data.train_labels, np.arange(len(data.train_labels)), BATCH, seed=0)


def family(pid: int) -> list[int]:
    """A process and all that descend from it."""
    parents = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            parents[int(name)] = int(stat(int(name))[1])
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found


def stat(pid: int) -> list[str]:
    """The fields of a process from its state on."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def pss(pid: int) -> int:
    """MB of a process and all that descend from it."""
    found = 0
    for one in family(pid):
        with contextlib.suppress(OSError):
            lines = Path(f"/proc/{one}/smaps_rollup").read_text().splitlines()
            found += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return found // 1000


def processor_s(pid: int) -> float:
    """Of a process and all that descend from it and have not ended."""
    return sum(int(ticks) for one in family(pid) for ticks in stat(one)[11:13]) / os.sysconf("SC_CLK_TCK")


def paces(batches: Batches, names: list[str], torch: str | None, readers: int, rounds: int, count: int):
    """(images a second, milliseconds of processor time an image) of dnas and of torch, of each round."""
    other = None
    if torch is not None:
        script = Path(__file__).with_name("torch_loader.py")
        command = [torch, str(script), *map(str, (SIDE, BATCH, readers, WARM))]
        other = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    for number in range(rounds):
        steps = range(number * (WARM + count), (number + 1) * (WARM + count))
        for step in steps[:WARM]:
            batches.at(step)
        began, used = time.monotonic(), processor_s(os.getpid())
        for step in steps[WARM:]:
            batches.at(step)
        passed, used = time.monotonic() - began, processor_s(os.getpid()) - used
        theirs = float("nan"), float("nan")
        if other is not None and other.stdin is not None and other.stdout is not None:
            chosen = np.concatenate([batches.chosen(step) for step in steps])
            other.stdin.write("\t".join(names[n] for n in chosen) + "\n")
            other.stdin.flush()
            pace, ms = map(float, other.stdout.readline().split())
            theirs = pace, ms
        yield (count * BATCH / passed, 1000 * used / (count * BATCH)), theirs
    if other is not None and other.stdin is not None:
        other.stdin.close()
        other.wait()


def while_training(folder: Path, readers: int, seconds: float) -> tuple[list[int], str]:
    """MB of a program in which a network learns, second by second from its start, and the steps that it took."""
    with tempfile.TemporaryDirectory() as place:
        network = Path(place, "small224.yaml")
        network.write_text(NETWORK)
        command = [
            sys.executable, "-m", "dnas.train", str(network), "--data", str(folder), "--new-classes",
            "--data-in", "stream", "--readers", str(readers), "--batch-size", str(TRAINED), "--epochs", "1",
            "--out", f"{place}/run",
        ]  # fmt: skip
        run, found = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True), []
        began = time.monotonic()
        while run.poll() is None and time.monotonic() - began < seconds:
            time.sleep(1)
            found.append(pss(run.pid))
        run.terminate()
        said = run.communicate()[0]
    steps = re.search(r"stopped after step (\d+)", said)
    if steps is None:
        raise SystemExit(f"the training did not learn until it was stopped:\n{said}")
    return found, steps[1]


def digests(folder: Path, start: int, stop: int) -> subprocess.Popen[str]:
    """A process that prints the digest of each batch."""
    command = [sys.executable, __file__, str(folder), "--digests", str(start), str(stop)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def read_lines(process: subprocess.Popen[str], count: int) -> list[str]:
    assert process.stdout is not None
    return [process.stdout.readline().strip() for _ in range(count)]


def goes_on(folder: Path) -> bool:
    """Whether a stream that is killed and begun again at its step gives the batches of an unbroken one."""
    whole = read_lines(digests(folder, 0, STEPS), STEPS)
    broken = digests(folder, 0, STEPS)
    part = read_lines(broken, KILLED)
    broken.send_signal(signal.SIGKILL)
    broken.wait()
    return part + read_lines(digests(folder, KILLED, STEPS), STEPS - KILLED) == whole and "" not in whole


def of_rounds(own: Sequence[float], theirs: Sequence[float]) -> str:
    """Median, least and most of the ratios."""
    ratios = [a / b for a, b in zip(own, theirs, strict=True)]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def main(args: argparse.Namespace) -> None:
    """Measures and writes."""
    began = time.monotonic()
    batches = batches_of(args.folder, args.readers)
    scanned = time.monotonic() - began
    places = batches.images.stream.places
    names = [places.address(n)[0] for n in range(len(places))]
    found = list(paces(batches, names, args.torch, args.readers, args.rounds, args.batches))
    memory, seen, began = [], 0, time.monotonic()
    first = args.rounds * (WARM + args.batches)
    while time.monotonic() - began < args.seconds and seen < len(batches.index):
        batches.at(first + seen // BATCH)
        seen += BATCH
        if seen // BATCH % 20 == 0:
            memory.append(pss(os.getpid()))
    pace = seen / (time.monotonic() - began)
    del batches
    same = goes_on(args.folder)
    learning, steps = while_training(args.folder, args.readers, args.training)
    (own, own_ms), (theirs, their_ms) = (zip(*side, strict=True) for side in zip(*found, strict=True))
    quarter = max(1, len(memory) // 4)
    cores = len(os.sched_getaffinity(0))
    lines = [
        "# Streaming images from disk", "",
        f"{len(places):,} JPEG files of 320 x 256 px, at {SIDE} px, batches of {BATCH}, {args.readers} readers, all "
        f"processes on {cores} of {os.cpu_count()} cores, load average {os.getloadavg()[1]:.1f} from other work.", "",
        "Made by `python experiments/streaming/make_images.py FOLDER --pictures 1000` and "
        f"`python experiments/streaming/measure.py FOLDER --seconds {args.seconds:g} --training {args.training:g} "
        f"--rounds {args.rounds} --batches {args.batches}{' --torch PYTHON' if args.torch else ''}`.", "",
        "| what | figure |", "|---|---|",
        f"| names, sizes and labels of all files found | {scanned:.1f} s |",
        f"| images a second, dnas: each round | {', '.join(f'{v:.0f}' for v in own)} |",
        f"| images a second, PyTorch's DataLoader: each round | {', '.join(f'{v:.0f}' for v in theirs)} |",
        f"| dnas over PyTorch, median of rounds (least to most) | {of_rounds(own, theirs)} |",
        f"| processor time an image, dnas: each round | {', '.join(f'{v:.2f}' for v in own_ms)} ms |",
        f"| processor time an image, PyTorch's DataLoader: each round | {', '.join(f'{v:.2f}' for v in their_ms)} ms |",
        f"| dnas over PyTorch, median of rounds (least to most) | {of_rounds(own_ms, their_ms)} |",
        f"| images streamed while memory was watched | {seen:,} in {seen / pace:.0f} s |",
        f"| memory of all processes (PSS), first quarter | {min(memory[:quarter])} to {max(memory[:quarter])} MB |",
        f"| the same, last quarter | {min(memory[-quarter:])} to {max(memory[-quarter:])} MB |",
        f"| most | {max(memory)} MB |",
        f"| memory of all processes (PSS) while a small network learns at {SIDE} px, {steps} batches of {TRAINED}: "
        f"most, from its start on; median | {max(learning)} MB; {statistics.median_low(learning)} MB |",
        f"| killed with SIGKILL after {KILLED} steps, begun again: the batches of {STEPS} unbroken steps | "
        f"{'the same' if same else 'OTHERS'} |",
    ]  # fmt: skip
    RESULT.write_text("\n".join(lines) + "\n")
    print(RESULT.read_text())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--torch", help="a Python with torch and Pillow")
    parser.add_argument("--readers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batches", type=int, default=10, help="of a round")
    parser.add_argument("--seconds", type=float, default=120.0, help="for which memory is watched")
    parser.add_argument("--training", type=float, default=600.0, help="seconds for which a network learns")
    parser.add_argument("--digests", type=int, nargs=2)
    args = parser.parse_args()
    if args.digests is None:
        main(args)
    else:
        stream = batches_of(args.folder, args.readers)
        for step in range(*args.digests):
            images, labels = stream.at(step)
            print(hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest(), flush=True)
