"""Milliseconds of every block of a network, by the latency tables that budgets name."""

from __future__ import annotations

from collections.abc import Iterable

from dnas.cost.budget import recognised
from dnas.cost.latency import Lookup
from dnas.cost.latency_table import read_table
from dnas.errors import UserError
from dnas.grammar.catalogue import find_table, table_names
from dnas.graph import graph_of
from dnas.runs.records import BudgetResult
from dnas.space.space import Space


def times_of(space: Space, budgets: Iterable[BudgetResult], shipped_only: bool) -> dict[str, dict[str, float]]:
    """Table -> path of a block -> milliseconds, of an architecture; without tables that are not there, or lack it.

    Args:
        space: the architecture as its budgets count it.
        budgets: those that name a table.
        shipped_only: read no table but those that come with dnas.
    """
    tables = {b.table for budget in budgets if (b := recognised(budget.budget)) is not None and b.table}
    found = {}
    for name in sorted(tables):
        if shipped_only and name.lower().replace("-", "_") not in table_names():
            continue
        try:
            lookup, uses = Lookup(read_table(find_table(name))), graph_of(space).uses
            lookup.require(list(uses), space.name)
            found[name] = {use.path: float(lookup.times(use).value) for use in uses}
        except UserError:
            continue  # the table is another machine's, or has been changed since
    return found
