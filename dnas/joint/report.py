"""What a joint search tells people: lines on the way, `joint.md` and `joint.png`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from dnas.cost.budget import parse_budget
from dnas.files import write_atomic
from dnas.joint.early import CORRELATION
from dnas.joint.stages import Coarse
from dnas.process.extras import unusable
from dnas.report.spec import png
from dnas.report.why import expected
from dnas.runs.joint import Member, Record
from dnas.space import units

if TYPE_CHECKING:
    from dnas.joint.request import Given

MARKDOWN, PICTURE = "joint.md", "joint.png"
SHOWN = 10
"""Fields that are shown on the console."""


def opening(given: Given, known: Record | None) -> list[str]:
    """What is going to be searched."""
    pairs, plan, data = given.pairs, given.plan, given.dataset
    limits = ", ".join(" and ".join(m.budget.text for m in t.budgets) or "no budget" for t in given.targets)
    lines = [
        f"{pairs.space.name}: {pairs.split} choices of the architecture, {len(pairs.recipe_choices)} of the recipe "
        f"{given.recipes.name}; {limits}",
        f"data: {data.name}, images of {given.images.side} px; every network trained from scratch with seed "
        f"{given.seed}",
    ]
    if known is not None:
        many = f"{plan.last} for each of {len(given.targets)} results" if len(given.targets) > 1 else f"{plan.last}"
        return [
            *lines,
            f"the predictor begins with {len(known.trained)} trainings of this folder; new trainings: {many}",
        ]
    rounds = " + ".join(map(str, plan.coarse))
    return [*lines, f"trainings: {rounds} candidates, then {plan.last} whole for each of {len(given.targets)} results"]


def stopped(stage: Coarse) -> list[str]:
    """How early trainings stop."""
    if not stage.correlations:
        return []
    shown = ", ".join(f"{c:.2f}" for c in stage.correlations)
    told = f"rank correlation with the end after each epoch: {shown}"
    if stage.epoch is None:
        return [f"{told}; none before the end reaches {CORRELATION}: no training stops early"]
    return [f"{told}; later candidates stop after epoch {stage.epoch}"]


def closing(found: Record) -> list[str]:
    """The results, and which fields matter."""
    lines = ["", "found:"]
    lines += [f"  {line}" for member in found.members for line in _result(found, member)]
    if found.rank_correlation is not None:
        lines.append(f"predicted against measured: rank correlation {found.rank_correlation:.2f} over candidates "
                     "that were predicted before they were trained")  # fmt: skip
    fields = ", ".join(f"{f.name} {f.share:.0%} ± {f.error:.0%}" for f in found.fields[:SHOWN])
    return [*lines, f"which fields matter: {fields}" + (" ..." if len(found.fields) > SHOWN else "")]


def _result(found: Record, member: Member) -> Iterator[str]:
    """The pair of some budgets, in a few lines."""
    best = member.winners[0]
    for cost in member.budgets:
        budget = parse_budget(cost.budget)
        yield f"{cost.budget}: {budget.shown(cost.cost)}, {cost.cost / cost.limit:.1%} of it"
    test = "" if best.test is None else f", test {units.share(best.test)}"
    predicted = f"{found.expectation} {units.share(best.predicted)} ± {units.share(best.spread)}"
    then = f", measured then {units.share(best.curve[found.end(best.curve)])}" * (found.epoch is not None)
    yield f"validation {units.share(best.curve[-1])}{test}; {predicted}{then}"
    yield ", ".join(f"{name} {option}" for name, option in member.taken.items())


def write(found: Record, out: Path) -> None:
    """Writes `joint.md` and, where vl-convert is installed (extra `report`), `joint.png`."""
    write_atomic(out / MARKDOWN, "\n".join(markdown(found)) + "\n")
    if not unusable("vl_convert"):
        write_atomic(out / PICTURE, png(expected(found)))


def markdown(found: Record) -> Iterator[str]:
    """The lines of `joint.md`."""
    yield f"# {found.space}: architecture and recipe together"
    yield ""
    yield f"| budget | cost | validation | test | {found.expectation} | measured then |"
    yield "|---|---|---|---|---|---|"
    for member in found.members:
        best = member.winners[0]
        costs = "<br>".join(parse_budget(c.budget).shown(c.cost) for c in member.budgets)
        budgets = "<br>".join(c.budget for c in member.budgets) or "none"
        test = "-" if best.test is None else units.share(best.test)
        predicted = f"{units.share(best.predicted)} ± {units.share(best.spread)}"
        then = units.share(best.curve[found.end(best.curve)])
        yield f"| {budgets} | {costs or '-'} | {units.share(best.curve[-1])} | {test} | {predicted} | {then} |"
    yield from ("", "## Which fields matter", "")
    yield "Share of the predicted variance that goes with each choice, and its spread over the ensemble."
    yield from ("", "| choice | share | spread | options | taken |", "|---|---|---|---|---|")
    for f in found.fields:
        options, taken = ", ".join(map(str, found.choices[f.name])), found.members[0].taken[f.name]
        yield f"| {f.name} | {f.share:.1%} | {f.error:.1%} | {options} | {taken} |"
    yield from (
        "",
        "## Candidates",
        "",
        "| training | expected | measured | epochs | options |",
        "|---|---|---|---|---|",
    )
    for t in found.trained:
        options = ", ".join(str(o[n]) for o, n in zip(found.choices.values(), t.options, strict=True))
        expected = "-" if t.expected is None else units.share(t.expected)
        yield f"| {t.folder} | {expected} | {units.share(t.curve[-1])} | {len(t.curve)} | {options} |"
