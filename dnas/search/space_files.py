"""The files of a space evolution.

space.yaml            the last space, with the reasons beside each list that moved
spaces/stepN.yaml     the space after N steps
space_evolution.json  every space: E-T errors by choice, lines and moves
space_evolution.png   error against each choice, where matplotlib is installed (extra `report`)
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dnas.files import write_atomic, write_json
from dnas.files.yaml_text import yaml_text
from dnas.grammar.read import space_from_data
from dnas.process.extras import unusable
from dnas.runs.folder import SPACE_EVOLUTION, SPACE_FILE
from dnas.search.space_facts import Facts, head, remarks

if TYPE_CHECKING:
    from dnas.search.run import Found

COLUMNS = 4


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
    if not unusable("matplotlib"):
        draw(spaces, out / "space_evolution.png")


def draw(spaces: Sequence[Facts], file: Path) -> None:
    """E-T error against the choices of each list, with its line, in every space."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(one["name"] for facts in spaces for one in facts["lists"]))
    rows = -(-len(names) // COLUMNS)
    figure = Figure(figsize=(3.2 * COLUMNS, 2.4 * rows + 0.4), layout="constrained")
    FigureCanvasAgg(figure)
    for n, name in enumerate(names):
        axes = figure.add_subplot(rows, COLUMNS, n + 1)
        for number, facts in enumerate(spaces):
            for one in (one for one in facts["lists"] if one["name"] == name):
                colour, options = f"C{number}", one["options"]
                errors = [float("nan") if error is None else error for error in one["et_errors"]]
                axes.plot(options, errors, "o", color=colour, markersize=4, label=facts["name"])
                if one["intercept"] is not None:
                    fitted = [one["slope"] * place + one["intercept"] for place in range(len(options))]
                    axes.plot(options, fitted, "--", color=colour, linewidth=1)
        axes.set_title(name, fontsize=9)
        axes.tick_params(labelsize=7)
        if n % COLUMNS == 0:
            axes.set_ylabel("E-T error, %", fontsize=8)
    errors = ", ".join(f"{facts['name']} {facts['et_error']:.2f} %" for facts in spaces)
    figure.suptitle(f"E-T error: {errors}", fontsize=10)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(spaces), fontsize=8)
    figure.savefig(file, dpi=100, metadata={"Software": None})
