"""Does a latency table add up? Whole-network times against the table's sums.

    python -m dnas.measure fbnetv2 --out fbnetv2_here.json
    python experiments/lut_additivity.py --space fbnetv2 --table fbnetv2_here.json --out fbnetv2_additivity.json

Networks are drawn evenly over ten bins of log MACs and timed whole in five interleaved repeats (each repeat times every
network once), one thread, batch 1. The table's sum, interpolated entries included, is compared after one base and one
scale (least squares in relative error), which are printed. Expected: Spearman at least 0.95, median absolute error at
most 10 %. Give it a quiet machine; 30 networks take about two minutes with onnxruntime. With `--runtime xla` the same
for XLA on the CPU (start it with XLA_FLAGS="--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1").
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from dnas.architecture import architecture
from dnas.catalogue import find_table, load_space
from dnas.cli import run
from dnas.cost import ledger
from dnas.cost.latency import latency_cost
from dnas.cost.latency_table import read_table
from dnas.errors import UserError
from dnas.export import parity
from dnas.export.trace import trace
from dnas.files import write_json
from dnas.measure.protocol import Protocol, time_together
from dnas.measure.runtimes import onnx_program
from dnas.network import shapes
from dnas.nn.supernet import init
from dnas.space.quantity import Assignment
from dnas.space.space import Space

BINS = 10


@dataclass(frozen=True)
class Arguments:
    """Whole-network times against sums of a latency table."""

    space: str
    table: str
    """Name or path of a latency table of that space."""
    networks: int = 30
    repeats: int = 5
    runtime: Literal["onnxruntime", "xla"] = "onnxruntime"
    seed: int = 0
    out: Path | None = None
    """JSON with every network's figures."""


def main(args: Arguments) -> None:
    space, path = load_space(args.space), find_table(args.table)
    latency = latency_cost(space, read_table(path))
    print(f"{space.name} on {path}: {latency.coverage.summary()}")
    drawn, macs = draw(space, args.networks, args.seed)
    programs = [program(architecture(space, a).network, args.runtime) for a in drawn]
    protocol = Protocol(warm_up=5, repeats=40)
    rounds = np.array([[t.median for t in time_together(programs, protocol)] for _ in range(args.repeats)]) * 1e3
    whole, sums = np.median(rounds, 0), np.array([ledger.at(latency.cost, a) for a in drawn])
    found = compared(whole, sums, macs)
    found["spread_between_repeats"] = float(np.median(rounds.max(0) / rounds.min(0) - 1))
    found["load_average"] = os.getloadavg()[0]
    for name, value in found.items():
        print(f"{name:>26}: {value:.4g}")
    if args.out is not None:
        figures = zip(macs.tolist(), whole.tolist(), sums.tolist(), strict=True)
        rows = [{"macs": int(m), "whole_ms": w, "sum_ms": s} for m, w, s in figures]
        what = {"space": space.name, "table": str(path), "runtime": args.runtime}
        write_json(args.out, {**what, **found, "drawn": rows})


def draw(space: Space, count: int, seed: int) -> tuple[list[Assignment], np.ndarray]:
    """Networks spread evenly over ten equal bins of log MACs, as far as each bin has any.

    Uniform draws would all lie in the middle: options are weighted by what they cost, from all for the cheap ones to
    all for the dear ones.
    """
    generator = np.random.default_rng(seed)
    cost = ledger.merged(ledger.macs(shapes(space)[0].ledger))
    uniform = {c.name: np.full(len(c), 1 / len(c)) for c in space.choices}
    effect = {}
    for choice in space.choices:
        fixed = [uniform | {choice.name: np.eye(len(choice))[n]} for n in range(len(choice))]
        mean = np.log([float(ledger.mean(cost, gates)) for gates in fixed])
        effect[choice.name] = (mean - mean.mean()) / max(1e-9, np.abs(mean - mean.mean()).max())
    found: list[tuple[float, Assignment]] = []
    for tilt in np.linspace(-4, 4, 2000):
        weights = {name: np.exp(tilt * e) for name, e in effect.items()}
        one = {name: int(generator.choice(len(w), p=w / w.sum())) for name, w in weights.items()}
        if all(q.at(one) for q in space.constraints):
            found.append((float(ledger.at(cost, one)), one))
    if len(found) < count:
        raise UserError(f"{space.name}: too few networks satisfy the constraints to draw {count}")
    logs = np.log([m for m, _ in found])
    bins = np.minimum(((logs - logs.min()) / (logs.max() - logs.min()) * BINS).astype(int), BINS - 1)
    queues = [list(generator.permutation(np.flatnonzero(bins == n))) for n in range(BINS)]
    picked: list[int] = []
    while len(picked) < count:
        picked += [int(queue.pop()) for queue in queues if queue][: count - len(picked)]
    picked.sort(key=lambda n: logs[n])
    return [found[n][1] for n in picked], np.array([found[n][0] for n in picked])


def program(network: Space, runtime: str) -> Callable[[], Any]:
    """What runs a network once, with random weights."""
    if runtime == "onnxruntime":
        return onnx_program(trace(network), threads=1)
    x = jnp.asarray(parity.images(network, batch=1))
    compiled = jax.jit(parity.forward(network, init(network, jax.random.key(0)))).lower(x).compile()
    return lambda: jax.block_until_ready(compiled(x))


def compared(whole: np.ndarray, sums: np.ndarray, macs: np.ndarray) -> dict[str, float]:
    """Rank correlations, and the error of base + scale * sum (ms)."""
    design = np.stack([np.ones_like(sums), sums], 1)
    (base, scale), *_ = np.linalg.lstsq(design / whole[:, None], np.ones_like(whole), rcond=None)
    error = np.abs((base + scale * sums) / whole - 1)
    low = macs <= np.median(macs)
    return {
        "networks": len(whole), "spearman": spearman(whole, sums),
        "spearman_lower_half": spearman(whole[low], sums[low]),
        "spearman_upper_half": spearman(whole[~low], sums[~low]),
        "base_ms": float(base), "scale": float(scale),
        "median_error": float(np.median(error)), "p90_error": float(np.quantile(error, 0.9)),
        "median_error_plain_sum": float(np.median(np.abs(sums / whole - 1))),
    }  # fmt: skip


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Rank correlation; ties are improbable among times."""
    ranks = [np.argsort(np.argsort(v)) for v in (a, b)]
    return float(np.corrcoef(*ranks)[0, 1])


if __name__ == "__main__":
    run(main, Arguments)
