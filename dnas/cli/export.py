"""A network for other runtimes and frameworks.

    python -m dnas.export runs/mine --to onnx
    python -m dnas.export fbnetv2_f4 --to torch --out f4.py

Every export is run here on random images and compared with the network itself, where its runtime is installed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

Target = Literal["onnx", "stablehlo", "litert", "timm", "flax", "torch"]


@dataclass(frozen=True)
class Arguments:
    """Exports an architecture with its weights: onnx, stablehlo, litert, timm, flax or torch."""

    arch: Annotated[str, tyro.conf.Positional]
    """Result folder, path to an architecture's file, or name of a published one (see dnas.spaces)."""
    to: Target
    """onnx: dynamic batch, norms folded. stablehlo: jax.export for cpu, cuda and tpu. litert: a .tflite file.
    timm: a short file with timm block strings. flax, torch: one readable file of plain code. Weights beside."""
    weights: Path | None = None
    """Weights as a safetensors file; those beside the architecture if not given, random initial ones without any."""
    out: Path | None = None
    """File or folder to write; NAME with the target's ending, in this folder, if not given. A result folder's name is
    NAME. How pictures reach the network stands beside, as preprocessor_config.json."""
    seed: int = 0
    """Of the random initial weights, where there are no others."""
    overwrite: bool = False
    """Replace files that are there already and hold something else."""


def main(args: Arguments) -> None:
    """Writes a network for another runtime or framework and prints what was checked."""
    from dnas.process.backend import configure

    configure()
    from dnas.export.write import export

    for line in export(args.arch, args.to, args.weights, args.out, args.seed, args.overwrite):
        print(line)
