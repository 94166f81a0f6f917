"""What pictures show, by a trained network.

python -m dnas.predict runs/mine photo.jpg
python -m dnas.predict runs/mine photos/ more.png --top 3 --json
python -m dnas.predict --onnx mine.onnx photo.jpg
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

MANY = 200
"""Pictures of which the progress is told."""


@dataclass(frozen=True)
class Arguments:
    """Names the classes of pictures, with probabilities, by a network of your own or by its ONNX file."""

    paths: Annotated[tuple[str, ...], tyro.conf.Positional]
    """RUN IMAGE...: a result folder (or an architecture's file), then pictures and folders of pictures. With --onnx
    pictures alone; a result folder before them is compared with the file."""
    onnx: Path | None = None
    """An ONNX file of dnas.export; what it says of itself is enough."""
    weights: Path | None = None
    """Weights as a safetensors file; those beside the architecture if not given."""
    top: int = 5
    """How many classes to name, the most probable first."""
    json: bool = False
    """Print one JSON object instead of lines."""


def main(args: Arguments) -> int:
    """Prints the most probable classes of pictures; 2 where one cannot be read."""
    from dnas.errors import InputError

    if args.top < 1:
        raise InputError("--top", "out of range", found=args.top, accepted="1 or more")
    if args.onnx is not None and args.weights is not None:
        raise InputError("--weights", "an ONNX file holds its own", accepted="--onnx or --weights")
    arch, paths = _parted(args)
    if args.paths and not paths:
        raise InputError("IMAGE", "nothing to look at", accepted="picture files, or folders of them")
    files = _files(paths)
    from dnas.process.backend import configure

    configure()
    predictor = _predictor(args, arch)
    rows = _predicted(predictor, files, args)
    bad = [row for row in rows if "error" in row]
    if args.json:
        print(json.dumps({"network": predictor.what, "classes": list(predictor.labels), "images": rows}))
    elif bad:
        print(f"{len(bad)} of {len(rows)} pictures cannot be read", file=sys.stderr)
    return 2 if bad else 0


def _parted(args: Arguments) -> tuple[str | None, Sequence[str]]:
    """The architecture, which an ONNX file does without, and the pictures."""
    from dnas.grammar.catalogue import ARCHITECTURE

    named = args.paths[:1]
    if args.onnx is not None:
        named = [path for path in named if os.path.isfile(os.path.join(path, ARCHITECTURE))]
    return (named[0] if named else None), args.paths[len(named) :]


def _predictor(args: Arguments, arch: str | None) -> Any:
    from dnas.errors import UserError
    from dnas.export.prediction import of_onnx, of_result
    from dnas.runs.result import read_result

    result = None if arch is None else read_result(arch, args.weights)
    if args.onnx is not None:
        return of_onnx(args.onnx, result)
    if result is None:
        raise UserError("RUN: nothing given; see python -m dnas.predict --help")
    return of_result(result)


def _files(paths: Iterable[str]) -> list[Path]:
    """Every picture, those of folders in order of their names; tells what folders hold besides.

    Raises:
        InputError: a folder without pictures.
    """
    from dnas.data.class_folders import SUFFIXES
    from dnas.data.names import counted
    from dnas.errors import InputError
    from dnas.files import text_of

    files: list[Path] = []
    for path in map(Path, paths):
        if not path.is_dir():
            files.append(path)
            continue
        inside = sorted(p for p in path.rglob("*") if p.is_file() and not p.name.startswith("."))
        found = [p for p in inside if p.suffix.lower() in SUFFIXES]
        if not found:
            raise InputError(str(path), "no pictures in this folder", accepted=" ".join(SUFFIXES))
        if len(found) < len(inside):
            left = counted(len(inside) - len(found), "file")
            print(f"{text_of(str(path))}: {left} of other kinds left out", file=sys.stderr)
        files += found
    return files


def _predicted(predictor: Any, files: Sequence[Path], args: Arguments) -> list[dict[str, Any]]:
    """A row for each picture, in order; told at once unless JSON is asked for."""
    from rich.console import Console

    from dnas.export.prediction import predict
    from dnas.process.progress import progress

    rows = []
    # Lines on a terminal show by themselves how far it is.
    shown = Console(stderr=True, quiet=len(files) < MANY or sys.stdout.isatty() and not args.json)
    with progress(shown, len(files), "pictures") as update:
        for answer in predict(predictor, files, lambda done: update(done, "")):
            rows.append(row := _row(answer, predictor.labels, args.top))
            if not args.json:
                _tell(row)
    return rows


def _row(answer: Any, labels: Sequence[str], top: int) -> dict[str, Any]:
    if answer.probabilities is None:
        return {"file": answer.file, "error": f"cannot be read: {answer.reason}"}
    order = sorted(range(len(labels)), key=lambda n: -answer.probabilities[n])[:top]
    guesses = [
        {"class": labels[n], "number": n, "probability": round(float(answer.probabilities[n]), 6)} for n in order
    ]
    return {"file": answer.file, "top": guesses}


def _tell(row: dict[str, Any]) -> None:
    if "error" in row:
        print(f"error: {row['file']}: {row['error']}", file=sys.stderr)
        return
    print(f"{row['file']}: " + ", ".join(f"{guess['class']} {guess['probability']:.1%}" for guess in row["top"]))
