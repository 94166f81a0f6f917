"""Planted tasks of vision transformers: a window, a second layer, and a width that is good for nothing."""

from __future__ import annotations

import dataclasses
from typing import Any

from dnas.data import synthetic
from dnas.grammar.read import space_from_data
from dnas.search.settings import Settings

from .planted import Planted

SETTINGS = Settings(
    epochs=5, batch_size=32, weights_lr=0.1, theta_lr=0.1, theta_every=1.5, warm_up=0.25, check_images=100,
    norm_batches=1, rank_norm_batches=1, rank_images=None, finalists=4, fill=0, population=6, generations=3, parents=3,
)  # fmt: skip
PATIENT = dataclasses.replace(SETTINGS, epochs=12, weights_lr=0.05)
"""For a second layer, which learns nothing while the first has not begun to: at a larger rate some seeds stay there."""
CHANNELS = 16
"""With 8 channels and one head, two of ten seeds never begin to learn, and what they choose is chance."""
WINDOWS, NARROW = {"heads": 2, "head_width": 8}, {"heads": 1, "head_width": 8}


def space(name: str, side: int, *trunk: dict[str, Any]) -> Any:
    data = {
        "name": name,
        "input": {"channels": 1, "classes": 2, "resolution": side},
        "trunk": list(trunk),
        "head": [{"norm_head": {"out": "$classes", "distilled": False}}],
    }
    return space_from_data(data, name)


TASKS = {
    "window": Planted(
        lambda seed: synthetic.needs_large_window(seed, 1200),
        space(
            "window", 16,
            {"patch_embed": {"out": CHANNELS, "kernel": 1}},
            {"window_transformer": {**WINDOWS, "window": {"choices": [4, 8]}, "expand": {"choices": [1, 2]}}},
        ),
        "trunk.1.window", (8,), settings=SETTINGS,
    ),
    "depth": Planted(
        lambda seed: synthetic.needs_shifted_window(seed, 1200),
        space(
            "depth", 12,
            {"patch_embed": {"out": CHANNELS, "kernel": 1}},
            {"window_transformer": {
                **WINDOWS, "window": 4, "expand": {"choices": [1, 2]}, "repeat": {"range": [1, 2, 1]},
                "each": {"shifted": [False, True]},
            }},
        ),
        "trunk.1.repeat", (2,), settings=PATIENT,
    ),
    # Of the first stage nothing is asked but to hand on how bright a pixel is; the budget pays for its width or for the
    # block of the second stage, whose windows are the cells.
    "width": Planted(
        lambda seed: synthetic.needs_large_window(seed, 1200),
        space(
            "width", 16,
            {"patch_embed": {"out": {"range": [8, 24, 8]}, "kernel": 2}},
            {"window_transformer": {**NARROW, "window": 2, "expand": 2}},
            {"patch_merge": {"out": 16}},
            {"window_transformer": {**NARROW, "window": 2, "expand": 2, "repeat": {"range": [0, 1, 1]}}},
        ),
        "trunk.0.out", (8, 16), ("0.006Mparams",), settings=SETTINGS,
    ),
}  # fmt: skip
