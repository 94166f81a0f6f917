"""What a page has, in which order: the networks, the answer in pictures, why, and last how it was learned."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dnas.files import MAX_JSON, parse_json, read_bytes
from dnas.report import amounts, costs, course, why
from dnas.report.network import network_html
from dnas.report.page import Section, Table
from dnas.report.runs import FEW, accuracy, option_text, searches, taken_text, trainings
from dnas.report.spec import Chart
from dnas.report.svg import clean
from dnas.runs import comparison_table
from dnas.runs.candidates import Candidate, candidates
from dnas.runs.comparison import Compared
from dnas.runs.joint import read_record
from dnas.runs.run import Imported, NetworkFacts, Run, Search, Training
from dnas.space.units import share

EVALUATION = "evaluation.json"
"""In a run's folder: what `dnas.evaluate --json` printed."""
SETTINGS_SHOWN = 200


def sections(runs: Sequence[Run]) -> list[Section]:
    """Those that have anything to show."""
    found = {run.position: candidates(run) for run in runs}
    grown = [run for run in runs if _is_grown(run)]
    one, learnt, trained = len(runs) == 1, searches(runs), trainings(runs)
    first = found[runs[0].position] if one else []
    joint = [record for run in runs[:one] if (record := read_record(Path(run.folder))) is not None]
    made = [
        _networks(runs, found),
        Section("How good it is", charts=[*costs.pareto(runs), *(costs.against(runs[0], first) if one else ())]),
        Section("Which class is taken for which", charts=[why.confusion(r) for run in runs for r in _evaluated(run)]),
        Section("The training" if len(trained) == 1 else "The trainings",
                charts=list(course.courses(trained, course.LEARNT, len(runs))), tables=[_recipes(trained)]),
        Section("How it became small", "The steps that led to a network, from the search or training it began with.",
                charts=list(costs.steps(grown)), tables=list(map(_steps, grown))),
        Section("Why: what was chosen", charts=list(_choices(runs, found)),
                tables=list(map(_taken, learnt))),
        Section("Why: where the budget goes", charts=_spent(runs)),
        Section("Why: what else was met",
                charts=[*costs.met(runs, found), *why.tried(first), *map(why.expected, joint)],
                tables=[table for run in learnt for table in _chain(run, found[run.position])]),
        Section("How the space evolved", charts=list(why.evolved(learnt)), tables=list(map(_moves, learnt))),
        Section("How it was learned", f"The optimiser: every quantity over the steps. {course.missing(learnt)}",
                charts=[*course.courses(learnt, course.SEARCH, len(runs)),
                        *course.courses(trained, course.TRAINING, len(runs))], folded=True),
        Section("Where it came from", html=provenance(runs), folded=True),
    ]  # fmt: skip
    return [s for s in made if s.charts or s.html or any(table.rows for table in s.tables)]


def compared_sections(several: Sequence[Compared]) -> list[Section]:
    """One for each comparison."""
    return [
        Section(
            f"Was the search worth it? {c.found}", c.sentence, charts=[costs.comparison(c, f"comparison-{n}")],
            tables=[Table("Networks trained alike", comparison_table.head(c), tuple(comparison_table.rows(c)),
                          " ".join((comparison_table.how(c), f"{c.standard_errors}.", *c.notes, *c.warnings)))],
        )
        for n, c in enumerate(several)
    ]  # fmt: skip


# Networks ---------------------------------------------------------------------------------------------------------


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
    drawn: dict[str, NetworkFacts] = {key: network for key, _, network in several}
    picked = "".join(
        f'<option value="{k}"{" selected" * (k == f"{best.position}")}>{clean(n)}</option>' for k, n, _ in several
    )
    others = "".join(f'<option value="{key}">{clean(name)}</option>' for key, name, _ in several)
    choose = (
        f'<p class="controls"><label>Network <select id="which">{picked}</select></label><label>compared with '
        f'<select id="other"><option value="">none</option>{others}</select></label></p>' if len(several) > 1 else ""
    )  # fmt: skip
    stored = "".join(
        f'<template data-network="{key}">{network_html(network)}</template>' for key, network in drawn.items()
    )
    return Section(
        "The network" if len(several) == 1 else "The networks",
        "From the image to the classes. A shape's height is its channels: in, inside, out. Its colour is the kernel; "
        "the dashed line marks squeeze-excite; e is the expansion, h the heads of attention, n×n the kernel or window. "
        "Under the kind, the block's path in the search space. Below, the output map to scale, or how many tokens.",
        f'<div class="panel">{choose}<div id="network">{network_html(drawn[f"{best.position}"])}</div>'
        f'<div id="difference" aria-live="polite"></div></div>{stored if len(several) > 1 else ""}',
    )  # fmt: skip


def _spent(runs: Sequence[Run]) -> list[Chart]:
    if len(runs) > 1:
        return list(why.spent_by_kind(runs))
    return [why.spent(runs[0].network)] if runs[0].network else []


# Searches ---------------------------------------------------------------------------------------------------------


def _choices(runs: Sequence[Run], found: dict[int, list[Candidate]]) -> Iterator[Chart]:
    learnt, one = searches(runs), len(runs) == 1
    for run in learnt if len(learnt) <= FEW else ():
        yield from why.shares(run, one)
    if one:
        yield from why.importance(runs[0], found[runs[0].position], read_record(Path(runs[0].folder)))


def _taken(run: Search) -> Table:
    """Every choice: the option taken, the block of the network that it shaped, its options."""
    blocks = {} if run.network is None else {y.source: f"{y.path} {y.kind}" for y in run.network.layers if y.source}
    rows = []
    for name in run.taken:
        options = ", ".join(map(option_text, run.options.get(name, ()))) or "not stated"
        source = max((s for s in blocks if name.startswith(f"{s}.")), key=len, default="")
        rows.append((name, taken_text(run, name), blocks.get(source, "–"), options))
    caption = "A choice that is not used belongs to a block that is skipped, or to a branch that was not taken."
    return Table(
        f"Every choice of {run.name}",
        ("choice in the space", "taken", "block of the network", "options"),
        rows,
        caption,
    )


def _chain(run: Search, found: Sequence[Candidate]) -> Iterator[Table]:
    """The steps of a chain, and the networks of a family."""
    for origin, title in (("chain", "The actions of"), ("family", "The family of")):
        rows = [
            (one.name, one.actions or "–", ", ".join(amounts.shown(*c) for c in one.costs.items()), share(one.accuracy))
            for one in found if one.origin == origin
        ]  # fmt: skip
        split = "the choices' share of the training images"
        yield Table(f"{title} {run.name}", ("network", "actions", "costs", "accuracy"), rows, f"Accuracy on {split}.")


def _moves(run: Search) -> Table:
    """What became of every list of choices in every step of a space evolution."""
    rows = []
    for space in run.evolution.spaces if run.evolution is not None else ():
        for one in space.lists:
            if (move := space.moves.get(one.name)) is not None:
                after = ", ".join(map(amounts.number, move.options)) if move.count else "as it was"
                before = ", ".join(map(amounts.number, one.options))
                rows.append((f"{one.name}, {space.name}", before, f"{one.slope:+.2f}", after, move.why))
    head = ("list", "choices", "slope, points a choice", "after", "why not as the rule says")
    return Table(f"Moves of {run.name}", head, rows)


# Trainings --------------------------------------------------------------------------------------------------------


def _recipes(trained: Sequence[Training]) -> Table:
    """The recipe of one training; of several the settings that they do not share, a row each."""
    known = [(run, {k: plain(v) for k, v in run.facts.recipe.items()}) for run in trained if run.facts is not None]
    if len(known) == 1:
        return Table("The recipe", ("setting", "value"), [(k.replace("_", " "), v) for k, v in known[0][1].items()])
    keys = [key for key in dict.fromkeys(k for _, r in known for k in r) if len({r.get(key) for _, r in known}) > 1]
    rows = [
        (f"{run.position + 1} {run.name}", ", ".join(f"{k.replace('_', ' ')} {r.get(k, '–')}" for k in keys) or "–")
        for run, r in known
    ]
    return Table("What differs in the recipes", ("run", "settings"), rows)


def _is_grown(run: Run) -> bool:
    """Whether several steps led to its network, one of them a compression."""
    return len(run.lineage) > 1 and any(step.step not in ("search", "train") for step in run.lineage)


def _steps(run: Run) -> Table:
    rows = [
        (
            f"{s.step} {s.detail}".strip(), amounts.shown("MACs", s.macs), amounts.shown("params", s.params),
            f"{s.bytes / 1e6:.4g} MB", "–" if s.accuracy is None else f"{s.accuracy:.1%}",
        )
        for s in run.lineage
    ]  # fmt: skip
    return Table(f"Steps of {run.name}", ("step", "MACs", "parameters", "size", "test accuracy"), rows)


def _evaluated(run: Run) -> Iterator[dict[str, Any]]:
    """The report of an evaluation that lies in the run's folder, where it tells classes apart."""
    file = Path(run.folder) / EVALUATION
    if file.is_file():
        data = parse_json(read_bytes(file, MAX_JSON).decode("utf-8", "replace"), str(file))
        if isinstance(data, dict) and data.get("confusion") and len(data.get("classes", ())) == len(data["confusion"]):
            yield data


# Provenance -------------------------------------------------------------------------------------------------------


def provenance(runs: Sequence[Run]) -> str:
    """Folder, command, versions, settings of every run, and what is not recorded."""
    return "".join(
        f"<details><summary>{clean(run.name)}</summary><dl>"
        f"{''.join(f'<dt>{clean(name)}</dt><dd>{clean(value)}</dd>' for name, value in _facts(run))}</dl></details>"
        for run in runs
    )


def _facts(run: Run) -> Iterator[tuple[str, str]]:
    yield "folder", run.folder
    if run.provenance is None:
        yield "provenance", "not recorded: no provenance.json"
    yield from ((key.replace("_", " "), plain(value)) for key, value in (run.provenance or {}).items())
    match run:
        case Search(facts=facts):
            yield "seed", "not stated" if facts.seed is None else str(facts.seed)
            yield from (("by proxy", note) for note in facts.by_proxy)
            yield "settings", plain(facts.settings)
        case Training(facts=facts) if facts is not None:
            yield from (("start", f"{facts.start} weights"), ("seed", str(facts.seed)))
        case Imported(facts=facts):
            yield from (("weights", f"{facts.file} (SHA-256 {facts.sha256})"), ("model", facts.model))
            yield from (("note", note) for note in facts.notes)


def plain(value: Any) -> str:
    """Plain data for people, bounded."""
    if isinstance(value, dict):
        shown = ", ".join(f"{k} {plain(v)}" for k, v in list(value.items())[:SETTINGS_SHOWN])
        return shown + (", ..." if len(value) > SETTINGS_SHOWN else "")
    if isinstance(value, list):
        return " ".join(plain(v) for v in value[:SETTINGS_SHOWN]) or "none"
    text = f"{value:.6g}" if isinstance(value, float) else option_text(value)
    return text if len(text) <= 300 else text[:300] + "..."
