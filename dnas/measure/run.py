"""A measurement from space to table: plan, chunks of interleaved timings, resume, interpolation error."""

from __future__ import annotations

import datetime
import os
import platform
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from dnas.cost import ledger
from dnas.cost.interpolate import Interpolator
from dnas.cost.latency import entries_by_kind, latency_cost
from dnas.cost.latency_table import Entry, LatencyTable, Measured, write_table
from dnas.errors import InputError, Stopped, UserError
from dnas.grammar.catalogue import load_space
from dnas.measure import measurement as measurements
from dnas.measure.blocks import BlockSpec, distinct_blocks
from dnas.measure.plan import Plan, duration, make_plan
from dnas.measure.protocol import Protocol, measured
from dnas.measure.runtimes import Runtime, device, runtime
from dnas.process.interrupt import Asked, stopping_at_once
from dnas.process.progress import beside, working
from dnas.runs.following import Next, command, lines
from dnas.space.space import Space

CHUNK = 16
PROBES = 5
SAVE_EVERY_S = 5.0


def measure(
    name: str, runtime_name: str, *, out: Path | None = None, minutes: float = 30, threads: int = 1,
    resume: bool = False, plan_only: bool = False, protocol: Protocol | None = None,
    say: Callable[[str], None] = print, progress: Callable[..., Any] | None = None,
) -> LatencyTable | None:  # fmt: skip
    """Measures the blocks of a space and writes the table; returns it (None where only the plan was asked for)."""
    protocol = protocol or Protocol()
    space = load_space(name)
    made = runtime(runtime_name, threads)
    out = Path(f"{space.name}_{runtime_name}.json") if out is None else out
    partial = measurements.partial_path(out)
    _check_files(out, partial, resume, plan_only)
    conditions = {
        "space": space.name, "space_hash": measurements.space_hash(space), "runtime": runtime_name,
        "device": device(runtime_name), "threads": threads, "versions": made.about,
    }  # fmt: skip
    with working(beside(), "listing the space's blocks"):
        blocks = distinct_blocks(space)
    if resume:
        so_far = measurements.load(partial, conditions)
        say(f"going on with {partial}: {len(so_far.results):,} of {len(so_far.plan):,} blocks measured")
    else:
        with working(beside(), "timing a few blocks for the plan"):
            plan = plan_for(blocks, made, minutes, protocol)
        say(plan.describe(space.name))
        if plan_only:
            return None
        started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        so_far = measurements.Measurement(conditions, started, [b.key for b in plan.blocks], {})
        measurements.save(partial, so_far)
    by_key = {b.key: b for b in blocks}
    for key in (*so_far.plan, *so_far.results):
        if key not in by_key:  # another version of dnas may have named blocks otherwise
            accepted = "to start anew without --resume after removing the file"
            raise InputError(str(partial), f"no block of {space.name}", found=key, accepted=accepted)
    _measure(made, so_far, [by_key[key] for key in so_far.plan], partial, protocol, minutes * 60, say, progress)
    with working(beside(), "checking how well blocks between the measured ones are estimated"):
        table = table_of(so_far, out.stem, protocol)
    write_table(out, table)
    partial.unlink(missing_ok=True)
    for line in report(table, so_far, protocol):
        say(line)
    say(f"wrote {out}")
    for line in lines(_following(name, space, table, out)):
        say(line)
    return table


def _following(name: str, space: Space, table: LatencyTable, out: Path) -> list[Next]:
    """A search under the mean latency of the space's networks, which some keep and some do not."""
    check = command("lut", "check", out), "what cannot be right in it"
    if space.is_architecture:
        return [check, (command("lut", "show", out, "--space", name), "what it covers")]
    with working(beside(), "adding the blocks up"):
        try:
            cost = latency_cost(space, table).cost
        except UserError:  # time was up before every kind of block was measured
            return [(command("lut", "check", out, "--space", name), "what it lacks")]
        mean = float(ledger.mean(cost, {c.name: np.full(len(c), 1 / len(c)) for c in space.choices}))
    budget = f"{np.format_float_positional(mean, 3, fractional=False, trim='-')}ms@{out}"
    return [check, (command("search", name, "--budget", budget), "a network within the mean latency of the space")]


def plan_for(blocks: list[BlockSpec], made: Runtime, minutes: float, protocol: Protocol) -> Plan:
    """The measuring plan of a space's blocks, its duration estimated from a few blocks timed now."""
    by_work = sorted(blocks, key=lambda b: b.macs)
    probes = [by_work[i] for i in np.unique(np.linspace(0, len(blocks) - 1, PROBES).astype(int))]
    short = Protocol(warm_up=3, repeats=10, most_s=0.5)
    build, times = [], []
    for block in probes:
        start = time.perf_counter()
        program = made.build(block)
        build.append(time.perf_counter() - start)
        times.append(measured([program], short)[0].median)
    # At least as long as the fastest of them, and in proportion to multiply-adds as the slowest in that regard.
    base = min(times)
    rate = max((t - base) / max(1, b.macs) for t, b in zip(times, probes, strict=True))

    def cost(block: BlockSpec) -> float:
        one = base + rate * block.macs
        most = max(protocol.most_s, 10 * one)
        return float(np.mean(build)) + min(most, protocol.repeats * one) + protocol.warm_up * one

    return make_plan(blocks, minutes * 60, cost)


def _measure(
    made: Runtime, so_far: measurements.Measurement, planned: list[BlockSpec], partial: Path, protocol: Protocol,
    bound_s: float, say: Callable[[str], None], progress: Callable[..., Any] | None,
) -> None:  # fmt: skip
    left = [block for block in planned if block.key not in so_far.results]
    chunks = [left[i : i + CHUNK] for i in range(0, len(left), CHUNK)]
    bar = progress(len(planned), len(planned) - len(left)) if progress is not None else _silent()
    saved = time.perf_counter()
    try:
        with bar as advance, stopping_at_once():
            for chunk in chunks:
                start = time.perf_counter()
                timings = measured([made.build(block) for block in chunk], protocol)
                for block, timing in zip(chunk, timings, strict=True):
                    so_far.add(block.key, timing)
                now = time.perf_counter()
                so_far.elapsed_s += now - start
                so_far.load = max(so_far.load, os.getloadavg()[0])
                if now - saved > SAVE_EVERY_S:
                    measurements.save(partial, so_far)
                    saved = now
                advance(len(chunk))
                if so_far.elapsed_s > bound_s and len(so_far.results) < len(planned):
                    say(f"time is up: {len(so_far.results):,} of {len(planned):,} planned blocks measured")
                    return
    except Asked as asked:
        told = f"{len(so_far.results):,} of {len(planned):,} blocks measured"
        raise Stopped(f"stopped with {told}; the same command with --resume goes on", asked.number) from None
    finally:
        measurements.save(partial, so_far)


def table_of(so_far: measurements.Measurement, name: str, protocol: Protocol) -> LatencyTable:
    """The table of what was measured, with the cross-validated error of interpolating it."""
    entries: dict[str, float | Entry] = {}
    for key in sorted(so_far.results):
        t = so_far.timing(key)
        entries[key] = Entry(_ms(t.median), _ms(t.p90 - t.p10), t.repeats)
    timings = [so_far.timing(key) for key in so_far.results]
    c = so_far.conditions
    again = sum(t.tries > 1 for t in timings)
    unsettled = sum(t.disagreement > protocol.disagree for t in timings)
    details = Measured(
        warm_up=protocol.warm_up, repeats=protocol.repeats, statistic="median", spread="p90 - p10",
        threads=c["threads"], precision="float32", batch=1, versions=c["versions"], host=platform.platform(),
        load=round(so_far.load, 2), date=so_far.started, duration_s=round(so_far.elapsed_s, 1),
        extra={
            "planned": len(so_far.plan), "passes": 2, "disagreement_allowed": protocol.disagree,
            "measured_again": again, "still_disagreeing": unsettled, "cores": os.cpu_count(),
            "median_of_least_over_median": round(float(np.median([t.least / t.median for t in timings])), 4),
        },
    )  # fmt: skip
    label = "XLA" if c["runtime"] == "xla" else c["runtime"]
    table = LatencyTable(
        name=name, device=c["device"], runtime=label, unit="ms", entries=entries, measured=details,
        about=f"blocks of {c['space']}, each as a network of its own, batch 1, {c['threads']} thread(s)",
    )  # fmt: skip
    described = entries_by_kind(table)
    crossed = {kind: Interpolator(blocks, ms, relative=False).record for kind, (blocks, ms, _) in described.items()}
    return msgspec.structs.replace(table, interpolation=crossed)


def report(table: LatencyTable, so_far: measurements.Measurement, protocol: Protocol) -> Iterator[str]:
    """What a user should know of a finished table."""
    extra = table.measured.extra
    yield (
        f"{len(table.entries):,} blocks in {duration(so_far.elapsed_s)}; {extra['measured_again']} measured again, "
        f"{extra['still_disagreeing']} still differ by more than {protocol.disagree:.0%} between passes; "
        f"load average at most {so_far.load:.1f}"
    )
    if so_far.load > 1 + (table.measured.threads or 1):
        yield "note: other programs were running; a quiet machine gives a better table"
    for kind, crossed in table.interpolation.items():
        if crossed.median_error is not None and crossed.p90_error is not None:
            yield (
                f"interpolation of {kind}: off by {crossed.median_error:.1%} (median), {crossed.p90_error:.1%} (p90) "
                f"on entries left out ({crossed.entries:,} entries, {crossed.method})"
            )
        else:
            yield f"interpolation of {kind}: too few entries to say ({crossed.entries})"


def _ms(seconds: float) -> float:
    return float(f"{seconds * 1e3:.5g}")


def _check_files(out: Path, partial: Path, resume: bool, plan_only: bool) -> None:
    if plan_only:
        return
    if out.exists():
        raise InputError(str(out), "exists already; it is not overwritten", accepted="another --out")
    if resume and not partial.exists():
        raise InputError(str(partial), "nothing to go on with", accepted="a stopped measurement of the same --out")
    if partial.exists() and not resume:
        raise InputError(str(partial), "a stopped measurement", accepted="--resume to go on, or remove the file")


class _silent:
    def __enter__(self) -> Callable[[int], None]:
        return lambda count: None

    def __exit__(self, *args: object) -> None:
        pass
