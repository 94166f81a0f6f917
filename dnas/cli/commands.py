"""Every command of dnas: the one table that the command line and its help are made from."""

from __future__ import annotations

from typing import NamedTuple


class Command(NamedTuple):
    """A command's module, which has `main` and `Arguments`, and what it does."""

    module: str
    about: str
    lasting: bool = False
    """Whether it takes steps for long enough that a restart for speed pays (`dnas.process.wing.Start`)."""


COMMANDS = {
    "search": Command("dnas.cli.search", "find the best network of a space within budgets", lasting=True),
    "train": Command("dnas.cli.train", "train a found or published network", lasting=True),
    "compare": Command(
        "dnas.cli.compare", "was a search worth it: its network and others, trained alike", lasting=True
    ),
    "compress": Command("dnas.cli.compress", "a trained network made smaller, within a budget", lasting=True),
    "evaluate": Command("dnas.cli.evaluate", "accuracy of a network on images with known classes"),
    "predict": Command("dnas.cli.predict", "what pictures show, by a network or an exported file"),
    "export": Command("dnas.cli.export", "a network for ONNX, StableHLO, LiteRT, timm, flax or PyTorch"),
    "report": Command("dnas.cli.report", "one page about a run, or several side by side"),
    "count": Command("dnas.cli.count", "exact multiply-adds and parameters of a network, layer by layer"),
    "spaces": Command("dnas.cli.spaces", "search spaces and published networks that come with dnas"),
    "plan": Command("dnas.cli.plan", "what a search needs on a device: memory, operations, the batch that fits"),
    "measure": Command("dnas.cli.measure", "a latency table of a space's blocks on this machine"),
    "weights": Command("dnas.cli.weights", "weights of timm's networks as result folders"),
    "lut": Command("dnas.cli.lut", "look at latency tables, check, merge, fit and import them"),
}

EXAMPLE = "dnas search tiny --budget 150kFLOPs --preset smoke"


def overview() -> str:
    """What there is, a line a command, and a first example."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {command.about}" for name, command in COMMANDS.items()]
    return "\n".join(
        [
            "dnas finds neural networks within exact budgets, trains them, and hands them over.", "",
            "usage: dnas COMMAND ...   (or: python -m dnas.COMMAND ...)", "", *lines, "",
            "A first search, about a minute:", f"  {EXAMPLE}", "",
            "Options of a command: dnas COMMAND --help. Version: dnas --version.",
        ]
    )  # fmt: skip
