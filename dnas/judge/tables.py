"""Facts of runs in rows and columns, for what is read and not seen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from dnas.judge import amounts
from dnas.judge.facts import option_text, taken_text
from dnas.runs import comparison_table
from dnas.runs.candidates import Candidate
from dnas.runs.comparison import Compared
from dnas.runs.run import Run, Search, Training
from dnas.runs.seeds import Several
from dnas.space.units import share

SETTINGS_SHOWN = 200
OF_FACTS = ("seed", "by_proxy", "settings", "start", "model", "file", "sha256", "notes")
"""Of what a result says of itself: where it came from."""


class Table(NamedTuple):
    """Columns and rows of texts; the first cell of a row names it."""

    title: str
    head: tuple[str, ...]
    rows: Sequence[Sequence[str]]
    caption: str = ""


def choices(run: Search) -> Table:
    """Every choice: the option taken, the block of the network that it shaped, its options."""
    blocks = {} if run.network is None else {y.source: f"{y.path} {y.kind}" for y in run.network.layers if y.source}
    rows = []
    for name in run.taken:
        options = ", ".join(map(option_text, run.options.get(name, ()))) or "not stated"
        source = max((s for s in blocks if name.startswith(f"{s}.")), key=len, default="")
        rows.append((name, taken_text(run, name), blocks.get(source, "–"), options))
    caption = "A choice that is not used belongs to a block that is skipped, or to a branch that was not taken."
    head = ("choice in the space", "taken", "block of the network", "options")
    return Table(f"Every choice of {run.name}", head, rows, caption)


def met(run: Search, found: Sequence[Candidate]) -> Iterator[Table]:
    """The steps of a chain, and the networks of a family."""
    caption = "Accuracy on the choices' share of the training images."
    for origin, title in (("chain", "The actions of"), ("family", "The family of")):
        own = [one for one in found if one.origin == origin]
        costs = [", ".join(amounts.shown(*cost) for cost in one.costs.items()) for one in own]
        rows = [(one.name, one.actions or "–", c, share(one.accuracy)) for one, c in zip(own, costs, strict=True)]
        yield Table(f"{title} {run.name}", ("network", "actions", "costs", "accuracy"), rows, caption)


def moves(run: Search) -> Table:
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


def recipes(trained: Sequence[Training]) -> Table:
    """The recipe of one training; of several the settings that they do not share, a row each."""
    known = [(run, {k: plain(v) for k, v in run.facts.recipe.items()}) for run in trained if run.facts is not None]
    if len(known) == 1:
        return Table("The recipe", ("setting", "value"), [(k.replace("_", " "), v) for k, v in known[0][1].items()])
    keys = [key for key in dict.fromkeys(k for _, r in known for k in r) if len({r.get(key) for _, r in known}) > 1]
    told = [", ".join(f"{k.replace('_', ' ')} {r.get(k, '–')}" for k in keys) or "as the others" for _, r in known]
    rows = [(f"{run.position + 1} {run.name}", text) for (run, _), text in zip(known, told, strict=True)]
    return Table("What differs in the recipes", ("run", "settings"), rows)


def is_grown(run: Run) -> bool:
    """Whether several steps led to its network, one of them a compression."""
    return len(run.lineage) > 1 and any(step.step not in ("search", "train") for step in run.lineage)


def steps(run: Run) -> Table:
    """The steps that led to a network."""
    rows = [
        (
            f"{s.step} {s.detail}".strip(), amounts.shown("MACs", s.macs), amounts.shown("params", s.params),
            f"{s.bytes / 1e6:.4g} MB", "–" if s.accuracy is None else f"{s.accuracy:.1%}",
        )
        for s in run.lineage
    ]  # fmt: skip
    return Table(f"Steps of {run.name}", ("step", "MACs", "parameters", "size", "test accuracy"), rows)


def compared(found: Compared) -> Table:
    """The networks of a comparison."""
    said = (comparison_table.how(found), f"{found.standard_errors}.", *found.notes, *found.warnings)
    rows = tuple(comparison_table.rows(found))
    return Table("Networks trained alike", comparison_table.head(found), rows, " ".join(said))


def seeds(found: Several) -> Table:
    """The runs of one command with several seeds, their mean and their spread."""
    spreads = {"mean": found.mean, "standard deviation": found.standard_deviation,
               "standard error of the mean": found.standard_error}  # fmt: skip
    lines = {f"seed {run.seed}": run.figures for run in found.runs} | spreads
    rows = [
        (name, *("–" if (value := line[key]) is None else amounts.figure(key, value) for key in found.mean))
        for name, line in lines.items()
    ]  # fmt: skip
    return Table(f"{found.name}, seed by seed", ("run", *found.mean), rows)


def provenance(run: Run) -> list[tuple[str, str]]:
    """Where a run came from: its folder, command, versions and settings."""
    facts = getattr(run, "facts", None)
    own = {} if facts is None else {k: v for k, v in msgspec.to_builtins(facts).items() if k in OF_FACTS and v}
    known = run.provenance or {"provenance": "not recorded: no provenance.json"}
    return [(key.replace("_", " "), plain(value)) for key, value in ({"folder": run.folder} | known | own).items()]


def plain(value: Any) -> str:
    """Plain data for people, bounded."""
    if isinstance(value, dict):
        shown = ", ".join(f"{k} {plain(v)}" for k, v in list(value.items())[:SETTINGS_SHOWN])
        return shown + (", ..." if len(value) > SETTINGS_SHOWN else "")
    if isinstance(value, list):
        return " ".join(plain(v) for v in value[:SETTINGS_SHOWN]) or "none"
    text = f"{value:.6g}" if isinstance(value, float) else option_text(value)
    return text if len(text) <= 300 else text[:300] + "..."
