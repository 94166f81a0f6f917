"""What search spaces and published architectures there are, how large they are and what they cost.

python -m dnas.spaces                    every shipped space and architecture
python -m dnas.spaces fbnetv2 mine.yaml  these, with their choices
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import tyro

from dnas.cost import ledger
from dnas.cost.ledger import COSTS
from dnas.grammar.catalogue import load_space, published_names, space_names
from dnas.graph import graph_of
from dnas.process.console import console
from dnas.runs.following import Next, command, lines
from dnas.solve.extent import MEAN, RULE, described
from dnas.space import units
from dnas.space.space import Space


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
    """Prints all spaces and published networks, or those named, with their costs."""
    names = args.names or (*space_names(), *published_names())
    loaded = [load_space(name, args.classes) for name in names]
    spaces = [
        described(s, choices=bool(args.names)) | _recipe(s, bool(args.names)) for s in loaded if not s.is_architecture
    ]
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


def _recipe(space: Space, shown: bool) -> dict[str, Any]:
    """The choices of the trainings that a joint search tries, where the space has some."""
    from dnas.train.recipe import joined, read_recipe

    if not space.recipe:
        return {}
    choices = joined(read_recipe("quick"), space).choices
    return {"recipe_choices": len(choices)} | ({"recipe": {c.name: list(c.options) for c in choices}} if shown else {})


def counted(space: Space) -> dict[str, Any]:
    """Cost of an architecture as plain data."""
    network = graph_of(space)
    costs = {name.lower(): ledger.at(cost(network.ledger), {}) for name, cost in COSTS.items()}
    return {"name": space.name, "about": space.about, "resolution": space.resolution.value, **costs}


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
            for name, options in (s.get("options", {}) | s.get("recipe", {})).items():
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
