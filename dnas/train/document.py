"""What the file of a trained architecture says."""

from __future__ import annotations

from typing import Any

from dnas.cost.count import count
from dnas.graph.architecture import architecture
from dnas.learning.evaluator import Tally
from dnas.runs import lineage
from dnas.runs.recall import data_record
from dnas.train import verdict
from dnas.train.setup import Setup
from dnas.train.trainer import Epochs


def trained_document(s: Setup, epochs: Epochs, counts: Tally) -> dict[str, Any]:
    """The architecture as trained: its own input, costs, preprocessing, accuracies.

    Holds no clock and no host, and no path but that of the data.
    """
    counted = count(s.network)
    found = (s.source.space.extra or {}).get("search")
    kept = ("space", "strategy", "seed", "budgets", "inherited_accuracy", "blocks")
    steps = lineage.to_json(lineage.lineage(s.source))
    return {
        **architecture(s.network, {}).data,
        "costs": {name: counted[name] for name in ("macs", "params", "input", "convention")},
        "preprocessing": s.preprocessing.to_json(),
        "labels": list(s.dataset.class_names),
        **({"lineage": steps} if steps else {}),
        "training": {
            "recipe": s.recipe.to_json(),
            "start": s.start,
            **({"classifier": "begun anew"} if s.new_classifier else {}),
            **({"resized": f"tables of positions, from {s.source.network.resolution.value} px"} if s.resized else {}),
            "seed": s.seed,
            "steps": s.taken,
            **({} if s.precision == "float32" else {"precision": s.precision}),
            "data": data_record(s.dataset, s.source.data_seed(s.seed)),
            "images": {"train": len(s.train_index), "validation": len(s.validation_index), "test": counts.images},
            "teacher": s.teacher_name,
            "best_epoch": round(epochs.best_step / s.per_epoch, 4),
            "chance": round(verdict.level(s), 6),
            "warnings": verdict.warnings(s, counts, epochs.began, epochs.later),
            "accuracy": {
                **({} if epochs.began is None else {"validation_before": round(epochs.began, 6)}),
                "validation": round(epochs.best, 6),
                "test": round(counts.accuracy, 6),
                "test_top5": round(counts.top5 / counts.images, 6) if s.dataset.classes > 5 else None,
            },
            **({"found": {key: found[key] for key in kept if key in found}} if isinstance(found, dict) else {}),
        },
    }  # fmt: skip
