"""evaluation.json: what `dnas.evaluate RUN --json > RUN/evaluation.json` left in a run's folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from dnas.errors import InputError
from dnas.files import read_document
from dnas.runs.converted import converted
from dnas.runs.records import Count
from dnas.runs.run import Run

EVALUATION = "evaluation.json"


class Evaluation(msgspec.Struct, frozen=True):
    """What a report shows of it."""

    classes: tuple[str, ...]
    confusion: tuple[tuple[Count, ...], ...] | None
    """Images of each class (a row) by the class that they were taken for; None where there are too many classes."""
    split: str


def evaluations(run: Run) -> Iterator[Evaluation]:
    """The report, where there is one that tells classes apart; raises `InputError` for one that is damaged."""
    file = Path(run.folder) / EVALUATION
    if not file.is_file():
        return
    data = read_document(file).data
    if not isinstance(data, dict) or not {"classes", "confusion", "split"} <= data.keys():
        accepted = "what dnas.evaluate --json prints"
        raise InputError(str(file), "no classes, confusion and split in it", accepted=accepted)
    found = converted(data, Evaluation, str(file))
    many = len(found.classes)
    if found.confusion is not None:
        if [len(line) for line in found.confusion] != [many] * many:
            raise InputError(f"{file}: confusion", "not a row and a column for each class", accepted=f"{many} x {many}")
        yield found
