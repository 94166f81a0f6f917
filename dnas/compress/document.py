"""What the file of a network that was made smaller says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from dnas.compress.asked import Asked, Compressed
from dnas.compress.measured import Figures
from dnas.cost.count import count
from dnas.files import read_document
from dnas.grammar.read import space_from_data
from dnas.learning.evaluator import Tally
from dnas.runs import lineage
from dnas.runs.result import ARCHITECTURE
from dnas.train.document import trained_document
from dnas.train.setup import Setup
from dnas.train.trainer import Epochs


def document(
    setup: Setup, asked: Asked, found: Mapping[str, Figures], compressed: Compressed, trained: Path | Tally
) -> dict[str, Any]:  # fmt: skip
    """The architecture as it is delivered: costs, accuracies, what was done to it.

    `trained` is the folder of the training that followed, of which the file tells as of any other; where there was
    none, counts over the images that would have chosen its epoch.
    """
    *_, last = found.values()
    if isinstance(trained, Tally):
        network = space_from_data(compressed.data, f"<{setup.network.name}>")
        own = trained_document(replace(setup, network=network), Epochs(best=trained.accuracy), last.tally)
        own["costs"] = {name: count(network)[name] for name in ("macs", "params", "input", "convention")}
        own["training"] |= {"recipe": {}, "steps": 0, "best_epoch": None, "start": "inherited"}
    else:
        own = read_document(trained / ARCHITECTURE).data
    return own | compressed.data | {
        "lineage": lineage.to_json(lineage.lineage(setup.source)),
        "compression": {
            "method": asked.method,
            "asked": words(asked),
            "bytes": last.bytes,
            "budgets": [{"budget": b.text, "limit": b.limit, "cost": _cost(b.kind, last)} for b in asked.budgets],
            "stages": [{"stage": name, **_told(figures)} for name, figures in found.items()],
            **compressed.record,
        },
    }  # fmt: skip


def words(asked: Asked) -> str:
    """The options that say how small, as they are given."""
    options = {key: value for key, value in asdict(asked).items() if key not in ("method", "budgets")}
    usual = asdict(Asked(asked.method))
    given = [_given(key, value) for key, value in options.items() if value != usual[key]]
    return " ".join([*(f"--budget {budget.text}" for budget in asked.budgets), *given])


def _given(name: str, value: object) -> str:
    shown = f"{value:g}" if isinstance(value, float) else f"{value}"
    return f"--{name}" if value is True else f"--{name} {shown}"


def _cost(kind: str, figures: Figures) -> int:
    return {"MACs": figures.counted.macs, "params": figures.counted.params, "bytes": figures.bytes}[kind]


def _told(figures: Figures) -> dict[str, Any]:
    return {
        "macs": figures.counted.macs, "params": figures.counted.params, "bytes": figures.bytes,
        "test_accuracy": round(figures.tally.accuracy, 6), "test_images": figures.tally.images,
    }  # fmt: skip
