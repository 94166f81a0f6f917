"""Is it worth finding architecture and recipe together? Four searches with equally many trainings, on embedded data.

    python experiments/joint.py                     # all parts, 3 seeds
    python experiments/joint.py --part recipe --seeds 1
    python experiments/joint.py --trainings 3 --epochs 1 --seeds 1 --out runs/toy      # a try

joint          dnas.search --strategy joint on the space, architecture and recipe open
architecture   the same with the recipe fixed to `--recipe`, at the epochs of the space's own
recipe         the same with the architecture fixed to one that fills the budget
random         pairs drawn evenly within the budget, all trained whole, the best by validation

Each part and seed is a folder of its own, whose trainings are kept: an interrupted run goes on where it stood. The
whole takes about 80 minutes of one core. `results/joint.md` is the table of test accuracies of the networks
that each search found, with standard errors over seeds; `results/joint.json` every search.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from dnas.cli.entry import run
from dnas.cli.search import Arguments as SearchArguments
from dnas.cli.search import main as search
from dnas.data.reading import Reading
from dnas.errors import UserError
from dnas.fanout.choose import chosen
from dnas.files import read_document, write_atomic, write_json
from dnas.grammar.catalogue import find_space, load_space
from dnas.graph.architecture import architecture
from dnas.joint.pairs import Pairs, Row
from dnas.joint.request import Given, requested
from dnas.joint.stages import Plan
from dnas.joint.trainings import Trainings
from dnas.process.backend import configure
from dnas.process.console import console
from dnas.train.folders import recorded

HOME = Path(__file__).parent / "results"
PARTS = ("joint", "architecture", "recipe", "random")
FILLED = 0.9


@dataclass(frozen=True)
class Arguments:
    """Compares a joint search with searches of either part alone, and with random pairs."""

    part: Literal["joint", "architecture", "recipe", "random", "all"] = "all"
    space: str = "fashion_joint"
    budget: str = "1MFLOPs"
    seeds: int = 3
    trainings: int = 20
    """Of each search."""
    epochs: float | None = None
    """Of each training; the space's own if not given."""
    recipe: str = "fashion"
    """Of the part architecture."""
    workers: int = 2
    out: Path = Path("runs") / "joint-comparison"
    """Folder of all searches."""


def main(args: Arguments) -> None:
    """Runs what is left of the parts asked for, then writes the table of all that have ended."""
    for seed in range(args.seeds):
        for part in PARTS if args.part == "all" else (args.part,):
            folder = args.out / f"{part}-{seed}"
            if not (folder / "test.json").is_file():
                write_json(folder / "test.json", MAKERS[part](args, seed, folder))
    write_results(args)


def _whole(args: Arguments, seed: int, folder: Path) -> dict[str, Any]:
    return _searched(args, args.space, seed, folder)


def _architecture(args: Arguments, seed: int, folder: Path) -> dict[str, Any]:
    """The space with no open field of the recipe: what it states stays, and all else is the fixed recipe's."""
    data = dict(load_space(args.space).document.data)
    fixed = {key: value for key, value in data["recipe"].items() if not isinstance(value, dict)}
    return _searched(args, _written(folder, data | {"recipe": fixed}), seed, folder, args.recipe)


def _recipe(args: Arguments, seed: int, folder: Path) -> dict[str, Any]:
    """One network that fills the budget, drawn by the seed, under every recipe of the space."""
    given = _given(args, seed, args.space)
    drawn = Pairs(given.pairs.space, given.pairs.walked, (), given.pairs.budgets, FILLED).sampler.draw(1, [seed, 13])
    network = architecture(given.pairs.space, drawn[0]).data
    own = {"strategy": "joint", "recipe": load_space(args.space).document.data["recipe"]}
    return _searched(args, _written(folder, network | own), seed, folder)


def _random(args: Arguments, seed: int, folder: Path) -> dict[str, Any]:
    """Pairs drawn evenly; the best by validation."""
    workers, given = chosen(args.workers), _given(args, seed, args.space)
    rows = drawn_rows(given, args.trainings, seed)
    trainings = Trainings(
        given.pairs, given.recipes, given.values, given.images, seed, folder, workers, console(), args.trainings
    )  # fmt: skip
    curves = trainings(rows, None)
    best = rows[max(range(len(rows)), key=lambda n: curves[n][-1])]
    if trainings.diverged(best):
        raise UserError(f"{folder}: every training diverged")
    accuracy = recorded(trainings.place(best, None).folder)["accuracy"]
    return {"test": accuracy["test"], "validation": accuracy["validation"]}


MAKERS: dict[str, Callable[[Arguments, int, Path], dict[str, Any]]] = {
    "joint": _whole, "architecture": _architecture, "recipe": _recipe, "random": _random
}  # fmt: skip


def drawn_rows(given: Given, count: int, seed: int) -> list[Row]:
    """Architectures drawn evenly within the budgets, recipes evenly."""
    random, pairs = np.random.default_rng([seed, 14]), given.pairs
    networks = pairs.sampler.draw(count, [seed, 14])
    recipes = random.integers(0, pairs.sizes[pairs.split :], (len(networks), len(pairs.recipe_choices)))
    own = [[a[c.name] for c in pairs.space.choices] for a in networks]
    return [(*row, *recipe) for row, recipe in zip(own, recipes.tolist(), strict=True)]


def _given(args: Arguments, seed: int, space: str) -> Given:
    configure()
    return requested(
        load_space(find_space(space)), recipe="quick", values={"epochs": args.epochs}, budgets=(args.budget,),
        family=None, plan=Plan(args.trainings), fill=None, data=None, image_size=None, reading=Reading(), seed=seed,
        console=console(),
    )  # fmt: skip


def _searched(args: Arguments, space: str, seed: int, folder: Path, recipe: str = "quick") -> dict[str, Any]:
    """What a joint search found."""
    search(
        SearchArguments(
            space, budget=(args.budget,), strategy="joint", seed=seed, out=folder / "run", trainings=args.trainings,
            recipe=recipe, epochs=args.epochs, workers=args.workers,
        )
    )  # fmt: skip
    accuracy = recorded(folder / "run")["accuracy"]
    return {"test": accuracy["test"], "validation": accuracy["validation"]}


def _written(folder: Path, data: dict[str, Any]) -> str:
    """A space's file in a folder."""
    write_json(folder / "space.json", data)
    return str(folder / "space.json")


def write_results(args: Arguments) -> None:
    """The table of all searches that have ended."""
    found = {
        part: {
            str(seed): read_document(file).data
            for seed in range(args.seeds)
            if (file := args.out / f"{part}-{seed}" / "test.json").is_file()
        }
        for part in PARTS
    }
    asked = {"space": args.space, "budget": args.budget, "trainings": args.trainings, "epochs": args.epochs}
    lines = [
        f"# {args.space} within {args.budget}: {args.trainings} trainings of each search", "",
        "| searched | test accuracy, % | standard error | validation, % | seeds |", "|---|---|---|---|---|",
    ]  # fmt: skip
    for part, seeds in found.items():
        if seeds:
            test, validation = (100 * np.array([s[name] for s in seeds.values()]) for name in ("test", "validation"))
            error = f"{test.std(ddof=1) / len(test) ** 0.5:.2f}" if len(test) > 1 else "-"
            lines.append(f"| {part} | {test.mean():.2f} | {error} | {validation.mean():.2f} | {len(test)} |")
    home = HOME if args.out == Arguments.out else args.out
    write_json(home / "joint.json", {"asked": asked, "found": found})
    write_atomic(home / "joint.md", "\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    run(main, Arguments)
