"""What people read of a joint search."""

from __future__ import annotations

import pytest

from dnas.joint.report import closing, markdown
from dnas.report.why import expected
from dnas.runs.joint import Cost, Ended, Member, Record, TrainedPair


def record(epoch: int | None) -> Record:
    """A search of one choice, whose trainings stopped after an epoch."""
    best = Ended((1,), (0.5, 0.6, 0.9), 0.61, 0.02, 0.8, "trainings/b")
    member = Member((Cost("9MFLOPs", 9e6, 8e6),), (best,), {"recipe.lr": 0.1})
    tried = TrainedPair((0,), (0.4, 0.55, 0.7), 0.57, "trainings/a")
    return Record(
        "mine", 0, {}, 28, {}, {"recipe.lr": (0.01, 0.1)}, ("9MFLOPs",), epoch, (0.5, 0.95, 1.0), (tried,), None, (),
        (member,),
    )  # fmt: skip


@pytest.mark.parametrize(("epoch", "name", "then"), [(2, "predicted after epoch 2", 0.6), (None, "predicted", 0.9)])
def test_a_prediction_stands_beside_what_was_measured_at_the_same_epoch(epoch, name, then):
    found = record(epoch)
    lines = list(markdown(found))
    assert f"| test | {name} | measured then |" in lines[2] and lines[4].endswith(f"| {100 * then:.1f} % |")
    assert f"{name} 61.0 % ± 2.0 %" in "\n".join(closing(found))
    rows = {row["name"]: row for row in expected(found).spec["data"]["values"]}
    assert rows["trainings/b"]["measured"] == then
    assert rows["trainings/a"]["measured"] == (0.55 if epoch else 0.7)
