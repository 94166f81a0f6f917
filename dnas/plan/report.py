"""A plan as a table and as JSON. Whatever was not measured is called an estimate."""

from __future__ import annotations

from collections import Counter
from typing import Any

from rich.table import Table

from dnas.plan.plan import Plan
from dnas.process.memory_amounts import memory_shown
from dnas.space import units


def document(plan: Plan) -> dict[str, Any]:
    """Everything that is known, as JSON values; memory and bytes are of each device, operations of all together."""
    proxy, total = plan.problem.proxy, plan.arithmetic
    return {
        "space": plan.problem.space.name,
        "strategy": plan.strategy,
        "target": None if plan.target is None else plan.target.name,
        "device": plan.device,
        "devices": plan.devices,
        "precision": plan.problem.precision,
        "batch_size": plan.batch,
        "images": {"side": proxy.resolution.max(), "channels": proxy.channels, "classes": proxy.classes},
        "flops": total.flops,
        "matrix_share": total.products / max(1.0, total.flops),
        "loops_of_unknown_length": total.unknown_loops,
        "bytes": plan.moved,
        "memory": plan.memory,
        "memory_of_device": plan.capacity,
        "operations": {name: counted._asdict() for name, counted in plan.step.counted.items()},
        "programs": {name: made._asdict() | {"memory": made.memory} for name, made in plan.step.compiled.items()},
        "largest_batch": {"images": plan.largest, "how": plan.how},
        "seconds_at_least": plan.at_least,
        "peaks": None if plan.target is None or plan.target.chip is None else vars(plan.target.chip),
    }


def rows(plan: Plan) -> list[tuple[str, str]]:
    """What is said of a plan, and in which words."""
    total, found = plan.arithmetic, list(plan.step.compiled.values())
    share = units.share(total.products / max(1.0, total.flops))
    lines = [
        ("FLOPs of a step", f"{units.counted(total.flops, 'FLOPs')} on all devices, counted in the program"),
        ("in matrix units", f"{share} of them (matrix products and convolutions)"),
    ]
    if found:
        most = max(found, key=lambda c: c.memory)
        of = "" if plan.capacity is None else f" of {memory_shown(plan.capacity)}"
        parts = (("arguments", most.arguments), ("results", most.results), ("temporaries", most.temporaries))
        said = ", ".join(f"{name} {memory_shown(size)}" for name, size in parts)
        lines.append(("memory of a device", f"{memory_shown(most.memory)}{of}: {said}; by the compiler"))
        lines.append(("bytes of a step", f"{memory_shown(int(plan.moved))} on each device; the compiler's estimate"))
        lines.append(("collectives", _collectives(plan)))
    else:
        lines.append(("bytes of a step", f"{memory_shown(int(plan.moved))} by products alone; an estimate"))
        lines.append(("memory", "not known: nothing is compiled for this target here"))
    if plan.largest is not None:
        lines.append(("largest batch", f"{plan.largest} images: an estimate {plan.how}"))
    bound = plan.at_least
    if bound is not None and plan.target is not None and plan.target.chip is not None:
        where = max(bound, key=lambda name: bound[name])
        times = ", ".join(f"{name} {units.timed(1e3 * seconds)}" for name, seconds in bound.items())
        peaks = plan.target.chip.source
        said = (
            f"{units.timed(1e3 * bound[where])}, where {where} is the limit ({times}): an estimate by peaks of {peaks}"
        )
        lines.append(("time of a step, at least", said))
    return lines


def _collectives(plan: Plan) -> str:
    counts: Counter[str] = Counter()
    for made in plan.step.compiled.values():
        if made.collectives is None:
            return "not known: jaxlib cannot show the program that this compiler made"
        counts.update(made.collectives)
    return ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items())) or "none"


def heading(plan: Plan) -> str:
    """What was planned, in a line."""
    proxy = plan.problem.proxy
    where = plan.device if plan.target is None else f"{plan.target.name} ({plan.devices} x {plan.device})"
    return (
        f"{plan.problem.space.name}, {plan.strategy}, {plan.batch} images of {proxy.resolution.max()} px in a step, "
        f"{plan.problem.precision}; on {where}"
    )


def table(plan: Plan) -> Table:
    """For the console."""
    made = Table(box=None, pad_edge=False, show_header=False)
    made.add_column(style="bold", no_wrap=True)
    made.add_column(overflow="fold")
    for row in rows(plan):
        made.add_row(*row)
    return made
