"""The chains of slimming and sandwich searches: accuracy against each cost, the actions, the networks of a family."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dnas.report import amounts
from dnas.report.chart import Chart, Series
from dnas.report.curves import percent as axis_percent
from dnas.report.runs import FEW, chance_lines, option_text, tag
from dnas.report.scene import series
from dnas.report.table import Table
from dnas.runs.records import Action, ChainStep
from dnas.runs.run import Search
from dnas.space.units import share as percent

ABOUT = (
    "Each dot is a network on the way from the largest one (right) into the budget: its exact cost, and its accuracy "
    "with inherited weights on the choices' share of the training images. The full dot is where the chain ends."
)


def chains(runs: Sequence[Search]) -> list[Chart]:
    """One chart for each kind of cost that some chain was held to."""
    runs = [run for run in runs if run.chain is not None and run.steps]
    units = dict.fromkeys(amounts.unit(text) for run in runs if run.chain for text in run.chain.budgets)
    return [_chart(runs, unit) for unit in units]


def _chart(runs: Sequence[Search], unit: str) -> Chart:
    lines: list[Series] = []
    for run in runs:
        assert run.chain is not None
        index = next((n for n, text in enumerate(run.chain.budgets) if amounts.unit(text) == unit), None)
        if index is not None:
            lines += _lines(run, index, len(runs))
    limits = {text: limit for run in runs for text, limit in _limits(run) if amounts.unit(text) == unit}
    marks = tuple((limit, text) for text, limit in limits.items()) if len(limits) <= FEW else ()
    known = {"MACs": "multiply-adds as the budget counts them", "params": "parameters as the budget counts them"}
    return Chart(
        f"chain-{'-'.join(unit.split())}", f"The chain: accuracy against {unit}", ABOUT, known.get(unit, unit),
        "accuracy on the choices' share", tuple(lines), chance_lines(runs),
        marks, from_zero=True, y_show=axis_percent,
    )  # fmt: skip


def _lines(run: Search, index: int, runs: int) -> Iterator[Series]:
    colour = series(run.position if runs > 1 else 0)
    points = tuple((step.costs[index], step.accuracy) for step in run.steps)
    notes = tuple(_note(run, step) for step in run.steps)
    yield Series(tag(run, runs) if runs > 1 else "chain", points, colour, (4, 3))
    yield Series("", points[:-1], colour, dots=True, hollow=True, notes=notes[:-1])
    yield Series("", points[-1:], colour, dots=True, notes=notes[-1:])
    assert run.chain is not None
    unit = amounts.unit(run.chain.budgets[index])
    members = [m for m in run.family if m.cost is not None and amounts.unit(m.budget) == unit]
    points = tuple((m.cost or 0.0, m.accuracy) for m in members)
    notes = tuple(f"{run.name}, for {m.budget}: {m.accuracy:.1%}" for m in members)
    name, colour = ("family", series(1)) if runs == 1 else ("", colour)
    yield Series(name, points, colour, dots=True, notes=notes)


def _limits(run: Search) -> list[tuple[str, float]]:
    """The budgets and what they allow."""
    family = [(m.budget, amounts.limit(m.budget)) for m in run.family]
    own = [(b.budget, b.limit) for b in run.facts.budgets]
    return own + [(text, limit) for text, limit in family if limit is not None]


def _note(run: Search, step: ChainStep) -> str:
    return f"{run.name}, step {step.number}: {_costs(run, step)}, {step.accuracy:.1%}. {_actions(step)}"


def _costs(run: Search, step: ChainStep) -> str:
    budgets = () if run.chain is None else run.chain.budgets
    return ", ".join(amounts.budgeted(text, cost) for text, cost in zip(budgets, step.costs, strict=True))


def _actions(step: ChainStep) -> str:
    """What was done for this step, in words."""
    return "; ".join(map(_action, step.actions)) or ("the largest network" if step.number == 0 else "nothing")


def _action(action: Action) -> str:
    if action.solved:
        return f"from the solver: {action.solved}"
    return f"{action.choice} {option_text(action.before)} → {option_text(action.after)}"


def actions_table(run: Search, several: bool) -> Table:
    """Every step of a chain: what was done, what the network costs then, and what it knows."""
    budgets = () if run.chain is None else run.chain.budgets
    head = ["step", "actions", *[word for text in budgets for word in (f"cost for {text}", "of it")]]
    rows = []
    for step in run.steps:
        costs = [
            word for text, cost, share in zip(budgets, step.costs, step.shares, strict=True)
            for word in (amounts.budgeted(text, cost), percent(share))
        ]  # fmt: skip
        change = "–" if step.drop is None else f"{-100 * step.drop + 0.0:+.1f}"
        rows.append((str(step.number), _actions(step), *costs, f"{step.accuracy:.1%}", change))
    title = f"The actions of {run.name}" if several else "The actions"
    split = "" if run.chain is None else f"Accuracy and its change in points: on {run.chain.split}."
    return Table(title, (*head, "accuracy", "change"), tuple(rows), split)


def family_table(run: Search, several: bool) -> Table:
    """Each network of a family against its budget."""
    rows = [
        (
            m.budget,
            "not stated" if m.cost is None else amounts.budgeted(m.budget, m.cost),
            "–" if m.share is None else percent(m.share),
            f"{m.accuracy:.1%}",
        )
        for m in run.family
    ]
    title = f"The family of {run.name}" if several else "The family"
    caption = f"Accuracy with inherited weights on {run.family[0].split}. The files lie in family/." if rows else ""
    return Table(title, ("budget", "cost", "of the budget", "accuracy"), tuple(rows), caption)
