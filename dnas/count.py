"""Exact cost of an architecture, layer by layer.

python -m dnas.count fbnetv2_f4
python -m dnas.count runs/mine/architecture.json --resolution 192 --json
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import tyro

from dnas.architecture import written_fields
from dnas.as_trained import counted_at, recorded, told_apart
from dnas.catalogue import load_space
from dnas.cli import console, run
from dnas.cost.conventions import CONVENTIONS, NORMS, POOLS, statement
from dnas.cost.ledger import Record, at, by_block
from dnas.errors import InputError, UserError
from dnas.following import Next, command, lines
from dnas.network import BlockUse, shapes
from dnas.space.read import at_input
from dnas.space.space import Space


@dataclass(frozen=True)
class Arguments:
    """Counts MACs and parameters of an architecture, exactly and layer by layer."""

    arch: Annotated[str, tyro.conf.Positional]
    """Name of a published architecture (see dnas.spaces), a result folder, or path to a .yaml or .json file."""
    resolution: int | None = None
    """Side of the input image; the architecture's own if not given."""
    classes: int | None = None
    """Number of classes; the architecture's own if not given."""
    json: bool = False
    """Print one JSON object instead of a table."""
    convention: Literal["dnas", "zoo", "fvcore", "timm", "thop", "snap"] = "dnas"
    """Whose way of counting; the result states it in one line."""


def main(args: Arguments) -> None:
    for option, value, most in (("--resolution", args.resolution, 4096), ("--classes", args.classes, 1_000_000)):
        if value is not None and not 1 <= value <= most:
            raise InputError(option, "not accepted here", found=value, accepted=f"an integer from 1 to {most}")
    space = load_space(args.arch, args.classes)
    if args.resolution is not None:
        space = at_input(space, classes=space.classes, side=args.resolution)
    counted = count(space, args.convention)
    own = load_space(args.arch)
    delivered = recorded(own)
    apart = told_apart(counted_at(own), delivered)
    if args.json:
        print(json.dumps(counted | ({"as_trained": delivered.to_json()} if delivered and apart else {})))
        return
    _show(counted)
    for line in apart:
        print(line)
    for line in lines(_following(args.arch, space)):
        print(line)


def _following(arch: str, space: Space) -> list[Next]:
    """A result's weights can be evaluated; an architecture without any is trained."""
    if "training" in (space.extra or {}) or "search" in (space.extra or {}):
        return [
            (command("evaluate", arch), "accuracy by class"),
            (command("export", arch, "--to", "onnx"), "its graph"),
        ]
    return [(command("train", arch, "--data", "IMAGES"), "trains it on a folder of images")]


def count(space: Space, convention: str = "dnas") -> dict[str, Any]:
    """The cost of an architecture as plain data; raises `UserError` for a space that still has choices."""
    if not space.is_architecture:
        n = len(space.choices)
        raise UserError(
            f"{space.source}: a search space with {n} choice{'s' * (n > 1)}, not an architecture; its smallest, mean "
            f"and largest networks: python -m dnas.spaces {space.name}"
        )
    network, _ = shapes(space)
    records = by_block(network.ledger, [use.path for use in network.uses])
    totals = _counts(network.ledger, convention)
    return {
        "name": space.name,
        **totals,
        "convention": {"name": convention, "statement": statement(convention)},
        "input": {"channels": space.channels, "classes": space.classes, "resolution": space.resolution.value},
        "breakdown": _breakdown(network.ledger),
        "layers": [_layer(use, records[use.path], convention) for use in network.uses],
    }


def _counts(records: list[Record], convention: str) -> dict[str, int]:
    counts = CONVENTIONS[convention](records)
    return {"macs": at(counts.operations, {}), "params": at(counts.params, {})}


def _breakdown(records: list[Record]) -> dict[str, int]:
    """What the totals of any convention are made of."""

    def total(part: str, among: list[Record]) -> int:
        return sum((r.given * getattr(r, part)).at({}) for r in among)

    return {
        "weights": total("weights", records),
        "biases": total("biases", records),
        "norm_affine": total("affine", records),
        "squeeze_excite_macs": total("macs", [r for r in records if ".se." in r.path]),
        "norm_elements": total("inputs", [r for r in records if r.kind in NORMS]),
        "pool_input_elements": total("inputs", [r for r in records if r.kind in POOLS]),
    }


def _layer(use: BlockUse, records: list[Record], convention: str) -> dict[str, Any]:
    side = None if use.out.side is None else use.out.side.value
    channels = use.out.channels.value
    return {
        "path": use.path,
        "kind": use.kind,
        "fields": written_fields(use, {}),
        "output": [channels] if side is None else [side, side, channels],
        **_counts(records, convention),
        "operators": [{"path": r.path, "kind": r.kind, **_counts([r], convention)} for r in records],
    }


def layer_table(counted: dict[str, Any]) -> Any:
    """A rich table of what `count` returns, a row a block."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("block", "kind", "fields"):
        table.add_column(name)
    for name in ("output", "MACs", "params"):
        table.add_column(name, justify="right", no_wrap=True)
    for layer in counted["layers"]:
        fields = " ".join(f"{k}={str(v).lower() if isinstance(v, bool) else v}" for k, v in layer["fields"].items())
        shape = "x".join(map(str, layer["output"]))
        table.add_row(layer["path"], layer["kind"], fields, shape, f"{layer['macs']:,}", f"{layer['params']:,}")
    table.add_section()
    table.add_row("total", "", "", "", f"{counted['macs']:,}", f"{counted['params']:,}")
    return table


def _show(counted: dict[str, Any]) -> None:
    out = console()
    size = counted["input"]
    side = size["resolution"]
    out.print(f"{counted['name']}: {side}x{side}x{size['channels']}, {size['classes']} classes")
    out.print(layer_table(counted))
    parts = counted["breakdown"]
    out.print(f"params: weights {parts['weights']:,}, biases {parts['biases']:,}, norms {parts['norm_affine']:,}")
    out.print(f"convention {counted['convention']['name']}: {counted['convention']['statement']}")


if __name__ == "__main__":
    run(main, Arguments)
