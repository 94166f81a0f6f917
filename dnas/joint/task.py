"""A training of a joint search: one that diverges is a result, the worst there is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dnas.errors import Diverged
from dnas.fanout.task import Report
from dnas.files import write_json
from dnas.train import job as jobs

FUNCTION = "dnas.joint.task:trained"
DIVERGED = "diverged.json"
"""What stands in the place of a result where the loss became infinite."""


def trained(report: Report, folder: str, job: Mapping[str, Any], overwrite: bool = False) -> None:
    """As `dnas.train.job.trained`; raises what it raises but `Diverged`."""
    try:
        jobs.trained(report, folder, job, overwrite)
    except Diverged as error:
        write_json(Path(folder) / DIVERGED, {"said": str(error)})
