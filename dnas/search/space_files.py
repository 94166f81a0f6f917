"""The files of a space evolution.

space.yaml            the last space, with the reasons beside each list that moved
spaces/stepN.yaml     the space after N steps
space_evolution.json  every space: E-T errors by choice, lines and moves
"""

from __future__ import annotations

from pathlib import Path

from dnas.files import write_atomic, write_json
from dnas.files.yaml_text import yaml_text
from dnas.grammar.read import space_from_data
from dnas.runs.folder import SPACE_EVOLUTION, SPACE_FILE
from dnas.search.found import Found
from dnas.search.space_facts import head, remarks


def write_spaces(found: Found, out: Path) -> None:
    """Writes the files above into a folder."""
    problem, spaces = found.problem, found.outcome.spaces
    budgets = [m.budget.text for m in problem.measured]
    for number in range(1, len(spaces)):
        data = spaces[number]["document"]
        told = remarks(spaces, number, space_from_data(data, f"step {number}"))
        text = yaml_text(data, told, head(spaces, number, budgets, problem.settings))
        write_atomic(out / "spaces" / f"step{number}.yaml", text)
        if number == len(spaces) - 1:
            write_atomic(out / SPACE_FILE, text)
    s = problem.settings
    shown = [{name: value for name, value in facts.items() if name != "document"} for facts in spaces]
    write_json(out / SPACE_EVOLUTION, {"rule": s.space_rule, "tau": s.space_tau, "budgets": budgets, "spaces": shown})
