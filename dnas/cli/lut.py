"""Latency tables: look at them, check them, put them together, fit them to whole networks, import public ones.

python -m dnas.lut show pixel3 --space fbnetv1_32
python -m dnas.lut check mine.json
python -m dnas.lut merge monday.json tuesday.json --out both.json
python -m dnas.lut fit measured.csv --space fbnetv1_32 --column pixel2_ms --out pixel2.json
python -m dnas.lut import facts.json --out pixel3.json
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec
import tyro

from dnas.cli.argument_class import refuse
from dnas.cost.latency import LatencyCost, entries_by_kind, latency_cost
from dnas.cost.latency_table import LatencyTable, read_table, write_table
from dnas.cost.measurements import read_measurements
from dnas.cost.table_check import Finding, check_table
from dnas.cost.table_fit import fitted_table
from dnas.cost.table_import import import_table
from dnas.cost.table_merge import merge_tables
from dnas.errors import InputError, UserError
from dnas.grammar.catalogue import find_table, load_space, table_names
from dnas.process.progress import beside, progress
from dnas.process.seed import checked_seed
from dnas.runs.following import command, lines
from dnas.runs.outputs import check_output

MOST_SHOWN = 40


@dataclass(frozen=True)
class Show:
    """Prints what a table is, how it was measured, and what of a space it covers."""

    table: Annotated[str | None, tyro.conf.Positional] = None
    """Name of a shipped table or path; all shipped ones if none is given."""
    space: str | None = None
    """A space or architecture whose coverage to print."""
    json: bool = False
    """Print one JSON object."""


@dataclass(frozen=True)
class Check:
    """Names what cannot be right in a table; exit code 2 where it cannot be used."""

    table: Annotated[str, tyro.conf.Positional]
    """Name of a shipped table or path."""
    space: str | None = None
    """A space that it must have every block kind of."""
    strict: bool = False
    """Exit code 2 for anything suspicious, and for any block of the space without an entry."""
    json: bool = False
    """Print one JSON object."""


@dataclass(frozen=True)
class Merge:
    """Puts tables together that were measured on one device under the same conditions."""

    tables: Annotated[tuple[str, ...], tyro.conf.Positional]
    """Names or paths; where several have a block, the first one's entry stays."""
    out: Path
    """File to write."""
    force: bool = False
    """Merge tables of other devices or conditions too, which the result notes, and keep the first of entries that
    disagree."""
    overwrite: bool = False
    """Replace a file that is there."""
    name: str | None = None
    """Name of the result; the file's if not given."""


@dataclass(frozen=True)
class Fit:
    """Fits a table to latencies of whole networks, and scores it on networks left out."""

    measurements: Annotated[Path, tyro.conf.Positional]
    """CSV with a column `arch` (option indices: 22 digits for fbnetv1_32) and columns of latencies."""
    space: str
    """The space of the networks."""
    column: str | None = None
    """Which latencies, where there are several columns."""
    out: Path | None = None
    """File to write; without it the scores are only printed."""
    overwrite: bool = False
    """Replace a file that is there."""
    name: str | None = None
    """Name of the table; the file's, else the column's, if not given."""
    device: str | None = None
    """Device the networks ran on; the column's name if not given."""
    runtime: str = "not stated"
    """Runtime they ran on."""
    splits: int = 10
    """Seeded splits that the scores are medians of; 0 for no scores."""
    held_out: int | None = None
    """Networks left out in a split; a fifth if not given."""
    seed: int = 0
    """Of the first split."""
    json: bool = False
    """Print one JSON object."""


@dataclass(frozen=True)
class Import:
    """Turns a public table (HW-NAS-Bench, ProxylessNAS, TF-NAS, Single-Path NAS, ... facts) into ours."""

    facts: Annotated[Path, tyro.conf.Positional]
    """The facts file."""
    out: Path
    """File to write."""
    overwrite: bool = False
    """Replace a file that is there."""
    name: str | None = None
    """Name of the table; the file's if not given."""


Command = (
    Annotated[Show, tyro.conf.subcommand("show")]
    | Annotated[Check, tyro.conf.subcommand("check")]
    | Annotated[Merge, tyro.conf.subcommand("merge")]
    | Annotated[Fit, tyro.conf.subcommand("fit")]
    | Annotated[Import, tyro.conf.subcommand("import")]
)


@dataclass(frozen=True)
class Arguments:
    """Shows, checks, merges, fits and imports latency tables."""

    command: tyro.conf.OmitArgPrefixes[tyro.conf.OmitSubcommandPrefixes[Command]]


def main(args: Arguments) -> None:
    """Runs the command that was named; its exit code."""
    {Show: show, Check: check, Merge: merge, Fit: fit, Import: import_}[type(args.command)](args.command)


def show(args: Show) -> None:
    """Prints what a table holds."""
    if args.table is None:
        refuse(args, ("space",), "of which table?")
        tables = [read_table(find_table(name)) for name in table_names()]
        rows = [{"name": t.name, "device": t.device, "runtime": t.runtime, "entries": len(t.entries)} for t in tables]
        if args.json:
            print(json.dumps({"tables": rows}))
        else:
            for row in rows:
                print(f"{row['name']:16} {row['entries']:6,} entries   {row['device']}; {row['runtime']}")
        return
    table = read_table(find_table(args.table))
    header = {k: v for k, v in msgspec.to_builtins(table).items() if k != "entries" and v not in (None, {}, [], "")}
    header["entries"] = len(table.entries)
    covered = None if args.space is None else _covered(table, args.space)
    if args.json:
        print(json.dumps(header | ({} if covered is None else {"coverage": covered.coverage.to_data()})))
        return
    for key, value in header.items():
        print(f"{key.replace('_', ' ')}: {_plain(value)}")
    if covered is not None:
        _show_coverage(covered, str(args.space))


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{k.replace('_', ' ')} {_plain(v)}" for k, v in value.items())
    return ", ".join(map(_plain, value)) if isinstance(value, list | tuple) else str(value)


def _show_coverage(covered: LatencyCost, space: str) -> None:
    print(f"space {space}: {covered.coverage.summary()}")
    for kind, states in covered.coverage.kinds.items():
        counts = ", ".join(f"{n:,} {state.replace('_', ' ')}" for state, n in states.items())
        error = covered.coverage.error.get(kind)
        how = f"; {error.method}" if error else ""
        if error and error.median_error is not None and error.p90_error is not None:
            how += f", off by {error.median_error:.1%} (median) and {error.p90_error:.1%} (90th percentile)"
        print(f"  {kind}: {counts}{how}")
    for note in covered.notes:
        print(f"note: {note}")


def _covered(table: LatencyTable, space: str, strict: bool = False) -> LatencyCost:
    return latency_cost(load_space(space), table, strict=strict)


def check(args: Check) -> None:
    """Prints what is suspicious about a table; 2 where anything is."""
    path = find_table(args.table)
    table = read_table(path)
    found = check_table(table, entries_by_kind(table))
    unusable = [f for f in found if f.level == "unusable"]
    refused = unusable or (found if args.strict else [])
    covered = None
    if args.space is not None and not refused:
        covered = _covered(table, args.space, args.strict)
    if args.json:
        print(json.dumps(_check_data(path, table, found, covered)))
    else:
        for finding in found[:MOST_SHOWN]:
            print(f"{finding.level}: {finding}")
        if len(found) > MOST_SHOWN:
            print(f"... and {len(found) - MOST_SHOWN:,} more (--json has all)")
        if covered is not None:
            _show_coverage(covered, str(args.space))
        if not refused:
            also = f", {len(found):,} suspicious" if found else ", nothing suspicious"
            print(f"{table.name}: {len(table.entries):,} entries can be used{also}")
    if refused:
        more = f" (and {len(refused) - 1:,} more)" if len(refused) > 1 else ""
        raise InputError(str(path), f"{refused[0]}{more}")


def _check_data(path: Path, table: LatencyTable, found: list[Finding], covered: LatencyCost | None) -> dict[str, Any]:
    data: dict[str, Any] = {"file": str(path), "name": table.name, "entries": len(table.entries)}
    data["findings"] = [f._asdict() for f in found]
    return data | ({} if covered is None else {"coverage": covered.coverage.to_data()})


def merge(args: Merge) -> None:
    """Writes one table of several."""
    if len(args.tables) < 2:
        raise UserError("merge needs at least two tables")
    check_output(args.out, overwrite=args.overwrite)
    tables = [msgspec.structs.replace(read_table(find_table(name)), name=name) for name in args.tables]
    merged = merge_tables(tables, force=args.force, name=args.name or args.out.stem)
    _write(args.out, merged)
    if merged.measured.note and merged.measured.note != tables[0].measured.note:
        print(f"note: {merged.measured.note}")


def fit(args: Fit) -> None:
    """Writes a table fitted to measurements of whole networks."""
    if args.out is not None:
        check_output(args.out, overwrite=args.overwrite, inputs=[args.measurements])
    if args.splits < 0 or args.splits > 100:
        raise InputError("--splits", "not accepted here", found=args.splits, accepted="0 to 100")
    space = load_space(args.space)
    measured = read_measurements(args.measurements, space, args.column)
    name = args.name or (measured.column.removesuffix("_ms") if args.out is None else args.out.stem)
    with progress(beside(), args.splits + 1, "fitting", unit="fit") as show:
        table = fitted_table(
            space, measured, name=name, device=args.device or measured.column, runtime=args.runtime,
            splits=args.splits, held_out=args.held_out, seed=checked_seed(args.seed), told=lambda done: show(done, ""),
        )  # fmt: skip
    found = table.fit
    assert found is not None
    if args.json:
        print(json.dumps(msgspec.to_builtins(found) | {"entries": len(table.entries), "base": table.base}))
    else:
        print(f"{measured.column}: {found.networks:,} networks, {len(table.entries)} entries, base {table.base:g} ms")
        print(f"method: {found.method}")
        if found.splits:
            plain = found.least_squares
            print(f"medians over {found.splits} splits with {found.held_out:,} networks left out (least squares):")
            print(f"  R2 {_score(found.r2)} ({_score(plain['r2'])})")
            print(f"  mean absolute error {found.mae_ms:.4g} ms ({plain['mae_ms']:.4g})")
            print(f"  Spearman {_score(found.spearman)} ({_score(plain['spearman'])})")
    if args.out is not None:
        _write(args.out, table, quiet=args.json)


def _score(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.4f}"


def import_(args: Import) -> None:
    """Writes a table of a source's own format."""
    check_output(args.out, overwrite=args.overwrite, inputs=[args.facts])
    _write(args.out, import_table(args.facts, args.name or args.out.stem))


def _write(path: Path, table: LatencyTable, quiet: bool = False) -> None:
    write_table(path, table)
    if not quiet:
        print(f"wrote {path}: {len(table.entries):,} entries, base {table.base:g} ms")
        print(*lines([(command("lut", "check", path), "what cannot be right in it")]), sep="\n")
