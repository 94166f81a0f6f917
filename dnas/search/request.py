"""A search as it is asked for, by the command or from Python: checked without jax, then put together and run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from dnas.cost.budget import Budget, parse_budget, parse_family
from dnas.data.load import DEFAULT, Data, scan
from dnas.data.reading import Reading
from dnas.errors import InputError, UserError, suggestion
from dnas.learning.image_size import search_side
from dnas.process import hosts
from dnas.process.devices import chosen
from dnas.process.free_memory import whole
from dnas.process.memory_amounts import parse_memory
from dnas.process.progress import told
from dnas.process.seed import checked_seed
from dnas.search import strategies
from dnas.search.settings import PRESETS, PresetName, Settings, with_overrides
from dnas.space.space import Space

if TYPE_CHECKING:
    from dnas.learning.terms import Term
    from dnas.search.console import Console
    from dnas.search.run import Options


@dataclass(frozen=True, eq=False)
class Request:
    """What is searched, on what, and within what."""

    space: Space
    budgets: tuple[Budget, ...]
    family: tuple[Budget, ...]
    strategy: str
    design: Space | None
    """Where the search begins."""
    settings: Settings
    seed: int
    data: Data | None
    reading: Reading
    most_memory: int | None
    """Bytes."""
    terms: tuple[Term, ...] = ()
    """Of the loss, beside cross-entropy."""
    devices: int | None = None
    """How many are computed on; None: `dnas.process.devices.chosen`."""


def requested(
    space: Space, *, data: Data | None = None, budgets: Sequence[str] = (), family: str | None = None,
    strategy: str | None = None, start: Space | None = None, preset: str = "quick", seed: int = 0,
    reading: Reading = DEFAULT, max_memory: str | None = None, settings: Mapping[str, Any], terms: Sequence[Term] = (),
    devices: int | None = None,
) -> Request:  # fmt: skip
    """A request, whose arguments mean what the options of `dnas.cli.search` of the same names do.

    Args:
        settings: fields of `Settings` in place of the preset's; those that are None are the preset's.
        terms: of the loss, beside cross-entropy.

    Raises:
        InputError: a value that is not accepted, a setting that the strategy does not read, an architecture in place
            of a space.
    """
    parsed = tuple(parse_budget(text) for text in budgets)
    known: PresetName = _known("--preset", preset, get_args(PresetName))
    chosen = with_overrides(known, **settings)
    limit = None if max_memory is None else parse_memory(max_memory)
    networks = () if family is None else tuple(parse_family(family))
    if space.is_architecture:
        raise UserError(f"{space.source}: an architecture, with nothing to search; a space has choices")
    name = strategies.of(space) if strategy is None else strategy
    name = _known("--strategy", name, strategies.ALL)
    assert name != strategies.JOINT  # it has no supernet
    _refuse_unread(name, chosen, PRESETS[known])
    return Request(
        space, parsed, networks, name, start, chosen, checked_seed(seed), data, reading, limit, tuple(terms), devices
    )


def search(request: Request, out: Path, console: Console, options: Options) -> None:
    """Searches and writes the result's files into `out`.

    Raises:
        UserError: data that cannot be read, budgets out of reach, too little memory, and what
            `dnas.search.run.run_search` raises.
        Stopped: after a signal.
    """
    devices = chosen(request.devices)
    source = scan(request.data, seed=request.seed, reading=request.reading)
    side, why = search_side(request.space, source, request.settings.side, request.settings.largest_decoded)
    with told(console.out, "decoding images") as progress:
        dataset = source.load(side, why=why, progress=progress, memory=hosts.agreed(whole()))

    from dnas.learning.terms import check
    from dnas.search.memory import must_fit, within
    from dnas.search.problem import make_problem
    from dnas.search.run import run_search
    from dnas.search.start import begun_at

    problem = make_problem(request.space, request.budgets, dataset, request.settings, request.seed, request.family)
    problem = replace(problem, more_terms=request.terms, devices=devices)
    check(problem.terms, taught=False)
    problem = begun_at(problem, request.design) if request.design is not None else problem
    problem = within(problem, request.most_memory, request.strategy) if request.most_memory is not None else problem
    must_fit(problem, request.strategy)
    run_search(problem, out, console, options, request.strategy)


def _refuse_unread(strategy: str, chosen: Settings, preset: Settings) -> None:
    """Raises `InputError` for a setting that was changed and that the strategy does not read."""
    for name, readers in strategies.READ_BY.items():
        value = getattr(chosen, name)
        if strategy not in readers and value != getattr(preset, name):
            option, accepted = f"--{name.replace('_', '-')}", f"with --strategy {' or '.join(readers)}"
            raise InputError(option, f"does nothing with --strategy {strategy}", found=value, accepted=accepted)


def _known(option: str, name: Any, names: Sequence[str]) -> Any:
    if name not in names:
        near = suggestion(name, names) if isinstance(name, str) else ""
        raise InputError(option, f"unknown{near}", found=name, accepted=", ".join(names))
    return name
