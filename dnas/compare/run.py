"""The driver of a comparison: trains, compares, shows and writes.

comparison.json  every network with its costs and accuracies, and the verdicts; no clock, no host
comparison.md    the table and the sentence, for people
comparison.png   accuracy against cost, where vl-convert is installed (extra `report`)
provenance.json  command, host and versions
trainings/       a folder for each network and seed, as `dnas.train` writes it
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dnas.compare import verdict
from dnas.compare.contenders import Contender
from dnas.compare.trainings import Premises, Training, macs_as_trained, train_all, trainings, unused
from dnas.fanout.task import Pool
from dnas.files import write_atomic, write_json
from dnas.learning import chance
from dnas.process.extras import unusable
from dnas.process.provenance import provenance
from dnas.report.costs import comparison
from dnas.report.spec import png
from dnas.runs import comparison_table as table
from dnas.runs import following
from dnas.runs.comparison import COMPARISON, read_compared
from dnas.runs.folder import PROVENANCE, Claim, Claiming, Owner, claimed
from dnas.runs.recall import data_record

MARKDOWN, PICTURE = "comparison.md", "comparison.png"
RESULT = (COMPARISON, MARKDOWN, PICTURE)
ADVICE = "Train longer (--epochs): a comparison at chance says nothing."


def run_comparison(given: Premises, pool: Pool, out: Path, console: Any, claiming: Claiming) -> None:
    """Trains what is left, as many at a time as the pool does, and writes the comparison.

    Raises:
        UserError: another run's folder or one that cannot be written, and what a training raises.
        Stopped: asked to leave by a signal; everything is kept.
    """

    def say(line: str) -> None:
        console.print(line, markup=False, soft_wrap=True)

    with claimed(out, Owner("compare", given.identity(console)), claiming, say) as claim:
        for line in opening(given):
            say(line)
        records = train_all(given, pool, claim.folder, console, say, claiming.overwrite)
        _write(given, claim, compared(given, records, console), console, claiming.overwrite)
        found = read_compared(claim.folder)
        console.print(table.rich_table(found))
        for line in (found.standard_errors, *found.notes, *(f"warning: {text}" for text in found.warnings)):
            say(line)
        console.print(found.sentence, markup=False, soft_wrap=True, style="bold")
        say(f"written to {claim.folder}: {', '.join(name for name in RESULT if (claim.folder / name).is_file())}")
        for line in following.lines([(following.command("report", claim.folder), "this on a page, with a picture")]):
            say(line)


def opening(given: Premises) -> list[str]:
    """What is going to be compared, in a few lines."""
    several = given.lineup.contenders
    count = {origin: sum(c.origin == origin for c in several) for origin in ("drawn", "scaled", "against")}
    words = {"drawn": "drawn at its cost", "scaled": "published and scaled to it", "against": "as named"}
    others = ", ".join(f"{number} {words[origin]}" for origin, number in count.items() if number)
    recipe = given.recipe
    return [
        f"{given.subject.label} of space {given.subject.space.name}" + (f"; against it {others}" if others else ""),
        f"each from scratch with {given.seeds} {'seed' if given.seeds == 1 else 'seeds'}, recipe {recipe.name} of "
        f"{recipe.epochs:g} epochs, images of {_sides(several)} px of {given.source.name}",
        *given.lineup.notes,
    ]


def _sides(several: tuple[Contender, ...]) -> str:
    sides = sorted({c.side for c in several})
    return str(sides[0]) if len(sides) == 1 else f"{sides[0]} to {sides[-1]}"


def compared(given: Premises, records: Mapping[str, Mapping[str, Any]], console: Any) -> dict[str, Any]:
    """The comparison as plain data, from what the trainings recorded; equal trainings give equal bytes."""
    dataset = given.dataset(given.side, console)
    several, lineup = trainings(given, console), given.lineup.contenders
    images = len(dataset.test_labels)
    rows = {c.name: [t for t in several if t.contender is c] for c in lineup}
    tests = {name: [float(records[t.folder]["accuracy"]["test"]) for t in own] for name, own in rows.items()}
    figures = {name: verdict.of_network(values, images) for name, values in tests.items()}
    least = verdict.scatter(list(tests.values()), images) / given.seeds**0.5
    found, drawn = lineup[0], [c for c in lineup if c.origin == "drawn"]
    verdicts, group = [], None
    if drawn:
        group = verdict.of_group([tests[c.name] for c in drawn], images, least)
        many = f"{len(drawn)} drawn evenly at its cost" if len(drawn) > 1 else "one drawn at its cost"
        verdicts.append(verdict.verdict(many, figures[found.name], group, least))
    for c in lineup[1:]:
        if c.origin != "drawn":
            verdicts.append(verdict.verdict(c.name, figures[found.name], figures[c.name], least))
    level = chance.chance_level(dataset.test_labels, dataset.classes)
    return {
        "space": given.subject.space.name,
        "found": found.name,
        "budgets": [b.text for b in given.subject.budgets],
        "recipe": given.recipe.to_json(),
        "data": data_record(dataset, given.subject.data_seed(given.seed)),
        "image_size": given.side,
        "seeds": list(range(given.seed, given.seed + given.seeds)),
        "test_images": images,
        "chance": round(level, 6),
        "networks": [
            _row(given, c, rows[c.name], tests[c.name], figures[c.name], console) for c in lineup
        ],
        "drawn": None if group is None else _figure(group),
        "seed_scatter": round(least * given.seeds**0.5, 6),
        "verdicts": [
            {"against": v.name, "verdict": v.word, "gap": round(v.gap, 6), "standard_error": round(v.error, 6)}
            for v in verdicts
        ],
        "sentence": verdict.sentence(found.name, figures[found.name], verdicts, given.seeds, images),
        "standard_errors": verdict.legend(given.seeds, len(drawn)),
        "notes": [*given.lineup.notes, *dataset.notes],
        "warnings": chance.warning(figures[found.name].mean, images, level, ADVICE),
    }  # fmt: skip


def check(folder: Path) -> None:
    """Reads a comparison as later commands do; raises `InputError` where one of them could not."""
    read_compared(folder)


def _row(
    given: Premises, c: Contender, own: list[Training], tests: list[float], figure: verdict.Figure, console: Any
) -> dict[str, Any]:
    return {
        "name": c.name,
        "origin": c.origin,
        "macs": c.macs,
        "params": c.params,
        "counted_at": c.network.resolution.value,
        "costs": list(c.costs),
        "image_size": c.side,
        "macs_as_trained": macs_as_trained(given, c, console),
        "accuracy": {**_figure(figure), "by_seed": tests},
        "trainings": [t.folder for t in own],
    }


def _figure(figure: verdict.Figure) -> dict[str, Any]:
    return {"mean": round(figure.mean, 6), "standard_error": round(figure.error, 6), "over": figure.over}


def _write(given: Premises, claim: Claim, document: dict[str, Any], console: Any, overwrite: bool) -> None:
    with claim.result(check) as staged:
        write_json(staged / COMPARISON, document)
        found = read_compared(staged)
        write_atomic(staged / MARKDOWN, table.markdown(found))
        if not unusable("vl_convert"):
            write_atomic(staged / PICTURE, png(comparison(found, "comparison")))
        write_json(staged / PROVENANCE, provenance() | claim.record(staged))
    if overwrite:
        for folder in unused(trainings(given, console), claim.folder):
            shutil.rmtree(folder, ignore_errors=True)
