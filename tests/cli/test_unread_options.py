"""An option that would do nothing is refused, in a line that names it."""

from __future__ import annotations

from dataclasses import fields

import pytest

import dnas
from dnas.errors import InputError
from dnas.grammar.catalogue import load_space
from dnas.search import strategies
from dnas.search.request import requested
from dnas.search.settings import Settings

from .test_suggestions import said


@pytest.mark.parametrize(
    ("command", "line", "told"),
    [
        ("search", "tiny --rank-by loss", "--rank-by: does nothing with --strategy dmasking (found 'loss'; accepted: "),
        ("search", "tiny --strategy random --population 9", "with --strategy evolution or space_evolution)"),
        ("search", "tiny --distill --strategy slimming", "--distill: does nothing with --strategy slimming"),
        ("search", "autoformer_mini --alpha 0.3", "--alpha: does nothing with --strategy evolution"),
        ("train", "fbnet_c --teacher-weights a.safetensors", "--teacher-weights: there is no teacher"),
        ("lut", "show --space tiny", "--space: of which table? (found 'tiny')"),
        ("report", "runs --port 80", "--port: only of --live (found 80)"),
    ],
)
def test_on_the_command_line(command, line, told, capsys):
    assert told in said(f"dnas.cli.{command}", capsys, *line.split())


READ_BY_ALL = {
    "epochs", "batch_size", "side", "largest_decoded", "weights_optimizer", "weights_lr", "weights_momentum",
    "weight_decay", "clip", "resolution_paths", "paths", "low_memory", "precision", "paper_resolution", "fill",
    "settle", "rank_images", "rank_norm_batches", "norm_batches", "assess_batch", "check_images",
}  # fmt: skip
"""A setting that is not here, nor in `READ_BY`, was forgotten there."""


def test_settings_that_single_strategies_read():
    space, known = load_space("tiny"), {field.name for field in fields(Settings)}
    assert strategies.READ_BY.keys() <= known
    assert known - strategies.READ_BY.keys() == READ_BY_ALL
    changed = Settings(
        costs="paper", loss_form="additive", noise="uniform", rank_by="loss", supernet="sandwich", distill=True,
        mes_sign="plus", space_rule="trunc", mutations=1, crossovers=1, gates="straight_through", theta_rule="adam",
        theta_decay=0.1,
    )  # fmt: skip
    for name, readers in strategies.READ_BY.items():
        assert set(readers) <= set(strategies.NAMES)
        default, other = getattr(Settings(), name), getattr(changed, name)
        value = other if other != default else default / 2 if isinstance(default, float) else default + 1
        for strategy in strategies.NAMES:
            requested(space, strategy=strategy, settings={name: default})  # what is so anyway harms nobody
            if strategy in readers:
                assert getattr(requested(space, strategy=strategy, settings={name: value}).settings, name) == value
                continue
            with pytest.raises(InputError, match=f"--{name.replace('_', '-')}: does nothing with --strategy"):
                requested(space, strategy=strategy, settings={name: value})


def test_from_python(monkeypatch):
    with pytest.raises(InputError, match="teacher_weights: there is no teacher"):
        dnas.run_training("fbnet_c", teacher_weights="a.safetensors")
    asked = []
    monkeypatch.setattr("dnas.api.searching.search", lambda request, *rest: asked.append(request))
    monkeypatch.setattr("dnas.api.searching.opened", lambda *given: None)
    dnas.run_search("tiny", budgets="1MFLOPs", side=24)
    dnas.run_search("tiny", budgets="1MFLOPs", image_size=32)
    assert [request.settings.side for request in asked] == [24, 32]
