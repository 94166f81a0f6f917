"""Who is compared: the network found, others of its space drawn evenly at its cost, published designs scaled to it,
and those that the user names."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from dnas.compare.subject import Subject, cost_of, label
from dnas.cost.latency import of_smaller_blocks
from dnas.errors import InputError, UserError
from dnas.grammar.read import at_input
from dnas.graph import check_scores
from dnas.graph.architecture import architecture
from dnas.runs.as_trained import counted_at
from dnas.runs.comparison import Origin
from dnas.runs.recall import classes_apart
from dnas.runs.result import read_result
from dnas.search.sampling import Sampler
from dnas.solve.nearest import scaled_designs
from dnas.space.space import Space
from dnas.train.folders import content

WITHIN = (0.03, 0.06, 0.12, 0.25, 0.5)
"""How far from the cost of the network found others are drawn: further only where too few lie nearer."""
CHAINS = 16
"""Networks drawn at a time: fixed, so that more of them begin with the same ones."""
FRUITLESS = 2
"""Times that nothing new is drawn until it is taken that there is no more."""
COMPARE = 5
"""What random numbers are drawn for: the second part of a key, after the seed (`dnas.search.singlepath`)."""


@dataclass(frozen=True, eq=False)
class Contender:
    """A network to be trained."""

    name: str
    origin: Origin
    network: Space
    """At the input at which its costs count."""
    side: int
    """Of the images it is trained on, in pixels."""
    costs: tuple[float | None, ...]
    """One for each budget; None where a latency table lacks its blocks."""
    macs: int
    params: int


@dataclass(frozen=True, eq=False)
class Lineup:
    """The networks, the one found first, and what there is to say of how the others were chosen."""

    contenders: tuple[Contender, ...]
    notes: tuple[str, ...] = ()


def contenders(
    subject: Subject, side: int, *, drawn: int, scaled: int, against: Sequence[str], seed: int,
    class_names: tuple[str, ...], new_classes: bool = False,
) -> Lineup:  # fmt: skip
    """All that are compared.

    Args:
        side: of the images for the space's largest resolution, in pixels.
        drawn, scaled: how many of these at most.
        class_names: those of the data, which a network of `against` that names its own must have, but for
            `new_classes`.

    Raises `UserError` for an unknown network, classes that differ, or a space without another network at this cost.
    """
    found = _contender(subject, side, subject.label, "found", subject.found.space)
    others, notes = _drawn(subject, drawn, seed)
    lineup = [found, *(_contender(subject, side, n, "drawn", network) for n, network in others)]
    lineup += [_contender(subject, side, name, "scaled", network) for name, network in _scaled(subject, scaled)]
    for name in dict.fromkeys(against):
        short = label(name)
        shown = name if short in [c.name for c in lineup] else short
        result = read_result(name)
        if not new_classes and (apart := classes_apart(result.labels, class_names)):
            raise InputError(f"--against {name}", f"the data have other classes: {apart}",
                             accepted="--new-classes if they are meant")  # fmt: skip
        if result.space.quantization:
            raise InputError(f"--against {name}", "the steps of quantisers come with weights, and all are trained anew",
                             accepted="the network before it was quantised")  # fmt: skip
        lineup.append(_named(subject, side, shown, result.space))
    if (drawn or scaled) and not subject.is_member:
        notes.append(f"{subject.space.source} has changed since the search: what is drawn or scaled is of it as it is")
    if any(budget.kind == "ms" for budget in subject.budgets):
        notes += [note for contender in lineup for note in of_smaller_blocks(contender.network)]
    for contender in lineup:
        _check_classifier(contender, len(class_names))
    return Lineup(tuple(_apart(lineup)), tuple(notes))


def _apart(lineup: list[Contender]) -> Iterator[Contender]:
    """The contenders, each under a name of its own: what their trainings give is told by name."""
    taken: set[str] = set()
    for contender in lineup:
        numbered = (f"{contender.name} ({n})" for n in itertools.count(2))
        name = next(name for name in itertools.chain([contender.name], numbered) if name not in taken)
        taken.add(name)
        yield replace(contender, name=name)


def _contender(subject: Subject, side: int, name: str, origin: Origin, network: Space) -> Contender:
    counted = counted_at(network)
    costs: list[float | None] = []
    for budget in subject.budgets:
        try:
            costs.append(cost_of(network, budget))
        except UserError:
            if origin != "against":
                raise
            costs.append(None)
    share = subject.share(network.resolution.value, side)
    return Contender(name, origin, network, share, tuple(costs), counted.macs, counted.params)


def band(subject: Subject, within: float) -> tuple[list[float], float]:
    """Limits of each cost, and the least share of one of them, for networks at the cost of the one found.

    No cost is above its budget, nor above that of the network found by more than `within`; one is at least as near
    below it.
    """
    limits = [min(b.limit, (1 + within) * cost) for b, cost in zip(subject.budgets, subject.costs, strict=True)]
    used = max(cost / limit for cost, limit in zip(subject.costs, limits, strict=True))
    return limits, (1 - within) * min(1.0, used)


def _drawn(subject: Subject, count: int, seed: int) -> tuple[list[tuple[str, Space]], list[str]]:
    """Networks of the space drawn evenly at the cost of the one found, all different from it and from each other."""
    taken: dict[str, Space] = {content(subject.found.space): subject.found.space}
    counts: list[tuple[float, int]] = []
    for within in WITHIN if count else ():
        before = len(taken)
        for network in _evenly(subject, within, seed, count - before + 1):
            taken.setdefault(content(network), network)
            if len(taken) > count:
                break
        if len(taken) > before:
            counts.append((within, len(taken) - before))
        if len(taken) > count:
            break
    others = list(taken.values())[1:]
    if count and not others:
        raise InputError(subject.space.source, "no other network has about the cost of the one found",
                         accepted="--random 0, or a space with more networks")  # fmt: skip
    return [(f"drawn {n}", network) for n, network in enumerate(others, 1)], _told(count, len(others), counts)


def _evenly(subject: Subject, within: float, seed: int, count: int) -> Iterator[Space]:
    """Networks at the cost of the one found, drawn again and again until nothing new comes."""
    limits, fill = band(subject, within)
    sampler = Sampler(subject.space, subject.walked, [m.cost for m in subject.measured], limits, fill)
    if sampler.fill < fill:
        return  # not even the network found keeps the band as the space counts it
    seen: set[tuple[int, ...]] = set()
    fruitless = 0
    for block in itertools.count():
        before = len(seen)
        for assignment in sampler.draw(CHAINS, [seed, COMPARE, block]):
            if tuple(assignment.values()) not in seen:
                seen.add(tuple(assignment.values()))
                yield architecture(subject.space, assignment).network
        fruitless = fruitless + 1 if len(seen) == before else 0
        if fruitless == FRUITLESS or block > 4 * count:
            return


def _told(asked: int, found: int, counts: list[tuple[float, int]]) -> list[str]:
    """What was drawn, where it is not what was asked for."""
    if not found or (found == asked and counts[0] == (WITHIN[0], asked)):
        return []
    parts = [f"{number} within {within:.0%}" for within, number in counts]
    fewer = "" if found == asked else f" (of {asked} asked for: there seem to be no more)"
    return [f"few networks of the space cost as much as the one found: drawn {', '.join(parts)} of its cost{fewer}"]


def _scaled(subject: Subject, count: int) -> Iterator[tuple[str, Space]]:
    """Published designs scaled to the cost of the network found."""
    if not count:
        return
    limits, fill = band(subject, WITHIN[0])
    designs = scaled_designs(subject.space, subject.walked, [m.cost for m in subject.measured], limits, fill=fill)
    for name, assignment in itertools.islice(designs, count):
        whole = {c.name: 0 for c in subject.space.choices} | assignment
        yield f"{name} scaled", architecture(subject.space, whole).network


def _named(subject: Subject, side: int, name: str, network: Space) -> Contender:
    """A network that the user names, as it is: one of no run takes the channels and classes of the space."""
    extra = network.extra or {}
    if "training" in extra:  # counted at the size of its images, not at a space's own
        return replace(_contender(subject, side, name, "against", network), side=network.resolution.value)
    if "search" not in extra:
        network = at_input(network, channels=subject.space.channels, classes=subject.space.classes)
    return _contender(subject, side, name, "against", network)


def _check_classifier(contender: Contender, classes: int) -> None:
    """Raises `InputError` for a network that cannot give scores of the data's classes."""
    check_scores(at_input(contender.network, classes=classes), classes)
