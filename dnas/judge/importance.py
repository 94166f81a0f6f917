"""How much each choice of a search matters: for accuracy by the candidates it met, for the cost exactly."""

from __future__ import annotations

from collections.abc import Sequence

from dnas.cost import ledger
from dnas.grammar.catalogue import load_space, space_names
from dnas.graph import graph_of
from dnas.judge.facts import option_text
from dnas.runs.candidates import Candidate
from dnas.runs.run import Search


def explained(found: Sequence[Candidate]) -> list[tuple[str, float]]:
    """The correlation ratio of accuracy with every choice: variance of the options' means over all of it."""
    known = [(one.taken, one.accuracy) for one in found if one.taken]
    mean = sum(value for _, value in known) / max(1, len(known))
    total = sum((value - mean) ** 2 for _, value in known)
    ratios = []
    for choice in known[0][0] if len(known) > 2 and total else ():
        groups: dict[str, list[float]] = {}
        for taken, value in known:
            groups.setdefault(option_text(taken.get(choice)), []).append(value)
        between = sum(len(g) * (sum(g) / len(g) - mean) ** 2 for g in groups.values())
        ratios.append((choice, between / total))
    return ratios


def cost_ranges(run: Search) -> list[tuple[str, float, float, float]]:
    """Choice, least and most multiply-adds with it alone changed, and those of the network found."""
    space = load_space(run.facts.space) if run.facts.space in space_names() else None
    if space is None or any(run.taken.get(c.name) not in c.options for c in space.choices):
        return []
    taken = {c.name: c.options.index(run.taken[c.name]) for c in space.choices}
    cost = ledger.merged(ledger.COSTS["MACs"](graph_of(space).ledger))
    tried = {c.name: [float(ledger.at(cost, {**taken, c.name: n})) for n in range(len(c))] for c in space.choices}
    return [(name, min(values), max(values), float(ledger.at(cost, taken))) for name, values in tried.items()]
