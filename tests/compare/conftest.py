"""A small space, a network of it as a file, and data of three classes that are quickly learned."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dnas.files import write_json
from dnas.grammar.read import read_space
from dnas.graph.architecture import architecture

SPACE = """
name: short
input: {channels: 1, classes: 3, resolution: {choices: [8, 12]}}
trunk:
  - conv: {out: {range: [4, 12, 2]}, stride: 2, kernel: {choices: [3, 5]}, act: {choices: [relu, hswish]}}
  - mbconv: {out: {range: [8, 16, 2]}, hidden: {range: [8, 24, 4]}, kernel: {choices: [3, 5]}}
head: [{pool: {}}, {linear: {out: $classes}}]
"""
RECIPE = "epochs: 2\nbatch_size: 8\nlr: 0.05\nvalidation: 0.2\n"


class Home:
    """A folder with a space, a network of it, a recipe and data, by their paths."""

    def __init__(self, path: Path):
        self.path = path
        self.space, self.network = path / "short.yaml", path / "mine.json"
        self.recipe, self.data = path / "recipe.yaml", path / "data.npz"
        self.space.write_text(SPACE)
        self.recipe.write_text(RECIPE)
        space = read_space(self.space)
        middle = {choice.name: len(choice) // 2 for choice in space.choices}
        write_json(self.network, architecture(space, middle, name="mine").data)
        random = np.random.default_rng(0)
        labels = np.repeat(np.arange(3), 30)
        images = (random.integers(0, 60, (90, 8, 8)) + 60 * labels[:, None, None]).astype(np.uint8)
        names = {"train_images": images, "train_labels": labels, "test_images": images[::3], "test_labels": labels[::3]}
        np.savez(self.data, **names)

    def words(self, *more: str) -> list[str]:
        """Of a command line."""
        fixed = ["--space", self.space, "--data", self.data, "--recipe", self.recipe]
        return [str(self.network), *map(str, fixed), "--published", "0", *more]


@pytest.fixture(scope="session")
def home(tmp_path_factory) -> Home:
    return Home(tmp_path_factory.mktemp("compare"))
