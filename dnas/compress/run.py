"""The driver of a compression: measures, makes smaller, trains on, measures again, and writes.

architecture.json    the smaller network: its blocks, costs, accuracy, what was done (`compression`), what came before
                     (`lineage`); no clock, no host
weights.safetensors  its weights
compression.md       the table of before and after, for people
history.jsonl, recipe.yaml   of the training on, where there was one
provenance.json      command, host, versions, and times on this machine
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

from dnas.compress import table
from dnas.compress.asked import Asked, Compressed, Watching
from dnas.compress.document import document
from dnas.compress.measured import Figures, Network, counts, together
from dnas.compress.methods import Declared, method
from dnas.compress.stages import trained
from dnas.cost.size import stored_bytes
from dnas.data.hugging_face import PROCESSOR, processor_beside
from dnas.files import write_atomic, write_json
from dnas.files.sets import current
from dnas.grammar.read import space_from_data
from dnas.graph import graph_of
from dnas.graph.architecture import architecture
from dnas.learning import weights
from dnas.learning.evaluator import Tally
from dnas.learning.journal import HISTORY
from dnas.nn.inherit import inherit
from dnas.process.interrupt import asked_to_stop
from dnas.process.progress import working
from dnas.process.provenance import provenance
from dnas.runs import following
from dnas.runs.as_trained import counted_at
from dnas.runs.folder import CHECKPOINTS, PROVENANCE, Claim, Claiming, Owner, claimed
from dnas.runs.read import read_run
from dnas.runs.result import ARCHITECTURE, WEIGHTS, read_result
from dnas.space.space import Space
from dnas.train.setup import Setup

RECIPE, MARKDOWN = "recipe.yaml", "compression.md"
TRAINED_ON = "trained_on"
"""Folder of the training that follows."""


class Stage(NamedTuple):
    """A network on the way, and its counts over the test images."""

    name: str
    network: Network
    tally: Tally


def run_compression(
    setup: Setup, asked: Asked, out: Path, console: Any, claiming: Claiming, *, train_on: bool = True,
    checkpoint_seconds: float | None = None, commands: bool = True,
) -> None:  # fmt: skip
    """Makes a network smaller by a method, and writes the result folder, unless it is there and was to be continued.

    Raises:
        UserError: another run's folder or one that cannot be written, a budget that cannot be kept.
        Stopped: asked to leave by a signal; what was done is kept.
    """

    def say(line: str) -> None:
        console.print(line, markup=False, soft_wrap=True)

    declared = method(asked.method)
    owner = Owner("compress", identity(setup, asked, declared, train_on))
    with claimed(out, owner, replace(claiming, reader_decides=False), say) as claim, asked_to_stop() as stop:
        if claim.finished:
            return say(f"{claim.folder}: this compression has ended already")
        steps = claim.folder / CHECKPOINTS
        if not claiming.resume:
            shutil.rmtree(steps, ignore_errors=True)
        for line in _counted(setup.network, asked):
            say(line)
        watching = Watching(console, stop, checkpoint_seconds=checkpoint_seconds, resume=claiming.resume)
        stages, compressed, history = _stages(setup, asked, declared, steps, watching, train_on)
        with working(console, "timing"):
            figures = together([stage.network for stage in stages], [stage.tally for stage in stages])
        found = dict(zip((stage.name for stage in stages), figures, strict=True))
        written = _write(setup, asked, claim, stages[-1].network, found, compressed, history)
        console.print(table.rich_table(found))
        for warning in written["training"]["warnings"]:
            say(f"warning: {warning}")
        if commands:
            for line in following.lines(_commands(claim.folder)):
                say(line)


def _counted(network: Space, asked: Asked) -> list[str]:
    """What the network costs before, and at which input: a search counts at its space's own, so its budget may be kept
    already."""
    at = counted_at(network)
    costs = {"MACs": at.macs, "params": at.params, "bytes": stored_bytes(graph_of(network))}
    return [
        f"--budget {budget.text}: the network has {budget.shown(costs[budget.kind])} as it is trained, at {at.input}"
        + ", so it keeps the budget already" * (costs[budget.kind] <= budget.limit)
        for budget in asked.budgets if budget.kind in costs
    ]  # fmt: skip


def identity(setup: Setup, asked: Asked, declared: Declared, train_on: bool) -> dict[str, Any]:
    """What must be the same for a continuation."""
    options = asdict(asked) | {"budgets": [budget.text for budget in asked.budgets]}
    return setup.identity | {"compression": options | {"train_on": train_on and declared.trains_on}}


def _stages(
    setup: Setup, asked: Asked, declared: Declared, steps: Path, watching: Watching, train_on: bool
) -> tuple[list[Stage], Compressed, Path | None]:  # fmt: skip
    """The network before, made smaller, and trained on; what the method gave; where the last training lies."""
    written = architecture(setup.network, {})
    before = inherit(setup.variables, written)
    stages = [_stage(setup, "before", Network(written.network, before))]
    watching.leave_if_asked("the network before it was counted")
    compressed = declared.run(setup, asked, steps / asked.method, watching)
    space = space_from_data(compressed.data, f"<{setup.network.name}>")
    stages.append(_stage(setup, asked.method, Network(space, compressed.variables)))
    if not (train_on and declared.trains_on):
        return stages, compressed, None
    watching.leave_if_asked("the smaller network was counted")
    on = replace(
        setup, network=space, variables=compressed.variables, start="inherited", new_classifier=False, more_terms=()
    )  # fmt: skip
    variables = trained(on, steps / TRAINED_ON, watching, "training on")
    stages.append(_stage(setup, "trained on", Network(space, variables)))
    return stages, compressed, steps / TRAINED_ON


def _stage(setup: Setup, name: str, network: Network) -> Stage:
    return Stage(name, network, counts(setup, network))


def _write(
    setup: Setup, asked: Asked, claim: Claim, network: Network, found: Mapping[str, Figures], compressed: Compressed,
    history: Path | None,
) -> dict[str, Any]:  # fmt: skip
    """The files of the result, read back and put in place as a set; what the architecture's says."""
    times = {name: round(figures.ms, 4) for name, figures in found.items() if figures.ms is not None}
    origin = {"architecture_file": setup.source.space.source, "ms": times}
    with claim.result(check) as staged:
        written = document(setup, asked, found, compressed, history or counts(setup, network, validation=True))
        weights.save(staged / WEIGHTS, network.space, network.variables)
        write_json(staged / ARCHITECTURE, written)
        write_json(staged / PROCESSOR, processor_beside(written))
        write_atomic(staged / MARKDOWN, table.markdown(found))
        for name, content in compressed.files.items():
            write_atomic(staged / name, content)
        if history is not None:
            write_atomic(staged / HISTORY, current(history / HISTORY).read_bytes())
            write_atomic(staged / RECIPE, setup.recipe.to_yaml())
        write_json(staged / PROVENANCE, provenance() | origin | claim.record(staged))
    return written


def check(folder: Path) -> None:
    """Reads a result as every later command does; raises `InputError` where one of them could not."""
    result = read_result(folder)
    assert result.weights is not None
    weights.load(result.weights, result.network)
    read_run(folder)


def _commands(folder: Path) -> list[following.Next]:
    return [
        (following.command("evaluate", folder), "accuracy by class"),
        (following.command("export", folder, "--to", "onnx"), "for other runtimes"),
        (following.command("report", folder), "on a page: what was done, and what it cost"),
    ]
