"""What a search needs on a device, before it is started there.

python -m dnas.plan fbnetv2 --target v5e:2x2
python -m dnas.plan tiny
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import tyro

from dnas.errors import InputError

if TYPE_CHECKING:
    from dnas.data.dataset import Dataset
    from dnas.search.settings import Settings
    from dnas.space.space import Space


@dataclass(frozen=True)
class Arguments:
    """Says what a step of a search needs on a device that need not be here: memory, operations, bytes, the largest
    batch that fits, and the least time that it can take. Nothing is searched."""

    groups: ClassVar[dict[str, str]] = {"space": "what is planned", "data": "images", "json": "what is told"}

    space: Annotated[str, tyro.conf.Positional]
    """Name of a search space (see dnas.spaces) or path to a file of your own."""
    target: str | None = None
    """A TPU topology, for which the step is compiled (v4, v5e, v5p, v6e, tpu7x: v5e:2x2; needs dnas[tpu]), or cuda or
    rocm, for which it is lowered; the device that is here if not given."""
    strategy: Literal["dmasking", "slimming", "sandwich", "random", "evolution", "space_evolution"] | None = None
    """The one that the space's file names, if not given."""
    preset: Literal["smoke", "quick", "paper"] = "quick"
    """Of whose settings the step is."""
    batch_size: int | None = None
    """Images in a step, of all devices together; the preset's if not given."""
    precision: Literal["float32", "bfloat16"] | None = None
    """In which the step computes; bfloat16 for targets and accelerators and float32 for CPUs if not given."""
    low_memory: bool = False
    """Keep less for the backward pass and compute it again."""
    paths: int | None = None
    """Blocks run in a step of a choice between whole blocks; 0 for all."""
    resolution_paths: int | None = None
    """Resolutions evaluated in a step; 0 for all."""
    data: str | None = None
    """Images as of a search, whose size and classes count; those of the space if not given."""
    image_size: Annotated[int | None, tyro.conf.arg(aliases=("--side",))] = None
    """Side of the images, in pixels; as a search takes it if not given: of --data, or the space's own."""
    classes: int | None = None
    """Number of classes; the space's own if not given."""
    json: Path | None = None
    """File for everything that is known."""
    overwrite: bool = False
    """Replace a file that is there."""
    largest: bool = True
    """Do not look for the largest batch, which takes a second compile."""


def main(args: Arguments) -> None:
    """Plans; raises `InputError` for a target, a space or an option that is none."""
    from dnas.grammar.catalogue import load_space
    from dnas.plan.targets import parse_target, prepare
    from dnas.process.backend import configure
    from dnas.runs.outputs import check_output
    from dnas.search import strategies

    if args.json is not None:
        check_output(args.json, overwrite=args.overwrite)
    space = load_space(args.space, args.classes)
    if space.is_architecture:
        raise InputError(space.source, "an architecture, with nothing to search", accepted="a space")
    name, settings = args.strategy or strategies.of(space), _settings(args)
    if name == strategies.JOINT:
        raise InputError("--strategy", "joint trains networks one by one", accepted=", ".join(strategies.NAMES))
    target = None if args.target is None else parse_target(args.target)
    if target is not None:
        prepare(target)
    # What is compiled for a device that is not here cannot be read back.
    configure(None if target is not None else "default", faster_compiles=target is None)
    from dnas.files import write_json
    from dnas.plan import report
    from dnas.plan.plan import planned
    from dnas.process.console import console
    from dnas.search.problem import make_problem

    out = console()
    problem = make_problem(space, [], _images(args, space, settings), settings, 0)
    made = planned(problem, name, target, args.largest, lambda line: out.print(line, markup=False))
    out.print(report.heading(made), markup=False)
    out.print(report.table(made))
    if args.json is not None:
        write_json(args.json, report.document(made))


def _settings(args: Arguments) -> Settings:
    """Of the step."""
    from dnas.search.settings import with_overrides

    names = ("batch_size", "paths", "resolution_paths", "precision")
    given = {name: getattr(args, name) for name in names}
    given |= {"low_memory": args.low_memory or None, "side": args.image_size}
    if args.target is not None:
        given["precision"] = args.precision or "bfloat16"
    return with_overrides(args.preset, **given)


def _images(args: Arguments, space: Space, settings: Settings) -> Dataset:
    """The data at the side that a search takes, or what has their shape."""
    from dnas.plan.programs import stand_in

    if args.data is None:
        return stand_in(settings.side or space.resolution.max(), space.channels, space.classes)
    from dnas.data.load import scan
    from dnas.learning.image_size import search_side

    source = scan(args.data, seed=0)
    side, why = search_side(space, source, settings.side, settings.largest_decoded)
    return source.load(side, why=why)
