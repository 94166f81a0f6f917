"""The documents a search leaves: the architecture's file, and where it came from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dnas.architecture import options_taken
from dnas.cost import ledger
from dnas.network import shapes
from dnas.nn.gates import entropy
from dnas.provenance import provenance as provenance_of_process
from dnas.search.problem import proxy_notes
from dnas.search.strategies.dmasking import largest_probability

if TYPE_CHECKING:
    from dnas.search.run import Found


def found_document(found: Found, preset: str) -> dict[str, Any]:
    """The exported architecture: the grammar's keys first, then what it costs and how it was found.

    Holds no clock, host or path: the same seed and inputs give the same bytes.
    """
    problem, derivation = found.problem, found.derivation
    records = shapes(found.architecture.network)[0].ledger
    counted = {name: int(ledger.at(cost(records), {})) for name, cost in ledger.COSTS.items()}
    limits = [m.budget for m in problem.measured]
    budgets = [
        {
            "budget": budget.text, "limit": budget.limit, "cost": cost, "share": round(cost / budget.limit, 6),
            "expected_before": round(expected, 3), "argmax_cost": argmax,
        }
        for budget, cost, expected, argmax in zip(
            limits, derivation.costs, found.expected, derivation.argmax_costs, strict=True
        )
    ]  # fmt: skip
    tables = {m.budget.table: m.coverage.to_data() for m in problem.measured if m.coverage is not None}
    search = {
        "space": problem.space.name,
        "strategy": "dmasking",
        "preset": preset,
        "seed": problem.seed,
        "data": {"name": problem.dataset.name, "sha256": problem.dataset.fingerprint},
        "budgets": budgets,
        **({"latency_tables": tables} if tables else {}),
        "budget_satisfied": all(cost <= b.limit for cost, b in zip(derivation.costs, limits, strict=True)),
        "log_probability": round(derivation.log_probability, 6),
        "argmax_log_probability": round(derivation.argmax_log_probability, 6),
        "gap_nats": round(derivation.gap, 6),
        "mean_largest_probability": _mean(largest_probability(problem, found.theta)),
        "mean_entropy": _mean(entropy(problem.layout, found.theta)),
        "inherited_accuracy": {name: round(value, 4) for name, value in found.accuracies.items()},
        "accuracy_split": f"test, {found.images} images",
        "by_proxy": proxy_notes(problem),
        "warnings": found.warnings,
        "settings": problem.settings.to_json(),
    }
    return {
        **found.architecture.data,
        "costs": {
            "macs": counted["MACs"], "params": counted["params"],
            "convention": "multiply-adds of convolutions, linear layers and attention products; all trainable numbers",
        },
        "choices_taken": options_taken(problem.space, derivation.assignment),
        "preprocessing": problem.preprocessing.to_json(),
        "labels": list(problem.dataset.class_names),
        "search": search,
    }  # fmt: skip


def provenance(found: Found, preset: str, phases: dict[str, float]) -> dict[str, Any]:
    """Times, host, command and versions."""
    return {
        **provenance_of_process(),
        "preset": preset,
        "space_file": found.problem.space.source,
        "phases": {name: round(value, 3) for name, value in phases.items()},
    }


def _mean(values: Any) -> float:
    array = np.asarray(values, np.float64)
    return round(float(array.mean()), 6) if array.size else 1.0
