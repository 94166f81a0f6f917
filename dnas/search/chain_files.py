"""The files of a chain of networks: one architecture for each, the list of steps, and the family's own.

chain.json         every step: its actions, costs, accuracy and loss on the choices' share, and its file
chain/NNN.json     the architecture after step NNN; 000 is the largest
family/BUDGET.json the architecture for each budget of a family
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from dnas.cost import ledger
from dnas.files import write_json
from dnas.graph import graph_of
from dnas.graph.architecture import architecture, options_taken
from dnas.runs.recall import data_record
from dnas.search.found import Found

SPLIT = "the choices' share of the training images"


def write_chain(found: Found, out: Path) -> None:
    """Writes the files above into a folder."""
    steps = []
    for entry in found.outcome.chain:
        file = f"chain/{entry['number']:03d}.json"
        told = {name: value for name, value in entry.items() if name != "assignment"}
        write_json(out / file, document(found, entry["assignment"], told))
        steps.append({**told, "file": file})
    budgets = [m.budget.text for m in found.problem.measured]
    write_json(out / "chain.json", {"budgets": budgets, "split": SPLIT, "steps": steps})
    for member in found.outcome.family:
        told = {name: value for name, value in member.items() if name != "assignment"}
        write_json(out / "family" / file_name(member["budget"]), document(found, member["assignment"], told))


def file_name(budget: str) -> str:
    """A budget's text as the name of a file: `6ms@lut/phone.json` as `6ms_lut_phone.json`."""
    return re.sub(r"[^A-Za-z0-9.]+", "_", budget.removesuffix(".json")) + ".json"


def document(found: Found, assignment: dict[str, int], told: dict[str, Any]) -> dict[str, Any]:
    """A network of the chain in the grammar of an architecture, with its costs and how it was met."""
    problem = found.problem
    own = architecture(problem.space, assignment)
    records = graph_of(own.network).ledger
    counted = {name: int(ledger.at(cost(records), {})) for name, cost in ledger.COSTS.items()}
    return {
        **own.data,
        "costs": {"macs": counted["MACs"], "params": counted["params"]},
        "choices_taken": options_taken(problem.space, assignment),
        "search": {
            "space": problem.space.name, "strategy": found.strategy, "seed": problem.seed,
            "data": data_record(problem.dataset, problem.seed), "accuracy_split": SPLIT, **told,
        },
    }  # fmt: skip
