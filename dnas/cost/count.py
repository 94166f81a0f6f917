"""Exact cost of an architecture, layer by layer, as plain data and as a table."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from typing import Any

from dnas.cost.conventions import CONVENTIONS, NORMS, POOLS, statement
from dnas.cost.ledger import Record, at, by_block
from dnas.errors import UserError
from dnas.graph import BlockUse, graph_of
from dnas.graph.architecture import written_fields
from dnas.space.space import Space


def count(space: Space, convention: str = "dnas") -> dict[str, Any]:
    """The cost of an architecture as plain data; raises `UserError` for a space that still has choices."""
    if not space.is_architecture:
        n = len(space.choices)
        is_file = os.path.isfile(space.source)
        told = f"python -m dnas.spaces {shlex.quote(space.source)}" if is_file else "dnas.load(...).cost_range"
        raise UserError(
            f"{space.source}: a search space with {n} choice{'s' * (n > 1)}, not an architecture; its smallest, mean "
            f"and largest networks: {told}"
        )
    network = graph_of(space)
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


def _counts(records: Sequence[Record], convention: str) -> dict[str, int]:
    counts = CONVENTIONS[convention](records)
    return {"macs": at(counts.operations, {}), "params": at(counts.params, {})}


def _breakdown(records: Sequence[Record]) -> dict[str, int]:
    """What the totals of any convention are made of."""

    def total(part: str, among: Sequence[Record]) -> int:
        return sum((r.given * getattr(r, part)).at({}) for r in among)

    return {
        "weights": total("weights", records),
        "biases": total("biases", records),
        "norm_affine": total("affine", records),
        "squeeze_excite_macs": total("macs", [r for r in records if ".se." in r.path]),
        "norm_elements": total("inputs", [r for r in records if r.kind in NORMS]),
        "pool_input_elements": total("inputs", [r for r in records if r.kind in POOLS]),
    }


def _layer(use: BlockUse, records: Sequence[Record], convention: str) -> dict[str, Any]:
    return {
        "path": use.path,
        "kind": use.kind,
        "fields": written_fields(use, {}),
        "output": [axis.size.value for axis in use.main.axes],
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
