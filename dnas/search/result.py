"""The file of the architecture that a search found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dnas.cost import ledger
from dnas.cost.conventions import CONVENTIONS
from dnas.cost.ledger import Record
from dnas.data.hugging_face import PROCESSOR, processor_beside
from dnas.files import write_json
from dnas.grammar.catalogue import ARCHITECTURE
from dnas.graph import graph_of
from dnas.graph.architecture import options_taken
from dnas.learning import weights
from dnas.runs.as_trained import counted_at
from dnas.runs.recall import data_record
from dnas.runs.result import WEIGHTS
from dnas.search.found import Found
from dnas.search.problem import proxy_notes
from dnas.search.verdict import level, unused_because, warnings
from dnas.solve.derive import Derivation
from dnas.solve.relevance import unused


def found_document(found: Found, preset: str) -> dict[str, Any]:
    """The exported architecture: the grammar's keys first, then what it costs and how it was found.

    Holds no clock and no host, and no path but that of the data: the same seed and inputs give the same bytes.
    """
    problem, outcome = found.problem, found.outcome
    records = graph_of(found.architecture.network).ledger
    counted = counted_at(found.architecture.network)
    tables = {m.budget.table: m.coverage.to_data() for m in problem.measured if m.coverage is not None}
    search = {
        "space": problem.space.name,
        "strategy": found.strategy,
        "preset": preset,
        "seed": problem.seed,
        "data": data_record(problem.dataset, problem.seed),
        "proxy": {
            "resolution": found.by_proxy.network.resolution.value, "channels": found.by_proxy.network.channels,
            "classes": found.by_proxy.network.classes,
        },
        "budgets": budgets(found),
        **({"latency_tables": tables} if tables else {}),
        "budget_satisfied": all(c <= m.budget.limit for c, m in zip(outcome.costs, problem.measured, strict=True)),
        **_derived(outcome.derivation),
        **outcome.summary,
        "options": {choice.name: list(choice.options) for choice in problem.space.choices},
        # The network's own names are those of its file: these find the block, and its choices, in the space again.
        "blocks": found.architecture.sources,
        "not_used": sorted(unused(problem.space, outcome.assignment, problem.walked)),
        "inherited_accuracy": {name: round(value, 4) for name, value in outcome.accuracies.items()},
        "accuracy_split": f"test, {outcome.images} images",
        "by_proxy": proxy_notes(problem),
        **({"adapted_to_memory": list(problem.adapted)} if problem.adapted else {}),
        "chance": round(level(problem), 6),
        "warnings": warnings(problem, outcome),
        "settings": problem.settings.to_json(),
    }  # fmt: skip
    return {
        **found.architecture.data,
        "costs": {
            "macs": counted.macs, "params": counted.params, "input": counted.to_json()["input"],
            "convention": "multiply-adds of convolutions, linear layers and attention products; all trainable numbers",
            "by_convention": by_convention(records),
        },
        "as_trained": counted_at(found.by_proxy.network).to_json(),
        "choices_taken": options_taken(problem.space, outcome.assignment),
        "preprocessing": problem.preprocessing.taken_at(found.by_proxy.network.resolution.value).to_json(),
        "labels": list(problem.dataset.class_names),
        "search": search,
    }  # fmt: skip


def write_network(found: Found, folder: Path, document: Mapping[str, Any]) -> None:
    """Architecture, weights and preprocessing: what later commands take a network from."""
    write_json(folder / ARCHITECTURE, document)
    write_json(folder / PROCESSOR, processor_beside(document))
    weights.save(folder / WEIGHTS, found.by_proxy.network, found.variables)


def by_convention(records: Sequence[Record]) -> dict[str, dict[str, int]]:
    """What others' tools would print for the same network (`dnas.cost.conventions`)."""
    counted = {name: count(records) for name, count in CONVENTIONS.items()}
    return {
        name: {"operations": int(ledger.at(c.operations, {})), "params": int(ledger.at(c.params, {}))}
        for name, c in counted.items()
    }


def budgets(found: Found) -> list[dict[str, Any]]:
    """Each budget beside the cost of the network found, and beside what was expected before it was derived."""
    outcome, rows = found.outcome, []
    for n, (measured, cost) in enumerate(zip(found.problem.measured, outcome.costs, strict=True)):
        limit = measured.budget.limit
        row = {"budget": measured.budget.text, "limit": limit, "cost": cost, "share": round(cost / limit, 6)}
        reason = unused_because(found.problem, outcome, n)
        if reason:
            row["unused_because"] = reason
        if outcome.expected:
            row["expected_before"] = round(outcome.expected[n], 3)
        if outcome.derivation is not None:
            row["argmax_cost"] = outcome.derivation.argmax_costs[n]
        rows.append(row)
    return rows


def _derived(derivation: Derivation | None) -> dict[str, float]:
    if derivation is None:
        return {}
    return {
        "log_probability": round(derivation.log_probability, 6),
        "argmax_log_probability": round(derivation.argmax_log_probability, 6),
        "gap_nats": round(derivation.gap, 6),
    }
