"""What a page has, in which order: the networks, the answer in pictures, why, and last how it was learned."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from dnas.judge import beside, tables
from dnas.judge.facts import FEW, accuracy, searches, trainings
from dnas.report import costs, course, why
from dnas.report.network import network_html
from dnas.report.page import Section
from dnas.report.spec import Chart
from dnas.report.svg import clean
from dnas.runs.candidates import Candidate, candidates
from dnas.runs.comparison import Compared
from dnas.runs.evaluation import evaluations
from dnas.runs.joint import read_record
from dnas.runs.run import Run
from dnas.runs.seeds import several_among

DRAWN = """From the image to the classes. A shape's height is its channels: in, inside, out. Its colour is the kernel; a
dashed line marks squeeze-excite; e is the expansion, h the heads of attention, n×n the kernel or window. Under the
kind, the block's path in the search space. Below, the output map to scale, or how many tokens."""


def sections(runs: Sequence[Run], compared: Sequence[Compared]) -> list[Section]:
    """Those that have anything to show."""
    found = {run.position: candidates(run) for run in runs}
    one, learnt, trained, count = len(runs) == 1, searches(runs), trainings(runs), len(runs)
    first = found[runs[0].position] if one else []
    grown = [run for run in runs if tables.is_grown(run)]
    joint = [record for run in runs[:one] if (record := read_record(Path(run.folder))) is not None]
    met = [*costs.met(runs, found), *why.tried(first), *map(why.expected, joint)]
    optimiser = [*course.courses(learnt, course.SEARCH, count), *course.courses(trained, course.TRAINING, count)]
    mixed = [why.spent(runs[0].network)] if one and runs[0].network else why.spent_by_kind(runs) if count > 1 else ()
    made = [
        _networks(runs, found),
        Section("How good it is", charts=[*costs.pareto(runs), *(costs.against(runs[0], first) if one else ())]),
        *(Section(f"Over the seeds of {s.name}", tables=[tables.seeds(s)], charts=[costs.dots(
            f"seeds-{n}", "Seed by seed", "Their mean, with one standard deviation to both sides, and each run.",
            beside.seeds(s), ())]) for n, s in enumerate(several_among([run.folder for run in runs]).values())),
        Section("Which class is taken for which",
                charts=[why.confusion(run.name, report) for run in runs for report in evaluations(run)]),
        Section("How it was trained", charts=list(course.courses(trained, course.LEARNT, count)),
                tables=[tables.recipes(trained)]),
        Section("How it became small", "The steps that led to a network, from the search or training it began with.",
                charts=list(costs.steps(grown)), tables=list(map(tables.steps, grown))),
        Section("Why: what was chosen", charts=list(_choices(runs, first)), tables=list(map(tables.choices, learnt))),
        Section("Why: where the budget goes", charts=list(mixed)),
        Section("Why: what else was met", charts=met,
                tables=[table for run in learnt for table in tables.met(run, found[run.position])]),
        Section("How the space evolved", charts=list(why.evolved(learnt)), tables=list(map(tables.moves, learnt))),
        *(Section(f"Was the search worth it? {c.found}", c.sentence, charts=[costs.comparison(c, f"comparison-{n}")],
                  tables=[tables.compared(c)]) for n, c in enumerate(compared)),
        Section("How it was learned", f"The optimiser: every quantity over the steps. {course.missing(learnt)}",
                charts=optimiser, folded=True),
        Section("Where it came from", html="".join(map(_provenance, runs)), folded=True),
    ]  # fmt: skip
    return [s for s in made if s.charts or s.html or any(table.rows for table in s.tables)]


def _networks(runs: Sequence[Run], found: dict[int, list[Candidate]]) -> Section:
    """One drawing in sight, the others to be picked, here or in a chart; and the difference of two."""
    several = [(f"{run.position}", f"{run.position + 1} {run.name}", run.network) for run in runs if run.network]
    several += [
        (f"{run.position}-{n}", f"{run.position + 1} {run.name}: {one.origin}, {one.name}", one.network)
        for run in runs for n, one in enumerate(found[run.position]) if one.network
    ]  # fmt: skip
    if not several:
        return Section("")
    best = max(runs, key=lambda run: (run.network is not None, (a := accuracy(run)) is not None and a.value))
    drawn = {key: network_html(network) for key, _, network in several}
    named = "".join(f'<option value="{key}">{clean(name)}</option>' for key, name, _ in several)
    picked = named.replace(f'value="{best.position}"', f'value="{best.position}" selected')
    choose = (
        f'<p class="controls"><label>Network <select id="which">{picked}</select></label><label>compared with <select '
        f'id="other"><option value="">none</option>{named}</select></label></p>'
    )
    stored = "".join(f'<template data-network="{key}">{text}</template>' for key, text in drawn.items())
    shown = f'<div id="network">{drawn[f"{best.position}"]}</div><div id="difference" aria-live="polite"></div>'
    if len(several) == 1:
        return Section("The network", DRAWN, f'<div class="panel">{shown}</div>')
    return Section("The networks", DRAWN, f'<div class="panel">{choose}{shown}</div>{stored}')


def _choices(runs: Sequence[Run], first: Sequence[Candidate]) -> Iterator[Chart]:
    learnt, one = searches(runs), len(runs) == 1
    for run in learnt if len(learnt) <= FEW else ():
        yield from why.shares(run, one)
    if one:
        yield from why.importance(runs[0], first, read_record(Path(runs[0].folder)))


def _provenance(run: Run) -> str:
    facts = "".join(f"<dt>{clean(name)}</dt><dd>{clean(value)}</dd>" for name, value in tables.provenance(run))
    return f"<details><summary>{clean(run.name)}</summary><dl>{facts}</dl></details>"
