"""Copies of the stored runs, as the tests need them: one of a kind, one that has not ended, many with long names."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from dnas.grammar.catalogue import load_space
from dnas.graph.architecture import architecture, options_taken
from dnas.seeds import table
from dnas.seeds.figures import outcome

from .make import KINDS

STORED = Path(__file__).with_name("runs")
OTHERS = ("joint", "compare", "vtp")
"""Stored as they are: a joint search of `experiments/joint.py`, and a comparison and a compression of what the tests of
those commands train."""


def copied(kind: str, where: Path, name: str | None = None) -> Path:
    """A copy of the stored run of a kind."""
    return Path(shutil.copytree(STORED / kind, where / (name or kind)))


def unfinished(kind: str, where: Path, rows: int = 12, name: str | None = None) -> Path:
    """The stored run as it was after some rows: what a running or killed one leaves."""
    folder = where / (name or f"{kind}-unfinished")
    folder.mkdir(parents=True)
    lines = (STORED / kind / "history.jsonl").read_text().splitlines(keepends=True)
    (folder / "history.partial.jsonl").write_text("".join(lines[:rows]))
    return folder


def many(where: Path, count: int = 20) -> list[Path]:
    """Runs of all kinds, with long names, one of which has not ended."""
    folders = []
    for n in range(count - 1):
        kind = KINDS[n % len(KINDS)]
        folders.append(copied(kind, where, f"a-rather-long-name-of-experiment-{n:02}-with-{kind}-and-more-budget"))
    return [*folders, unfinished("slimming", where, 26, "the-one-that-was-killed-in-the-middle-of-its-chain")]


def several(where: Path, ended: bool = True) -> Path:
    """A folder as `--seeds 2 --seed 9` leaves it, of runs that differ."""
    home = where / "mine"
    for seed, kind in (("9", "random"), ("10", "evolution")):
        copied(kind, home / "seeds", seed)
    (home / "run.json").write_text(json.dumps({"run": "search", "identity": {}}))
    if ended:
        (home / "run.json").unlink()
        outcomes = [outcome(seed, home, f"seeds/{seed}") for seed in (9, 10)]
        (home / "seeds.json").write_text(json.dumps(table.document("search", "tiny", outcomes)))
    return home


def large(space: str, where: Path, taken: int = 0) -> Path:
    """A search of a space with many blocks and long names: the network of one option a choice, one row of history."""
    loaded = load_space(space)
    assignment = {c.name: min(taken, len(c) - 1) for c in loaded.choices}
    found = architecture(loaded, assignment)
    facts = {
        "space": space, "strategy": "dmasking", "blocks": found.sources,
        "budgets": [{"budget": "2GFLOPs", "limit": 2e9, "cost": 1e9}], "inherited_accuracy": {"derived": 0.4},
        "options": {c.name: list(c.options) for c in loaded.choices}, "accuracy_split": "test, 500 images",
    }  # fmt: skip
    row = {"step": 1, "loss": 2.0, "entropy": 1.0, "expected": [1e9], "multipliers": [0.0]}
    row["probabilities"] = {c.name: [1 / len(c)] * len(c) for c in loaded.choices}
    folder = where / f"{space}-{taken}"
    folder.mkdir(parents=True)
    document = {**found.data, "choices_taken": options_taken(loaded, assignment), "search": facts}
    (folder / "architecture.json").write_text(json.dumps(document))
    (folder / "history.jsonl").write_text(json.dumps(row) + "\n")
    return folder


def groups(where: Path) -> dict[str, list[Path]]:
    """What a report is made of in the tests: each kind alone, several together, many."""
    found = {kind: [copied(kind, where / "each")] for kind in KINDS}
    found["old"] = [Path(shutil.copytree(STORED / "tiny-0", where / "old" / "tiny-0"))]
    found["unfinished"] = [unfinished("slimming", where, 26)]
    found["training unfinished"] = [unfinished("trained", where, 2)]
    found["all kinds"] = [copied(kind, where / "all") for kind in KINDS] + [*found["old"], *found["unfinished"]]
    found["five old"] = [Path(shutil.copytree(STORED / f"tiny-{n}", where / "five" / f"tiny-{n}")) for n in range(5)]
    found["many blocks"] = [large("fbnetv2", where / "large", 3)]
    attention = (("efficientformerv2", 0), ("efficientformer", 9))
    found["attention"] = [large(space, where / "large", taken) for space, taken in attention]
    found |= {kind: [copied(kind, where / "each")] for kind in OTHERS}
    found["seeds"] = [several(where / "several")]
    found["many"] = many(where / "many")
    return found


GROUPS = (
    *KINDS,
    "old",
    "unfinished",
    "training unfinished",
    "all kinds",
    "five old",
    "many blocks",
    "attention",
    *OTHERS,
    "seeds",
    "many",
)
