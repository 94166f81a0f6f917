"""Vision transformer pruning (VTP, Zhu et al. 2021): gates on what products read are learned under a penalty on their
magnitudes, the smallest of the whole network go, and the products become as narrow.

The places are those of `dnas.compress.points`, so that convolutional networks are pruned as well.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from dnas.compress.asked import Asked, Compressed, Watching
from dnas.compress.points import Point, kept_entries, points
from dnas.compress.stages import trained
from dnas.cost import ledger
from dnas.cost.budget import Budget
from dnas.errors import InputError, UserError
from dnas.grammar.read import space_from_data
from dnas.graph import graph_of
from dnas.graph.architecture import Architecture, architecture
from dnas.learning.terms import Pass, Taps, Term
from dnas.nn.inherit import inherit, inherited
from dnas.nn.supernet import Variables
from dnas.ops.tensor import CHANNELS
from dnas.space.entries import kept
from dnas.space.space import Space
from dnas.train.setup import Setup

Left = dict[str, list[int]]
"""By point: which of its channels are left."""


def vtp(setup: Setup, asked: Asked, folder: Path, watching: Watching) -> Compressed:
    """A narrower network: gates are learned with the setup's recipe, then as many channels go as `--rate` says, or as
    few as keep every budget.

    Raises:
        UserError: what `check` raises.
        Stopped: asked to leave by a signal; `folder` holds what is needed to go on.
    """
    check(setup.network, asked)
    written = architecture(setup.network, {})
    places = points(written.network)
    gated = space_from_data(written.data | {"gates": [place.gate for place in places]}, f"<{written.network.name}>")
    variables = _with_gates(inherit(setup.variables, written), places)
    if asked.rate != 0:
        sparse = replace(
            setup, network=gated, variables=variables, start="scratch", new_classifier=False, keeps_last=True,
            more_terms=(*setup.more_terms, penalty(places, asked.penalty)),
        )  # fmt: skip
        watching.leave_if_asked("no gate has been learned")
        variables = trained(sparse, folder / "gates", watching, "learning gates")
    return pruned(written, places, variables, asked)


def penalty(places: Sequence[Point], weight: float) -> Term:
    """lambda * sum |a| over all gates (section 3.1)."""

    def magnitudes(p: Pass) -> Any:
        return functools.reduce(jnp.add, (jnp.sum(jnp.abs(p.params[place.scale])) for place in places))

    return Term("gates", weight, Taps(), magnitudes)


def pruned(written: Architecture, places: Sequence[Point], variables: Variables, asked: Asked) -> Compressed:
    """The network whose gates are decided: channels with the smallest ones are gone, the others' factors are in the
    weights that read them."""
    gates = {place.path: np.asarray(variables["params"][place.scale]) for place in places}
    removed = _removed(_Costs(written, asked.budgets), places, gates, asked.rate)
    left, threshold = largest(gates, removed)
    data = written.data | _keep(written.network, left)
    total, _ = _entries(places)
    record = {
        "rate": round(removed / total, 6), "entries": total, "removed": removed, "threshold": round(threshold, 9),
        "penalty": asked.penalty, "points": [_told(place, gates[place.path], left[place.path]) for place in places],
    }  # fmt: skip
    return Compressed(data, _sliced(written.network, left, _folded(variables, places, gates)), record)


def largest(gates: Mapping[str, np.ndarray], removed: int) -> tuple[Left, float]:
    """Which channels are left where the `removed` smallest |a| of all go (one global quantile, section 3.2), and the
    smallest that stays. The largest of each place stays whatever it is."""
    sizes = {path: np.abs(a) for path, a in gates.items()}
    left = {path: np.ones(len(a), bool) for path, a in sizes.items()}
    order = [
        (size, path, n) for path, a in sizes.items() for n, size in enumerate(a.tolist()) if n != int(np.argmax(a))
    ]
    for _, path, n in sorted(order, key=lambda entry: entry[0])[:removed]:
        left[path][n] = False
    least = min(float(sizes[path][kept].min()) for path, kept in left.items())
    return {path: np.flatnonzero(kept).tolist() for path, kept in left.items()}, least


class _Costs:
    """What the network costs with only some channels left, beside what the budgets allow."""

    def __init__(self, network: Architecture, budgets: Sequence[Budget]):
        self.network, self.budgets = network, budgets

    def at(self, left: Left) -> list[int]:
        """A cost a budget."""
        data = self.network.data | _keep(self.network.network, left)
        records = graph_of(space_from_data(data, f"<{self.network.network.name}>")).ledger
        return [int(ledger.at(ledger.COSTS[budget.kind](records), {})) for budget in self.budgets]

    def within(self, left: Left) -> bool:
        return all(cost <= budget.limit for cost, budget in zip(self.at(left), self.budgets, strict=True))

    def must_be_within_reach(self, places: Sequence[Point]) -> None:
        """Raises `UserError` for a budget that one channel a place exceeds."""
        for cost, budget in zip(self.at({place.path: [0] for place in places}), self.budgets, strict=True):
            if cost > budget.limit:
                least = budget.shown(cost)
                raise UserError(f"--budget {budget.text}: out of reach; with one channel at every place it has {least}")


def _removed(costs: _Costs, places: Sequence[Point], gates: Mapping[str, np.ndarray], rate: float | None) -> int:
    """How many entries go: those of the rate, or the fewest with which every budget is kept."""
    total, most = _entries(places)
    if rate is not None:
        return _going(rate, total)
    low, high = -1, most  # costs fall with every entry that goes
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if costs.within(largest(gates, middle)[0]) else (middle, high)
    return high


def _entries(places: Sequence[Point]) -> tuple[int, int]:
    """How many there are at all places, and how many can go: the largest of each stays."""
    total = sum(place.length for place in places)
    return total, total - len(places)


def _going(rate: float, total: int) -> int:
    """How many of so many entries a rate takes away: 0.29 of 100 is 29, not the 28.999... of floats."""
    return math.floor(round(rate * total, 6))


def _keep(network: Space, left: Left) -> dict[str, Any]:
    """The section of the file; none where all stays."""
    full = {node.path: node.output[CHANNELS].length for node in graph_of(network).nodes if node.path in left}
    found = kept_entries(network, {path: entries for path, entries in left.items() if len(entries) < full[path]})
    return {"keep": found} if found else {}


def check(network: Space, asked: Asked) -> None:
    """Raises `UserError` for neither a rate nor a budget, one that cannot be kept, a network with no place to prune."""
    _check_options(network, asked)
    written = architecture(network, {})
    places = points(written.network)
    if not places:
        raise InputError(network.source, "nothing to prune: it has no channels that only products read")
    _Costs(written, asked.budgets).must_be_within_reach(places)
    total, most = _entries(places)
    if asked.rate is not None and _going(asked.rate, total) > most:
        share = math.floor(1000 * most / total) / 1000
        raise InputError(
            "--rate", "a channel stays at every place", found=asked.rate, accepted=f"at most {share:g} here"
        )


def _check_options(network: Space, asked: Asked) -> None:
    if network.quantization:
        raise InputError(network.source, "it is quantised already", accepted="the network before it was quantised")
    if asked.rate is None and not asked.budgets:
        raise InputError("--method vtp", "how much is to go?", accepted="--budget 700MFLOPs, or --rate 0.4")
    if asked.rate is not None and asked.budgets:
        raise InputError("--rate", "a budget says how much goes", accepted="one of --rate and --budget")
    if asked.rate is not None and not 0 <= asked.rate < 1:
        raise InputError("--rate", "not a share", found=asked.rate, accepted="a number from 0, below 1")
    for budget in asked.budgets:
        if budget.kind not in ledger.COSTS:
            raise InputError("--budget", "not for pruning", found=budget.text, accepted="FLOPs, MACs or params")
    if asked.penalty < 0:
        raise InputError("--penalty", "below 0", found=asked.penalty, accepted="a number from 0")


def _told(place: Point, gates: np.ndarray, left: Sequence[int]) -> dict[str, Any]:
    """Of the record."""
    sizes = np.abs(gates)
    shown = {name: round(float(value), 6) for name, value in (("least", sizes.min()), ("largest", sizes.max()))}
    return {"path": place.path, "entries": place.length, "left": len(left), "gates": shown}


def _with_gates(variables: Variables, places: Sequence[Point]) -> Variables:
    ones = {place.scale: jnp.ones(place.length, jnp.float32) for place in places}
    return variables | {"params": variables["params"] | ones}


def _folded(variables: Variables, places: Sequence[Point], gates: Mapping[str, np.ndarray]) -> Variables:
    """The variables without gates: each is a factor of the weights that read its channel."""
    scales = {place.scale for place in places}
    params = {path: np.asarray(value) for path, value in variables["params"].items() if path not in scales}
    for place in places:
        for reader in place.readers:
            params[reader] = params[reader] * gates[place.path][:, None]
    return variables | {"params": params}


def _sliced(network: Space, left: Left, whole: Variables) -> Variables:
    """Of the whole network's variables, those entries that the pruned one has."""
    graph = graph_of(network)
    widths = {node.path: node.output[CHANNELS].length for node in graph.nodes if node.path in left}
    masked = graph.keeping({path: kept(widths[path], entries) for path, entries in left.items()})
    return inherited(masked.parts, {}, whole)
