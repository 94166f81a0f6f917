"""The networks that a run met beside the one that it came to: of its chain, its family, its race, its trainings.

Accuracies are of images that chose something: the choices' share of the training images, or validation images. They
compare the candidates of a run with each other, and with nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from dnas.cost.budget import recognised
from dnas.cost.count import count
from dnas.errors import InputError
from dnas.files import read_document
from dnas.grammar.catalogue import ARCHITECTURE, load_space
from dnas.runs.as_trained import Counted
from dnas.runs.converted import converted
from dnas.runs.joint import Record, read_record
from dnas.runs.network import layers_of
from dnas.runs.records import Option
from dnas.runs.run import NetworkFacts, Run, Search
from dnas.space.units import standard_error

CHAIN, FAMILY = "chain", "family"
SAMPLED, EVOLVED = "drawn evenly", "evolved"


@dataclass(frozen=True)
class Candidate:
    """One of them; costs are known by unit (`MACs`, `params`, `ms TABLE`)."""

    name: str
    origin: str
    accuracy: float
    images: int | None = None
    costs: dict[str, float] = field(default_factory=dict)
    taken: dict[str, Any] = field(default_factory=dict)
    """Choice -> option, where it is recorded."""
    network: NetworkFacts | None = None
    actions: str = ""
    """What was done for it, of a step of a chain."""

    @property
    def error(self) -> float:
        """Of its accuracy."""
        return error(self.accuracy, self.images)


class _Taken(msgspec.Struct, frozen=True):
    """What a network's file says of the choices."""

    choices_taken: dict[str, Option] = {}


def error(value: float, images: int | None) -> float:
    """The standard error of an accuracy; 0 where the number of images is not known."""
    return standard_error(value, images) if images else 0.0


def candidates(run: Run) -> list[Candidate]:
    """All that the folder of a run tells of; raises `InputError` for a damaged file."""
    found = list(_raced(run)) if isinstance(run, Search) else []
    found += list(_chain(run)) if isinstance(run, Search) else []
    found += list(_family(run)) if isinstance(run, Search) else []
    found += list(_met(run)) if isinstance(run, Search) else []
    record = read_record(Path(run.folder))
    return found + ([] if record is None else list(_joint(record)))


def _raced(run: Search) -> Iterator[Candidate]:
    race = run.facts.race
    units = [_unit(b.budget) for b in run.facts.budgets]
    for one in () if race is None else race.candidates:
        name = f"{one.origin}, the winner" if one.won else one.origin
        if one.accuracy:
            costs = dict(zip(units, one.costs, strict=False))
            yield Candidate(name, one.origin.split(", rank")[0], one.accuracy[-1], race.images if race else None, costs)


def _met(run: Search) -> Iterator[Candidate]:
    """The networks that were sampled; raises `InputError` for options that the choices do not have."""
    met = run.facts.met
    if met is None:
        return
    where, count = f"{Path(run.folder) / ARCHITECTURE}: search.met", len(met.options)
    for key, values in {"accuracy": met.accuracy, **met.costs}.items():
        if len(values) != count:
            raise InputError(f"{where}: {key}", f"{len(values)} numbers", accepted=f"{count}, one an architecture")
    for n, text in enumerate(met.options):
        try:
            pairs = zip(run.options.items(), text.split(), strict=True)
            taken = {name: dict(enumerate(known))[int(at)] for (name, known), at in pairs}
        except (ValueError, KeyError):
            accepted = f"the index of an option for each of {len(run.options)} choices"
            raise InputError(f"{where}: options.{n}", "no architecture", found=text, accepted=accepted) from None
        origin = SAMPLED if n < met.drawn else EVOLVED
        costs = {_unit(budget): values[n] for budget, values in met.costs.items()}
        yield Candidate(f"{origin}, {n + 1}", origin, met.accuracy[n], None, costs, taken)


def _chain(run: Search) -> Iterator[Candidate]:
    units = [] if run.chain is None else [_unit(text) for text in run.chain.budgets]
    for step in run.steps:
        costs = dict(zip(units, step.costs, strict=True))
        did = "; ".join(
            f"from the solver: {a.solved}" if a.solved else f"{a.choice} {_text(a.before)} → {_text(a.after)}"
            for a in step.actions
        ) or ("the largest network" if step.number == 0 else "nothing")  # fmt: skip
        known = _network(Path(run.folder), step.file) if step.file else ({}, None)
        yield Candidate(f"step {step.number}", CHAIN, step.accuracy, None, costs, *known, did)


def _family(run: Search) -> Iterator[Candidate]:
    for member in run.family:
        costs = {} if member.cost is None else {_unit(member.budget): member.cost}
        yield Candidate(
            f"for {member.budget}", FAMILY, member.accuracy, None, costs, *_network(Path(run.folder), member.file)
        )


def _network(folder: Path, file: str) -> tuple[dict[str, Any], NetworkFacts | None]:
    """The options and the network of a file beside a result; nothing where it is not there any more."""
    path = (folder / file).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise InputError(f"{folder}: {file}", "not in the run's folder")
    if not path.is_file():
        return {}, None
    space, taken = load_space(path), converted(read_document(path).data, _Taken, str(path)).choices_taken
    counted = count(space)
    size = counted["input"]
    own = Counted(size["resolution"], size["channels"], size["classes"], counted["macs"], counted["params"])
    return taken, NetworkFacts(space.name, tuple(layers_of(space, counted, {})), own, None, space.classes)


def _joint(record: Record) -> Iterator[Candidate]:
    for one in record.trained:
        taken = {name: known[at] for (name, known), at in zip(record.choices.items(), one.options, strict=True)}
        value = one.curve[record.end(one.curve)]
        yield Candidate(one.folder.removeprefix("trainings/"), "training", value, taken=taken)


def _unit(budget: str) -> str:
    known = recognised(budget)
    return budget if known is None else " ".join(filter(None, (known.kind, known.table)))


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
