"""Exports and pages from Python: the functions of `python -m dnas.export` and `python -m dnas.report`."""

from __future__ import annotations

import os
from pathlib import Path

from dnas.api.guard import guarded
from dnas.api.results import RunResult
from dnas.api.values import plain_arguments
from dnas.errors import InputError, suggestion


@plain_arguments
def run_export(
    architecture: str | os.PathLike[str] | RunResult, to: str, out: str | os.PathLike[str], *,
    weights: str | os.PathLike[str] | None = None, seed: int = 0, overwrite: bool = False,
) -> list[str]:  # fmt: skip
    """Writes a network for another runtime or framework, as `python -m dnas.export` does.

    Args:
        architecture: a result, the path of one or of an architecture's file, or the name of a published one.
        to: `onnx`, `stablehlo`, `litert`, `timm`, `flax` or `torch`.
        out: file to write, or a folder.
        weights: a safetensors file; that beside the architecture if not given, random initial ones without any.
        seed: of the random initial weights.
        overwrite: replace files that hold something else.

    Returns:
        What the command prints: how the file was checked, its input and costs, and the files written.

    Raises:
        UserError: a network that the target cannot hold, an export that differs from the network, a file that cannot be
            written.
        MissingExtra: a package that the target needs is not installed.
    """
    with guarded():
        from dnas.export.write import MAKERS, export

        if to not in MAKERS:
            raise InputError("to", f"unknown target{suggestion(str(to), MAKERS)}", found=to, accepted=", ".join(MAKERS))
        file = None if weights is None else Path(weights)
        return export(os.fspath(architecture), to, file, Path(out), seed, overwrite)


@plain_arguments
def write_report(
    *runs: str | os.PathLike[str] | RunResult, out: str | os.PathLike[str], png: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
) -> list[str]:  # fmt: skip
    """Writes one HTML page about a run, or several side by side, as `python -m dnas.report` does.

    Args:
        *runs: results, or their folders.
        out: page to write.
        png: folder for the same pictures as PNG files (needs `dnas[report]`).
        overwrite: replace files that are neither pages nor pictures of an earlier report.

    Returns:
        What the command prints: the files written, and a sentence on each run.

    Raises:
        UserError: a folder that is no run's, a damaged file, a page that cannot be written or would replace another
            file.
    """
    with guarded():
        from dnas.report.write import write_report as write

        return write([Path(run) for run in runs], Path(out), None if png is None else Path(png), overwrite)
