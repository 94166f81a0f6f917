"""What search spaces and published architectures there are, how large they are and what they cost.

python -m dnas.spaces                    every shipped space and architecture
python -m dnas.spaces fbnetv2 mine.yaml  these, with their choices
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import tyro

from dnas.cost import ledger
from dnas.cost.ledger import COSTS, Cost
from dnas.errors import InputError, UserError
from dnas.grammar.catalogue import load_space, published_names, space_names
from dnas.network import Network, shapes
from dnas.process.console import console
from dnas.runs.following import Next, command, lines
from dnas.solve.elimination import log_total, optimum
from dnas.solve.model import product_table
from dnas.solve.relevance import size_factors
from dnas.space import units
from dnas.space.quantity import Quantity
from dnas.space.space import Space

RULE = (
    "size = number of distinct architectures that satisfy the space's constraints, exact: choices that do not matter "
    "(in a branch not taken, a block not present, a squeeze-excite switched off) and options that give the same "
    "network count once."
)
MEAN = "mean = exact mean over networks whose choices are drawn uniformly and independently, constraints apart."


@dataclass(frozen=True)
class Arguments:
    """Lists search spaces (choices, size, smallest, mean and largest network) and published architectures."""

    names: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """Names or paths; all shipped ones if none is given."""
    classes: int | None = None
    """Count with this number of classes instead of each space's own."""
    json: bool = False
    """Print one JSON object instead of tables."""


def main(args: Arguments) -> None:
    names = args.names or (*space_names(), *published_names())
    if args.classes is not None and args.classes < 1:
        raise InputError("--classes", "not accepted here", found=args.classes, accepted="an integer from 1")
    loaded = [load_space(name, args.classes) for name in names]
    spaces = [described(s, choices=bool(args.names)) for s in loaded if not s.is_architecture]
    architectures = [counted(s) for s in loaded if s.is_architecture]
    if args.json:
        print(json.dumps({"spaces": spaces, "architectures": architectures, "size_rule": RULE, "mean_rule": MEAN}))
    else:
        _show(spaces, architectures)
        for line in lines(_following(dict(zip(names, loaded, strict=True)), spaces)):
            print(line)


def _following(loaded: Mapping[str, Space], described: list[dict[str, Any]]) -> list[Next]:
    """What can be done with the first space and the first architecture, by the names that find them."""
    found = []
    for name in [name for name, space in loaded.items() if not space.is_architecture][:1]:
        budget = units.counted(described[0]["macs"]["mean"], "FLOPs").replace(" ", "")
        found.append((command("search", name, "--budget", budget), "a network of at most the space's mean cost"))
    for name in [name for name, space in loaded.items() if space.is_architecture][:1]:
        found.append((command("count", name), "its cost layer by layer"))
    return found


def described(space: Space, *, choices: bool = False) -> dict[str, Any]:
    """Size and range of a space as plain data."""
    network, _ = shapes(space)
    result: dict[str, Any] = {
        "name": space.name,
        "about": space.about,
        "choices": len(space.choices),
        "size_log10": round(size_log10(space, network), 6),
        "resolution": space.resolution.values(),
    }
    if choices:
        result["options"] = {c.name: list(c.options) for c in space.choices}
    for name, cost in COSTS.items():
        least, most = extremes(space, cost(network.ledger))
        uniform = {c.name: np.full(len(c), 1 / len(c)) for c in space.choices}
        mean = float(ledger.mean(cost(network.ledger), uniform))
        result[name.lower()] = {"smallest": least, "mean": round(mean, 1), "largest": most}
    return result


def counted(space: Space) -> dict[str, Any]:
    """Cost of an architecture as plain data."""
    network, _ = shapes(space)
    costs = {name.lower(): ledger.at(cost(network.ledger), {}) for name, cost in COSTS.items()}
    return {"name": space.name, "about": space.about, "resolution": space.resolution.value, **costs}


def size_log10(space: Space, network: Network | None = None) -> float:
    """log10 of the number of distinct architectures; see `RULE`."""
    return log_total(size_factors(space, network), space.constraints) / math.log(10)


def extremes(space: Space, cost: Cost) -> tuple[int, int]:
    """The smallest and the largest cost of any architecture of the space, exact."""
    factors = [Quantity(*product_table(p)) for p in ledger.merged(cost)]
    found = []
    for sense in ("min", "max"):
        try:
            _, assignment = optimum(factors, sense, space.constraints)
        except UserError as error:
            raise InputError(space.source, str(error)) from error
        # The tables hold floats; the winner is counted again in integers. Choices that enter no factor are free.
        found.append(ledger.at(cost, {c.name: 0 for c in space.choices} | assignment))
    return found[0], found[1]


def _show(spaces: list[dict[str, Any]], architectures: list[dict[str, Any]]) -> None:
    from rich.table import Table

    out = console()
    if spaces:
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("space")
        costs = ("MACs smallest", "mean", "largest", "params smallest", "mean", "largest")
        for name in ("choices", "size (log10)", *costs):
            table.add_column(name, justify="right", no_wrap=True)
        for s in spaces:
            shown = [units.counted(s[c][k]) for c in ("macs", "params") for k in ("smallest", "mean", "largest")]
            table.add_row(s["name"], str(s["choices"]), f"{s['size_log10']:.2f}", *shown)
        out.print(table)
        for s in spaces:
            for name, options in s.get("options", {}).items():
                out.print(f"  {s['name']}  {name}: {', '.join(map(str, options))}", markup=False)
        out.print(RULE, MEAN, "", sep="\n")
    if architectures:
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("architecture")
        for name in ("resolution", "MACs", "params"):
            table.add_column(name, justify="right", no_wrap=True)
        table.add_column("about")
        for a in architectures:
            table.add_row(a["name"], str(a["resolution"]), f"{a['macs']:,}", f"{a['params']:,}", a["about"])
        out.print(table)
