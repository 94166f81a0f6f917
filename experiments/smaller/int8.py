"""Trained networks in int8: does onnxruntime say what the simulation says, how small is the file, how fast is it?

    python experiments/smaller/int8.py runs/fbnetv2-0 runs/vit --data fashion-mnist-5k

Each run is quantised to 8 bits and exported, as itself and quantised, by the commands that users have; what is there
already is not made again. Top-1 of the simulation and of the int8 file are compared on all test images. Times are of
one image on one thread, the two files in turns.
"""

from __future__ import annotations

import hashlib
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import tyro

from dnas.cli.entry import run
from dnas.data.load import load
from dnas.export.onnx import session
from dnas.export.prediction import of_onnx, of_result
from dnas.files import write_atomic
from dnas.runs.result import read_result

BATCH = 250


@dataclass(frozen=True)
class Arguments:
    """Int8 files beside their simulation and beside float32."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Folders of trained networks."""
    data: str = "fashion-mnist-5k"
    """What they were trained on."""
    rounds: int = 200
    """Turns of the two files, for the times."""
    made: Path = Path("runs/int8")
    out: Path = Path("experiments/results/int8.md")


class Row(NamedTuple):
    """What is found of one run."""

    network: str
    images: int
    float32: float
    """Test accuracy, as the others here."""
    simulated: float
    int8: float
    same: float
    """Share of images of which simulation and int8 file name the same class."""
    sizes: tuple[int, int]
    """Bytes of the files, float32 and int8."""
    times: tuple[float, float]
    """Milliseconds of one image, float32 and int8: medians."""


def main(args: Arguments) -> None:
    rows = [measured(args, folder) for folder in args.runs]
    text = table(rows)
    print(text, end="")
    write_atomic(args.out, text)


def measured(args: Arguments, folder: Path) -> Row:
    name = f"{folder.name}-{hashlib.sha256((folder / 'weights.safetensors').read_bytes()).hexdigest()[:8]}"
    quantised = args.made / name
    command = ["compress", str(folder), "--method", "ptq", "--bits", "8", "--data", args.data]
    if not (quantised / "architecture.json").is_file():
        dnas(*command, "--out", str(quantised))
    files = [args.made / f"{name}-{kind}.onnx" for kind in ("float32", "int8")]
    for source, file in zip((folder, quantised), files, strict=True):
        if not file.is_file():
            dnas("export", str(source), "--to", "onnx", "--out", str(file))
    simulation = of_result(read_result(str(quantised)))
    data = load(args.data, side=simulation.preprocessing.side)
    images, labels = np.asarray(data.test_images), np.asarray(data.test_labels)
    named = [named_classes(p.scores, images) for p in (of_onnx(files[0]), simulation, of_onnx(files[1]))]
    right = [float(np.mean(n == labels)) for n in named]
    same = float(np.mean(named[1] == named[2]))
    sizes = files[0].stat().st_size, files[1].stat().st_size
    return Row(folder.name, len(labels), right[0], right[1], right[2], same, sizes, times(files, args.rounds))


def dnas(*argv: str) -> None:
    subprocess.run([sys.executable, "-m", "dnas", *argv], check=True)


def named_classes(scores: Callable[[np.ndarray], Any], images: np.ndarray) -> np.ndarray:
    parts = (scores(images[start : start + BATCH]) for start in range(0, len(images), BATCH))
    return np.concatenate([np.argmax(np.asarray(part), axis=1) for part in parts])


def times(files: list[Path], rounds: int) -> tuple[float, float]:
    """Medians, in milliseconds; the files run in turns."""
    sessions = [session(file.read_bytes()) for file in files]
    feeds = []
    for one in sessions:
        (given,) = one.get_inputs()
        shape = [size if isinstance(size, int) else 1 for size in given.shape]
        feeds.append({given.name: np.random.default_rng(0).standard_normal(shape).astype(np.float32)})
    found: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for one, feed, into in zip(sessions, feeds, found, strict=True):
            began = time.perf_counter()
            one.run(None, feed)
            into.append(1000 * (time.perf_counter() - began))
    return statistics.median(found[0]), statistics.median(found[1])


def table(rows: list[Row]) -> str:
    head = ("network", "test images", "float32", "int8, simulated", "int8 in onnxruntime", "same class as simulated")
    head += ("file, float32", "int8", "of it", "one image, float32", "int8", "of it")
    lines = [head, ("---",) * len(head)]
    for row in rows:
        accuracies = (f"{value:.2%}" for value in (row.float32, row.simulated, row.int8, row.same))
        sizes = (f"{size / 1e3:,.0f} kB" for size in row.sizes)
        spent = (f"{ms:.3f} ms" for ms in row.times)
        ratios = (f"{two[1] / two[0]:.2f}" for two in (row.sizes, row.times))
        cells = (row.network, f"{row.images:,}", *accuracies, *sizes, next(ratios), *spent, next(ratios))
        lines.append(cells)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


if __name__ == "__main__":
    run(main, Arguments)
