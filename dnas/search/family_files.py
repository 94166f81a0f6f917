"""The files of a family that was searched in one run: a result folder for each network, and how they compare.

family/BUDGET/      architecture.json, weights.safetensors, history.jsonl, ...: what a search of one network leaves
family/BUDGET.json  the architecture, where families of every strategy have it; its accuracy is of the choices' share
family.json         every network's budgets, costs and accuracy
family.md           the same as a table

`python -m dnas.report family/*` draws accuracy against cost, with the front.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dnas.files import write_atomic, write_json
from dnas.files.sets import names
from dnas.learning.journal import HISTORY
from dnas.process import tables
from dnas.runs.as_trained import counted_at
from dnas.runs.folder import PROVENANCE
from dnas.search.chain_files import SPLIT, file_name
from dnas.search.found import Found
from dnas.search.result import found_document, write_network
from dnas.search.together import EACH
from dnas.search.verdict import last_accuracy
from dnas.space import units

FAMILY, MARKDOWN = "family.json", "family.md"


def write_family(
    found: Found, out: Path, preset: str, rows: Sequence[str], origin: Mapping[str, Any]
) -> None:  # fmt: skip
    """Writes the files above into a folder; `rows` are the run's history, `origin` is said in each provenance."""
    for n, member in enumerate(found.members):
        folder = out / "family" / folder_name(member)
        document = found_document(member, preset)
        # Beside what was raced, whose accuracies are of the same images.
        said = {
            "budget": _budget(member), "cost": member.outcome.costs[-1], "accuracy_split": SPLIT,
            "accuracy": member.outcome.summary["share_accuracy"],
        }  # fmt: skip
        write_network(member, folder, document)
        write_json(folder.parent / f"{folder.name}.json", document | {"search": document["search"] | said})
        write_atomic(folder / HISTORY, "\n".join(json.dumps(own) for own in history_of(n, rows)) + "\n")
        write_json(folder / PROVENANCE, {**origin, "files": sorted({*names(folder), PROVENANCE})})
    facts = facts_of(found)
    write_json(out / FAMILY, {
        "space": found.problem.space.name, "strategy": found.strategy, "seed": found.problem.seed,
        "batch_size": found.members[0].problem.settings.batch_size,
        "images_of_a_member": found.members[0].problem.settings.batch_size // len(facts),
        "accuracy_split": f"test, {found.outcome.images} images", "members": facts,
    })  # fmt: skip
    write_atomic(out / MARKDOWN, markdown(found, facts))


def folder_name(member: Found) -> str:
    """Of a network: its budget."""
    return file_name(_budget(member)).removesuffix(".json")


def history_of(n: int, rows: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The rows of the run as those of its member `n`, without running accuracies, which are of all."""
    for text in rows:
        row = {name: value for name, value in json.loads(text).items() if not name.startswith(OF_ALL)}
        each = {name.removesuffix(EACH): row.pop(name) for name in list(row) if name.endswith(EACH)}
        yield row | {name: _own(values, n) for name, values in each.items()}


OF_ALL = ("val_", "train_")


def _own(values: Any, n: int) -> Any:
    """Of a list for each member, or of lists by name, or of what is kept by the member's number."""
    if isinstance(values, list):
        return values[n]
    return values[str(n)] if str(n) in values else {name: part[n] for name, part in values.items()}


def facts_of(found: Found) -> list[dict[str, Any]]:
    """What family.json says of each network; `on_front`: no other is both as cheap and more accurate."""
    facts = []
    for member in found.members:
        outcome, counted = member.outcome, counted_at(member.architecture.network)
        budgets = [
            {"budget": m.budget.text, "limit": m.budget.limit, "cost": cost, "share": round(cost / m.budget.limit, 6)}
            for m, cost in zip(member.problem.measured, outcome.costs, strict=True)
        ]
        facts.append({
            **budgets[-1], "budgets": budgets, "macs": counted.macs, "params": counted.params,
            "accuracy": round(last_accuracy(outcome), 4), "share_accuracy": outcome.summary["share_accuracy"],
            "folder": f"family/{folder_name(member)}",
        })  # fmt: skip
    for own in facts:
        own["on_front"] = not any(o["cost"] <= own["cost"] and o["accuracy"] > own["accuracy"] for o in facts)
    return facts


def markdown(found: Found, facts: Sequence[Mapping[str, Any]]) -> str:
    """family.md: a row for each network."""
    lines = [
        f"# {found.problem.space.name}: a family of {len(facts)} networks", "",
        f"One search, one set of weights. Accuracy of the inherited weights on {found.outcome.images:,} test images; "
        "* marks networks that no other of the family beats in both cost and accuracy.", "",
        *tables.markdown(COLUMNS, table(found, facts)),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


COLUMNS = ("budgets", "cost", "of the budget", "MACs", "params", "accuracy", "folder")


def table(found: Found, facts: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, ...]]:
    """The cells of each network, for people."""
    for member, own in zip(found.members, facts, strict=True):
        measured, accuracy = member.problem.measured[::-1], units.accuracy(own["accuracy"], found.outcome.images)
        costs = member.outcome.costs[::-1]
        yield (
            ", ".join(m.budget.text for m in measured),
            ", ".join(m.budget.shown(cost) for m, cost in zip(measured, costs, strict=True)),
            ", ".join(units.share(cost / m.budget.limit) for m, cost in zip(measured, costs, strict=True)),
            units.counted(own["macs"]), units.counted(own["params"]), accuracy + " *" * own["on_front"],
            own["folder"],
        )  # fmt: skip


def _budget(member: Found) -> str:
    return member.problem.measured[-1].budget.text
