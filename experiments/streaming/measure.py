"""Streaming measured on the files of `make_images.py`: pace beside PyTorch's DataLoader, memory, kill -9 and going on.

    python experiments/streaming/measure.py FOLDER --torch /path/of/python/with/torch
    python experiments/streaming/measure.py FOLDER --seconds 600            # without torch, longer for the memory

Writes `experiments/results/streaming.md`. Rounds of the two loaders alternate, on the same files, with as many
processes, the same batch and the same steps of decoding; both are timed from the first batch on. Memory is the sum of
the proportional set sizes (PSS) of the program and its readers, which counts shared pages once.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from dnas.data.batches import Batches
from dnas.data.load import load
from dnas.data.reading import Reading

SIDE, BATCH = 224, 64
RESULT = Path(__file__).parents[1] / "results" / "streaming.md"
KILLED, STEPS = 12, 24


def batches_of(folder: Path, readers: int) -> Batches:
    """The training stream."""
    data = load(str(folder), reading=Reading(data_in="stream", readers=readers), side=SIDE)
    return Batches(data.train_images, data.train_labels, np.arange(len(data.train_labels)), BATCH, seed=0)


def pss(pid: int) -> int:
    """MB of a process and those that it started."""
    found = 0
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                parent = int(Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()[1])
                if pid in (int(name), parent):
                    lines = Path(f"/proc/{name}/smaps_rollup").read_text().splitlines()
                    found += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
            except OSError:
                continue
    return found // 1000


def paces(batches: Batches, names: list[str], torch: str | None, readers: int, rounds: int, count: int):
    """Images a second of each round, (dnas, torch)."""
    other = None
    if torch is not None:
        script = Path(__file__).with_name("torch_loader.py")
        command = [torch, str(script), str(SIDE), str(BATCH), str(readers)]
        other = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    for number in range(rounds):
        first = 1000 * (number + 1)
        batches.at(first)
        began = time.monotonic()
        for step in range(first + 1, first + count + 1):
            batches.at(step)
        own = count * BATCH / (time.monotonic() - began)
        theirs = float("nan")
        if other is not None and other.stdin is not None and other.stdout is not None:
            chosen = np.concatenate([batches.chosen(step) for step in range(first, first + count + 1)])
            other.stdin.write("\t".join(names[n] for n in chosen) + "\n")
            other.stdin.flush()
            theirs = float(other.stdout.readline())
        yield own, theirs


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


def main(args: argparse.Namespace) -> None:
    """Measures and writes."""
    began = time.monotonic()
    batches = batches_of(args.folder, args.readers)
    scanned = time.monotonic() - began
    places = batches.images.stream.places
    names = [places.address(n)[0] for n in range(len(places))]
    found = list(paces(batches, names, args.torch, args.readers, args.rounds, args.batches))
    memory, seen, began = [], 0, time.monotonic()
    while time.monotonic() - began < args.seconds and seen < len(batches.index):
        batches.at(seen // BATCH)
        seen += BATCH
        if seen // BATCH % 20 == 0:
            memory.append(pss(os.getpid()))
    pace = seen / (time.monotonic() - began)
    same = goes_on(args.folder)
    own, theirs = zip(*found, strict=True)
    ratios = [a / b for a, b in found]
    quarter = max(1, len(memory) // 4)
    load_average = os.getloadavg()[1]
    lines = [
        "# Streaming images from disk", "",
        f"{len(places):,} JPEG files of 320 x 256 px, at {SIDE} px, batches of {BATCH}, {args.readers} readers, "
        f"{os.cpu_count()} cores, load average {load_average:.1f} from other work.", "",
        "Made by `python experiments/streaming/make_images.py FOLDER --pictures 1000` and "
        f"`python experiments/streaming/measure.py FOLDER --seconds {args.seconds:g} --rounds {args.rounds}"
        f"{' --torch PYTHON' if args.torch else ''}`.", "",
        "| what | figure |", "|---|---|",
        f"| names, sizes and labels of all files found | {scanned:.1f} s |",
        f"| images a second, dnas: each round | {', '.join(f'{v:.0f}' for v in own)} |",
        f"| images a second, PyTorch's DataLoader: each round | {', '.join(f'{v:.0f}' for v in theirs)} |",
        f"| dnas over PyTorch, median of rounds (least to most) | {statistics.median(ratios):.2f} "
        f"({min(ratios):.2f} to {max(ratios):.2f}) |",
        f"| images streamed while memory was watched | {seen:,} in {seen / pace:.0f} s |",
        f"| memory of all processes (PSS), first quarter | {min(memory[:quarter])} to {max(memory[:quarter])} MB |",
        f"| the same, last quarter | {min(memory[-quarter:])} to {max(memory[-quarter:])} MB |",
        f"| most | {max(memory)} MB |",
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
    parser.add_argument("--digests", type=int, nargs=2)
    args = parser.parse_args()
    if args.digests is None:
        main(args)
    else:
        stream = batches_of(args.folder, args.readers)
        for step in range(*args.digests):
            images, labels = stream.at(step)
            print(hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest(), flush=True)
