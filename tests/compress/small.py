"""Small networks with data that they can be calibrated on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
from rich.console import Console

from dnas.compress.asked import Watching
from dnas.data.dataset import Dataset
from dnas.export import parity
from dnas.grammar.read import space_from_data
from dnas.learning import weights
from dnas.nn.supernet import init
from dnas.runs.result import result_of
from dnas.train.recipe import read_recipe
from dnas.train.setup import Setup, make_setup

QUIET = Watching(Console(quiet=True))
CONVOLUTIONAL = {
    "name": "convolutional",
    "input": {"channels": 2, "classes": 4, "resolution": 12},
    "trunk": [
        {"conv": {"kernel": 3, "out": 8, "stride": 2, "act": "hswish"}},
        {"mbconv": {"out": 8, "hidden": 16, "se": True, "se_hidden": 4, "act": "relu"}},
    ],
    "head": [{"pool": {}}, {"linear": {"out": "$classes"}}],
}
TRANSFORMER = {
    "name": "transformer",
    "input": {"channels": 2, "classes": 4, "resolution": 12},
    "trunk": [
        {"patch_embed": {"out": 12, "kernel": 4}},
        {"tokens": {}},
        {"transformer": {"heads": 2, "head_width": 4, "hidden": 16, "relative": 1}},
    ],
    "head": [{"token_head": {"out": "$classes"}}],
}


def setup_of(data: dict, folder: Path, images: int = 48) -> Setup:
    """A network with random weights and norms of its images, which are random."""
    space = space_from_data(data, data["name"])
    draw = np.random.default_rng(0)
    side, labels = space.resolution.value, (np.arange(images) % space.classes).astype(np.int32)
    pixels = draw.integers(0, 256, (images, side, side, space.channels)).astype(np.uint8)
    names = tuple(f"class {n}" for n in range(space.classes))
    dataset = Dataset("random", pixels, labels, pixels[:8], labels[:8], names)
    weights.save(folder / "w.safetensors", space, parity.settled(space, init(space, jax.random.key(0))))
    source = replace(result_of(space), weights=folder / "w.safetensors")
    return make_setup(source, dataset, read_recipe("quick").fixed())
