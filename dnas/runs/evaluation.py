"""evaluation.json: what `dnas.evaluate RUN --json > RUN/evaluation.json` left in a run's folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dnas.errors import InputError
from dnas.files import read_document
from dnas.runs.run import Run

EVALUATION = "evaluation.json"


def evaluations(run: Run) -> Iterator[dict[str, Any]]:
    """The report, where there is one that tells classes apart; raises `InputError` for one that is damaged."""
    file = Path(run.folder) / EVALUATION
    if not file.is_file():
        return
    data = read_document(file).data
    if not isinstance(data, dict) or not {"classes", "confusion", "split"} <= data.keys():
        accepted = "what dnas.evaluate --json prints"
        raise InputError(str(file), "no classes, confusion and split in it", accepted=accepted)
    lines, many = data["confusion"], len(data["classes"])
    if lines is not None:
        if [len(line) for line in lines] != [many] * many:
            raise InputError(f"{file}: confusion", "not a row and a column for each class", accepted=f"{many} x {many}")
        yield data
