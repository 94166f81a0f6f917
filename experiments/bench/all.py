"""All benchmarks: measured, kept as JSON, and the table of `docs/performance.md` filled from it.

    python experiments/bench/all.py                          # everything, about 25 minutes on two quiet cores
    python experiments/bench/all.py --parts step64 torch64   # a part alone; the others' figures stay
    python experiments/bench/all.py --no-times               # the compiler's figures alone
    python experiments/bench/all.py --parts                  # fills the table and measures nothing

A part replaces its own figures in `experiments/results/bench.json`; the table in `docs/performance.md` stands between
markers and is never written by hand. Times need a quiet machine. `DNAS_CACHE` names a cache of compiled programs that
stays from part to part; the part `compile` has its own.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import compile as compiling
import gemm
import largest
import low_memory
import one_of
import options
import step

from dnas.cli.entry import run
from dnas.cpu.restart import huge_pages_are_asked_for
from dnas.errors import InputError
from dnas.files import write_atomic, write_json
from dnas.process.provenance import provenance

ROOT = Path(__file__).resolve().parents[2]
RESULTS, PAGE = ROOT / "experiments" / "results" / "bench.json", ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"

PARTS: dict[str, tuple[Any, Any]] = {
    "step64": (step, step.Arguments(px=64, against="plain", rounds=40)),
    "step112": (step, step.Arguments(px=112, against="plain", rounds=20)),
    "torch64": (step, step.Arguments(px=64, against="torch")),
    "torch112": (step, step.Arguments(px=112, against="torch", rounds=20)),
    "options": (options, options.Arguments()),
    "one_of64": (one_of, one_of.Arguments(px=64)),
    "one_of112": (one_of, one_of.Arguments(px=112)),
    "low_memory": (low_memory, low_memory.Arguments()),
    "efficientformerv2": (largest, largest.Arguments()),
    "gemm64": (gemm, gemm.Arguments(px=64)),
    "gemm112": (gemm, gemm.Arguments(px=112)),
    "compile": (compiling, compiling.Arguments()),
}
"""A benchmark and what it is asked."""


class Row(NamedTuple):
    """A line of the table: what is asked, and where the figures stand."""

    check: str
    asked: str
    part: str
    figures: tuple[str, ...]
    form: str = "{:.2f}"


def _step(part: str, px: int) -> list[Row]:
    over = ("time_over_plain", "flops_over_plain", "memory_over_plain")
    return [
        Row(f"all choices but resolution / plain largest network, {px} px: time, FLOPs, memory",
            "1.25, 1.08, 1.40", part, over),
        Row(f"with six resolutions, soft, {px} px: time, FLOPs, memory",
            "1.8, 1.4, 1.5", part, tuple(f"{name}_six_soft" for name in over)),
        Row(f"with six resolutions, one sampled, {px} px: time", "1.1", part, ("time_over_plain_six_sampled",)),
    ]  # fmt: skip


def _torch(part: str, px: int, asked: str) -> list[Row]:
    pages = "large pages, small pages"
    same, branches = "time_over_torch_same", "time_over_torch_branches"
    return [
        Row(f"step / PyTorch eager, eight blocks a layer as branches, {px} px", "0.2", part, (branches,)),
        Row(f"step / PyTorch eager, same factorised network, {px} px: {pages}", asked, part,
            (same, f"{same}_small_pages")),
    ]  # fmt: skip


ROWS = [
    *_step("step64", 64), *_step("step112", 112), *_torch("torch64", 64, "0.5, 0.75"),
    *_torch("torch112", 112, "0.6, 0.85"),
    Row("12 options a choice / 1: FLOPs, bytes, memory", "1.005", "options",
        tuple(f"{name}_of_twelve_options" for name in ("flops", "bytes", "memory")), "{:.4f}"),
    Row("a path for each of 36 pairs of widths / masks: time, memory", "15", "options",
        ("time_of_separate_pairs", "memory_of_separate_pairs"), "{:.1f}"),
    *(
        Row(f"fbnetv1, nine blocks a layer, soft / sampled, {px} px: time", "5", f"one_of{px}", ("time_of_soft",),
            "{:.1f}")
        for px in (64, 112)
    ),
    Row("low memory, eight equal layers: memory saved, time", "4, 1.5", "low_memory",
        ("memory_of_identical", "time_of_identical")),
    Row("low memory, fbnetv2: memory saved, time", "1.8, 1.5", "low_memory", ("memory_of_fbnetv2", "time_of_fbnetv2")),
    Row("efficientformerv2 / its largest network: time", "1.3", "efficientformerv2", ("time_over_largest",)),
    Row("share of the peak of matrix products, 64 px", "0.30", "gemm64", ("share_by_compiler_choices",)),
    Row("share of the peak of matrix products, 112 px", "0.30", "gemm112", ("share_by_compiler_choices",)),
    Row("ready to search, s: first start, second start", "20, 10", "compile", ("cold_s", "second_s"), "{:.1f}"),
]  # fmt: skip


@dataclass(frozen=True)
class Arguments:
    """All benchmarks and the page's table."""

    parts: tuple[str, ...] = tuple(PARTS)
    times: bool = True
    """Take times; --no-times leaves them out, for a machine that is not quiet."""


def main(args: Arguments) -> None:
    for name in args.parts:
        if name not in PARTS:
            raise InputError("--parts", "unknown", found=name, accepted=", ".join(PARTS))
    found = recorded()
    for name in args.parts:
        made = provenance()
        machine = {key: made[key] for key in ("date", "platform", "device", "versions")}
        module, asked = PARTS[name]
        figures = module.measured(asked if args.times else replace(asked, rounds=0))
        found[name] = machine | {"cpus": os.cpu_count(), "large_pages": huge_pages_are_asked_for()} | figures
        write_json(RESULTS, {part: found[part] for part in PARTS if part in found})
        print(
            name, *[f"{key}={value}" for key, value in figures.items() if key != "contenders"], sep="\n  ", flush=True
        )
    text = PAGE.read_text()
    if BEGIN in text:
        write_atomic(PAGE, filled(text, table(found)))


def recorded() -> dict[str, dict[str, Any]]:
    """What was measured so far, part by part."""
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else {}


def table(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Markdown; rows of which nothing was measured are left out, and a dash stands for a figure that was not."""
    if not found:
        return "Nothing was measured yet."
    lines = ["| figure | asked | reached |", "|---|---|---|"]
    for row in ROWS:
        values = [found.get(row.part, {}).get(name) for name in row.figures]
        if any(value is not None for value in values):
            reached = ["-" if value is None else row.form.format(value) for value in values]
            lines.append(f"| {row.check} | {row.asked} | {', '.join(reached)} |")
    return "\n".join(lines)


def filled(text: str, between: str) -> str:
    """The text with what stands between the markers replaced."""
    before, rest = text.split(BEGIN, 1)
    return f"{before}{BEGIN}\n{between}\n{END}{rest.split(END, 1)[1]}"


if __name__ == "__main__":
    run(main, Arguments)
