"""Result folders for tests: real runs on the small space, with keys of newer histories added.

The histories stored beside this file are of real searches, every fourth row kept. `probabilities`, `skip_share` and
`phase` are made up from what was taken: logits of the option taken grow with the steps on theta.
"""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

from dnas.grammar.catalogue import load_space

RUNS = Path(__file__).with_name("runs")
NAMES = tuple(f"tiny-{seed}" for seed in range(5))


def folder(name: str, where: Path, *, enriched: bool = True) -> Path:
    """A copy of a stored run in `where`."""
    target = where / name
    shutil.copytree(RUNS / name, target)
    if enriched:
        enrich(target)
    return target


def enrich(target: Path) -> None:
    """Adds the keys to every row of the folder's history."""
    document = json.loads((target / "architecture.json").read_text())
    options = {c.name: c.options for c in load_space(document["search"]["space"]).choices}
    taken = document["choices_taken"]
    rows = [json.loads(line) for line in (target / "history.jsonl").read_text().splitlines()]
    steps, most = rows[-1]["step"], rows[-1]["theta_step"]
    first = next(n for n, row in enumerate(rows) if row["theta_step"])
    last = next(n for n, row in enumerate(rows) if row["theta_step"] == most)
    for n, row in enumerate(rows):
        grown = row["theta_step"] / most
        row["probabilities"] = {
            name: _probabilities([str(o) for o in known], str(taken[name]), grown, phase)
            for phase, (name, known) in enumerate(options.items())
        }
        skips = [p[options[k].index("skip")] for k, p in row["probabilities"].items() if "skip" in options[k]]
        row["skip_share"] = round(sum(skips) / len(skips), 4)
        row["phase"] = "warm-up" if n < first else "search" if n <= last else "settle"
        assert row["step"] <= steps
    (target / "history.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def _probabilities(options: list[str], taken: str, grown: float, phase: int) -> list[float]:
    logits = [
        5 * grown**1.3 * (o == taken) + 0.9 * grown * (1 - grown) * 4 * math.sin(3 * n + phase)
        for n, o in enumerate(options)
    ]
    weights = [math.exp(v) for v in logits]
    return [round(w / sum(weights), 4) for w in weights]
