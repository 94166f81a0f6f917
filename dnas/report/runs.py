"""A result folder as data: what a search wrote, read within bounds and checked.

`architecture.json` and `history.jsonl` must be there; `provenance.json` and `chain.json` (of a slimming search) may.
Keys that a history lacks are None: another strategy, or another version, records other things.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec

from dnas.catalogue import load_space, space_names
from dnas.count import count
from dnas.errors import InputError, UserError
from dnas.files import MAX_JSON, parse_json, read_bytes
from dnas.network import shapes
from dnas.sets import current
from dnas.space.read import space_from_data
from dnas.space.space import Space

MAX_HISTORY = 64 << 20
MAX_ROWS = 100_000
MAX_RUNS = 32
MAX_CHOICES = 4000

Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]
Probability = Annotated[float, msgspec.Meta(ge=-1e-3, le=1.001)]
Struct = TypeVar("Struct", bound=msgspec.Struct)


class Row(msgspec.Struct, frozen=True):
    """One line of a history."""

    step: Count
    loss: float | None = None
    accuracy: float | None = None
    theta_loss: float | None = None
    theta_accuracy: float | None = None
    expected: tuple[float, ...] | None = None
    multipliers: tuple[float, ...] | None = None
    push_up: float | None = None
    entropy: float | None = None
    temperature: float | None = None
    skip_share: float | None = None
    skip_guard: float | None = None
    phase: str | None = None
    probabilities: dict[str, tuple[Probability, ...]] | None = None


class BudgetResult(msgspec.Struct, frozen=True):
    """A budget and what became of it; costs in multiply-adds, parameters or milliseconds."""

    budget: str
    limit: Annotated[float, msgspec.Meta(gt=0)]
    cost: float
    expected_before: float | None = None
    argmax_cost: float | None = None


class DataUsed(msgspec.Struct, frozen=True):
    name: str = "not stated"


class SearchFacts(msgspec.Struct, frozen=True):
    """The part `search` of an exported architecture."""

    space: str
    strategy: str = "not stated"
    preset: str = "not stated"
    seed: int | None = None
    data: DataUsed = DataUsed()
    budgets: tuple[BudgetResult, ...] = ()
    budget_satisfied: bool | None = None
    log_probability: float | None = None
    argmax_log_probability: float | None = None
    gap_nats: float | None = None
    mean_entropy: float | None = None
    inherited_accuracy: dict[str, float] = {}
    accuracy_split: str = "not stated"
    by_proxy: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    settings: dict[str, Any] = {}
    options: dict[str, tuple[bool | int | float | str, ...]] = {}
    """Choice name -> its options, where the result states them."""


class Action(msgspec.Struct, frozen=True):
    """What a step of a chain did: a choice moved from one option to another, or the solver's doing in words."""

    choice: str = ""
    before: Any = msgspec.field(name="from", default=None)
    after: Any = msgspec.field(name="to", default=None)
    solved: str = ""

    def __str__(self) -> str:
        return self.solved or f"{self.choice} {self.before} -> {self.after}"


class ChainEntry(msgspec.Struct, frozen=True):
    """One step in `chain.json`; `costs` in the order of the file's budgets."""

    actions: tuple[Action, ...]
    costs: tuple[float, ...]
    accuracy: float
    drop: float | None = None


class ChainFile(msgspec.Struct, frozen=True):
    """`chain.json` as `dnas.search.chain_files` writes it."""

    budgets: tuple[str, ...]
    steps: tuple[ChainEntry, ...]


@dataclass(frozen=True)
class ChainStep:
    """One step of a chain of networks: what was done, and what the network costs (by unit) and knows after it."""

    action: str
    cost: dict[str, float]
    accuracy: float
    drop: float | None = None


@dataclass(frozen=True)
class Layer:
    """One block of the network found; `fields` has every field, defaults filled in. `side` is None of a vector."""

    path: str
    kind: str
    fields: dict[str, Any]
    channels_in: int
    channels: int
    side: int | None
    macs: int
    params: int


@dataclass(frozen=True)
class Run:
    """One result folder."""

    name: str
    folder: str
    network: str
    facts: SearchFacts
    taken: dict[str, Any]
    """Choice name -> the option taken."""
    options: dict[str, tuple[Any, ...]]
    """Choice name -> its options, as far as they are known."""
    layers: tuple[Layer, ...]
    resolution: int
    macs: int
    params: int
    rows: tuple[Row, ...]
    provenance: dict[str, Any] | None
    chain: tuple[ChainStep, ...]

    @property
    def accuracy(self) -> tuple[str, float] | None:
        """The last accuracy that was measured of the network found: its name and value."""
        after = [(k, v) for k, v in self.facts.inherited_accuracy.items() if not k.endswith("_before") and k != "soft"]
        return after[-1] if after else None


def read_runs(folders: Sequence[Path]) -> list[Run]:
    """The runs, told apart by name; raises `InputError` naming the file for what cannot be read."""
    if len(folders) > MAX_RUNS:
        raise UserError(f"{len(folders)} folders, accepted: at most {MAX_RUNS}")
    runs = []
    for folder, name in zip(folders, _names(folders), strict=True):
        runs.append(read_run(folder, name))
    return runs


def read_run(folder: Path, name: str | None = None) -> Run:
    """One run; raises `InputError`."""
    if not _is(folder, "dir"):
        raise InputError(str(folder), "no such folder", accepted="a result folder of dnas.search")
    file = folder / "architecture.json"
    if not _is(file, "file"):
        begun = any(_is(folder / name, "file") for name in ("history.jsonl", "history.partial.jsonl"))
        started = "; its search has not ended" if begun else ""
        raise InputError(
            str(folder), f"no architecture.json{started}", accepted="a result folder of dnas.search (its --out)"
        )
    data = _json(file)
    space = space_from_data(data, str(file))
    if space.extra is None or "search" not in space.extra:
        raise InputError(str(file), "not the result of a search: it has no 'search'")
    facts = _converted(data["search"], SearchFacts, f"{file}: search")
    taken = data.get("choices_taken", {})
    if not isinstance(taken, dict):
        raise InputError(f"{file}: choices_taken", "not a mapping", found=taken)
    counted = count(space)
    rows = tuple(read_history(folder / "history.jsonl", len(facts.budgets)))
    provenance = folder / "provenance.json"
    return Run(
        name=name or folder.name or str(folder),
        folder=str(folder),
        network=space.name,
        facts=facts,
        taken=taken,
        options=_options(facts, taken),
        layers=tuple(_layers(space, counted)),
        resolution=counted["input"]["resolution"],
        macs=counted["macs"],
        params=counted["params"],
        rows=rows,
        provenance=_mapping(provenance) if _is(provenance, "file") else None,
        chain=_chain(folder / "chain.json"),
    )


def read_history(path: Path, budgets: int | None = None) -> Iterator[Row]:
    """The rows of a history; `budgets` is how many costs a row must have, where it has any.

    Raises `InputError`, naming the line, for one that is cut off, no object, not finite or out of order.
    """
    try:
        lines = read_bytes(path, MAX_HISTORY).decode("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(str(path), f"not UTF-8 text: {error.reason} at byte {error.start}") from error
    if not lines:
        raise InputError(str(path), "no rows")
    if len(lines) > MAX_ROWS:
        raise InputError(str(path), f"{len(lines):,} rows", accepted=f"at most {MAX_ROWS:,}")
    last = -1
    for number, text in enumerate(lines, 1):
        where = f"{path}:{number}"
        row = _converted(parse_json(text, str(path), number), Row, where)
        if row.step <= last:
            raise InputError(where, f"step {row.step} after step {last}", accepted="growing steps")
        last = row.step
        for key in ("expected", "multipliers"):
            values = getattr(row, key)
            if values is not None and budgets is not None and len(values) != budgets:
                raise InputError(f"{where}: {key}", f"{len(values)} numbers", accepted=f"{budgets}, one a budget")
        if row.probabilities is not None and len(row.probabilities) > MAX_CHOICES:
            raise InputError(where, f"{len(row.probabilities):,} choices", accepted=f"at most {MAX_CHOICES:,}")
        yield row


def _layers(space: Space, counted: dict[str, Any]) -> Iterator[Layer]:
    for use, layer in zip(shapes(space)[0].uses, counted["layers"], strict=True):
        side = None if use.out.side is None else use.out.side.value
        yield Layer(
            use.path, use.kind, {name: q.value for name, q in use.fields.items()}, use.channels_in.value,
            use.out.channels.value, side, layer["macs"], layer["params"],
        )  # fmt: skip


def _options(facts: SearchFacts, taken: dict[str, Any]) -> dict[str, tuple[Any, ...]]:
    """The options the result states, else those of the shipped space of that name where they hold what was taken."""
    if facts.options or facts.space not in space_names():
        return dict(facts.options)
    return {c.name: c.options for c in load_space(facts.space).choices if taken.get(c.name) in c.options}


def _chain(path: Path) -> tuple[ChainStep, ...]:
    if not _is(path, "file"):
        return ()
    chain = _converted(_json(path), ChainFile, str(path))
    units = [_unit(budget) for budget in chain.budgets]
    for n, entry in enumerate(chain.steps):
        if len(entry.costs) != len(units):
            accepted = f"{len(units)}, one a budget"
            raise InputError(f"{path}: steps.{n}.costs", f"{len(entry.costs)} numbers", accepted=accepted)
    return tuple(
        ChainStep(
            ", ".join(map(str, entry.actions)) or "the largest network", dict(zip(units, entry.costs, strict=True)),
            entry.accuracy, entry.drop,
        )
        for entry in chain.steps
    )  # fmt: skip


def _unit(budget: str) -> str:
    """What a budget counts."""
    what, _, table = budget.partition("@")
    return f"ms {table}" if table else "params" if what.lower().endswith("params") else "MACs"


def _json(path: Path) -> Any:
    try:
        return parse_json(read_bytes(path, MAX_JSON).decode("utf-8"), str(path))
    except UnicodeDecodeError as error:
        raise InputError(str(path), f"not UTF-8 text: {error.reason} at byte {error.start}") from error


def _mapping(path: Path) -> dict[str, Any]:
    data = _json(path)
    if not isinstance(data, dict):
        raise InputError(str(path), "not a mapping", found=data)
    return data


def _converted(data: Any, kind: type[Struct], where: str) -> Struct:
    """Plain data as a struct, every number in it finite."""
    try:
        value = msgspec.convert(data, kind)
    except msgspec.ValidationError as error:
        problem, _, place = str(error).partition(" - at `$")
        raise InputError(f"{where}: {place.rstrip('`').lstrip('.')}" if place else where, problem) from None
    for number in _numbers(msgspec.to_builtins(value)):
        if not (math.isfinite(number) and abs(number) < 1e30):
            raise InputError(where, "a number that cannot be", found=number)
    return value


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, int | float):
        yield value
    elif isinstance(value, dict | list | tuple):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _numbers(part)


def _is(path: Path, what: str) -> bool:
    try:
        return path.is_dir() if what == "dir" else current(path).is_file()
    except (OSError, ValueError):
        return False


def _names(folders: Sequence[Path]) -> list[str]:
    """Folder names; with as many of the folders above as tell them apart."""
    parts = [folder.absolute().parts for folder in folders]
    for depth in range(1, max((len(p) for p in parts), default=1) + 1):
        names = ["/".join(p[-depth:]) for p in parts]
        if len(set(names)) == len(names):
            return names
    return [f"{'/'.join(p[-1:])} ({n})" for n, p in enumerate(parts, 1)]
