"""A run of each kind as the product's own commands write it, on the small space with the smoke preset.

    python -m tests.report.make tests/report/runs

writes those that the fast tests read: every file but the weights, and what differs from machine to machine.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from dnas.cli.entry import call, parse
from dnas.cli.search import Arguments as SearchArguments
from dnas.cli.search import main as search
from dnas.cli.train import Arguments as TrainArguments
from dnas.cli.train import main as train

BUDGET = ("--budget", "150kFLOPs")
SEARCHES = {
    "dmasking": (*BUDGET, "--budget", "9kparams", "--strategy", "dmasking"),
    "random": (*BUDGET, "--strategy", "random"),
    "evolution": (*BUDGET, "--strategy", "evolution"),
    "slimming": (*BUDGET, "--strategy", "slimming"),
    "sandwich": (*BUDGET, "--strategy", "sandwich"),
    "family": ("--family", "150kFLOPs,200kFLOPs,300kFLOPs", "--strategy", "slimming"),
}
KINDS = (*SEARCHES, "trained")
NOT_KEPT = ("provenance.json", "weights.safetensors", "chain.png", "checkpoints")


def make(home: Path) -> None:
    """Makes a folder of each of `KINDS` in `home`."""
    for name, options in SEARCHES.items():
        words = ["tiny", *options, "--preset", "smoke", "--out", str(home / name)]
        assert call(search, parse(SearchArguments, words)) == 0, name
    words = [str(home / "dmasking"), "--epochs", "3", "--out", str(home / "trained")]
    assert call(train, parse(TrainArguments, words)) == 0


def keep(home: Path, where: Path) -> None:
    """Copies the runs of `home` without what is large or of one machine."""
    for name in KINDS:
        shutil.rmtree(where / name, ignore_errors=True)
        shutil.copytree(home / name, where / name, ignore=shutil.ignore_patterns(*NOT_KEPT))


if __name__ == "__main__":
    made = Path(sys.argv[1]) / "made"
    make(made)
    keep(made, made.parent)
    shutil.rmtree(made)
