"""Does a latency table add up? Whole-network times against the table's sums.

    python experiments/tables_here.py                # first: the tables, on a quiet machine
    python experiments/lut_additivity.py             # about 35 minutes on 2 cores, on a quiet machine

Of each space 30 networks are drawn evenly over ten bins of log MACs and timed whole in five interleaved repeats (each
repeat times every network once), one thread, batch 1, on onnxruntime. The table's sum, interpolated entries included,
is compared after one base and one scale (least squares in relative error), which are printed. Expected: Spearman at
least 0.95, median absolute error at most 10 %. The same networks on XLA-CPU are reported beside it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

from dnas.cli.entry import run  # noqa: E402
from dnas.cost import ledger  # noqa: E402
from dnas.cost.latency import latency_cost  # noqa: E402
from dnas.cost.latency_table import read_table  # noqa: E402
from dnas.errors import UserError  # noqa: E402
from dnas.export import parity  # noqa: E402
from dnas.export.trace import trace  # noqa: E402
from dnas.files import write_atomic, write_json  # noqa: E402
from dnas.grammar.catalogue import find_table, load_space  # noqa: E402
from dnas.graph import graph_of  # noqa: E402
from dnas.graph.architecture import architecture  # noqa: E402
from dnas.measure.protocol import Protocol, time_together  # noqa: E402
from dnas.measure.runtimes import onnx_program  # noqa: E402
from dnas.nn.supernet import init  # noqa: E402
from dnas.space.quantity import Assignment  # noqa: E402
from dnas.space.space import Space  # noqa: E402

BINS = 10
RuntimeName = Literal["onnxruntime", "xla"]


@dataclass(frozen=True)
class Arguments:
    """Whole-network times against sums of latency tables."""

    tables: tuple[str, ...] = tuple(f"{name}=cpu_2core_ort_{name}" for name in ("fbnetv1", "fbnetv2", "fbnetv2_free"))
    """SPACE=TABLE, each a name or a path."""
    networks: int = 30
    repeats: int = 5
    calls: int = 40
    """Of one network in one repeat, at most two seconds of them."""
    runtimes: tuple[RuntimeName, ...] = ("onnxruntime", "xla")
    seed: int = 0
    out: Path = Path("experiments/results/lut_additivity.json")
    """JSON with every network's figures, and a Markdown table beside it."""


def main(args: Arguments) -> None:
    found = []
    for pair in args.tables:
        space, table = pair.split("=", 1)
        for runtime in args.runtimes:
            found.append(compare(space, table, runtime, args))
            write_json(args.out, {"comparisons": found})
            write_atomic(args.out.with_suffix(".md"), markdown(found))


def compare(space_name: str, table: str, runtime: RuntimeName, args: Arguments) -> dict[str, Any]:
    """One space on one runtime: figures, and MACs, time and sum of every network."""
    space, path = load_space(space_name), find_table(table)
    latency = latency_cost(space, read_table(path))
    print(f"{space.name} on {runtime}, {path.stem}: {latency.coverage.summary()}")
    drawn, macs = draw(space, args.networks, args.seed)
    programs = [program(architecture(space, a).network, runtime) for a in drawn]
    protocol = Protocol(warm_up=5, repeats=args.calls)
    rounds = np.array([[t.median for t in time_together(programs, protocol)] for _ in range(args.repeats)]) * 1e3
    whole, sums = np.median(rounds, 0), np.array([ledger.at(latency.cost, a) for a in drawn])
    figures = compared(whole, sums, macs)
    figures["spread_between_repeats"] = float(np.median(rounds.max(0) / rounds.min(0) - 1))
    figures["load_average"] = os.getloadavg()[0]
    for name, value in figures.items():
        print(f"{name:>26}: {value:.4g}")
    columns = zip(macs.tolist(), whole.tolist(), sums.tolist(), strict=True)
    rows = [{"macs": int(m), "whole_ms": w, "sum_ms": s} for m, w, s in columns]
    return {"space": space.name, "table": path.stem, "runtime": runtime, **figures, "drawn": rows}


def markdown(found: list[dict[str, Any]]) -> str:
    """The figures as a table."""
    names = {
        "spearman": "Spearman", "spearman_lower_half": "lower half", "spearman_upper_half": "upper half",
        "median_error": "median error", "p90_error": "p90 error", "base_ms": "base, ms", "scale": "scale",
        "median_error_plain_sum": "median error of the plain sum", "spread_between_repeats": "spread between repeats",
    }  # fmt: skip
    lines = [
        "Whole-network times against table sums; errors after one base and one scale.", "",
        "| space | runtime | networks | " + " | ".join(names.values()) + " |", "|---" * (len(names) + 3) + "|",
    ]  # fmt: skip
    for row in found:
        cells = (f"{row[name]:.1%}" if "error" in name or "spread" in name else f"{row[name]:.4f}" for name in names)
        lines.append(f"| {row['space']} | {row['runtime']} | {row['networks']} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def draw(space: Space, count: int, seed: int) -> tuple[list[Assignment], np.ndarray]:
    """Networks spread evenly over ten equal bins of log MACs, as far as each bin has any.

    Uniform draws would all lie in the middle: options are weighted by what they cost, from all for the cheap ones to
    all for the dear ones.
    """
    generator = np.random.default_rng(seed)
    cost = ledger.merged(ledger.macs(graph_of(space).ledger))
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
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


if __name__ == "__main__":
    run(main, Arguments)
