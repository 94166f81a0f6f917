"""What a training is given: the network on the data's images, its first weights, the split, the recipe, a teacher."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import jax
import numpy as np

from dnas import weights
from dnas.data.dataset import Dataset
from dnas.data.preprocess import Preprocessing, preprocessing_for
from dnas.data.shuffle import TRAIN_SPLIT, stratified
from dnas.errors import InputError
from dnas.network import shapes
from dnas.nn import loops
from dnas.nn.supernet import Variables, init
from dnas.provenance import versions
from dnas.results import Result, preprocessing_of
from dnas.search.problem import proxy_side
from dnas.space.read import at_input
from dnas.space.space import Space
from dnas.train.recipe import Recipe
from dnas.train.step import Teacher

Start = Literal["inherited", "scratch"]


@dataclass(frozen=True, eq=False)
class Setup:
    """Static facts of one training."""

    source: Result
    network: Space
    preprocessing: Preprocessing
    variables: Variables
    """To begin with."""
    start: Start
    dataset: Dataset
    train_index: np.ndarray
    validation_index: np.ndarray
    recipe: Recipe
    seed: int
    teacher: Teacher | None
    teacher_name: str | None

    @property
    def identity(self) -> dict[str, Any]:
        """What must be the same for a continuation (`dnas.checkpoint`)."""
        return {
            "architecture": weights.fingerprint(self.network),
            "input": [self.network.resolution.value, self.network.channels, self.network.classes],
            "start": _digest(self.variables),
            "data": self.dataset.fingerprint,
            "recipe": self.recipe.to_json(),
            "seed": self.seed,
            "teacher": None if self.teacher is None else _digest(self.teacher.variables),
            "kernels": loops.usable(),
            "versions": versions(),
        }


def make_setup(
    source: Result, dataset: Dataset, recipe: Recipe, *, start: Start | None = None, side: int | None = None,
    seed: int = 0, teacher: Result | None = None,
) -> Setup:  # fmt: skip
    """Puts a training together.

    Args:
        start: `inherited` weights (the default where the architecture has some) or `scratch`.
        side: of the images given to the network; as recorded, else by the data's own (see `proxy_side`).

    Raises:
        InputError: weights that are missing or of another network; classes or channels that do not fit them; a
            teacher without weights or of other classes; too few images for a validation split.
    """
    start = start or ("scratch" if source.weights is None else "inherited")
    if start == "inherited":
        network, preprocessing, variables = _inherited(source, dataset, side)
    else:
        network, preprocessing = _fresh(source, dataset, side)
        variables = init(network, jax.random.key(seed))
    last = shapes(network)[1]
    if last.side is not None or last.channels.max() != dataset.classes:
        raise InputError(network.source, "the last block must give class scores", accepted="linear: {out: $classes}")
    rest, held = stratified(dataset.train_labels, recipe.validation, seed, TRAIN_SPLIT)
    if not len(held):
        raise InputError(f"data {dataset.name}", "no class has two training images: none is left to validate on")
    return Setup(
        source, network, preprocessing, variables, start, dataset, rest, held, recipe, seed,
        None if teacher is None else _teacher(teacher, dataset), None if teacher is None else teacher.space.name,
    )  # fmt: skip


def _inherited(source: Result, dataset: Dataset, side: int | None) -> tuple[Space, Preprocessing, Variables]:
    if source.weights is None:
        raise InputError(
            source.space.source, "no weights to inherit", accepted="--weights FILE.safetensors, or --init scratch"
        )
    try:
        preprocessing = preprocessing_of(source, dataset)
    except InputError as error:
        problem = f"the inherited weights do not fit: {error}; try --init scratch"
        raise InputError(str(source.weights), problem) from error
    network = source.network
    variables = weights.load(source.weights, network)
    side = side or network.resolution.value
    if side != network.resolution.value:
        network = at_input(network, channels=network.channels, classes=network.classes, side=side)
    return network, replace(preprocessing, side=side, grid=None), variables


def _fresh(source: Result, dataset: Dataset, side: int | None) -> tuple[Space, Preprocessing]:
    if side is None:
        known = source.preprocessing is not None and (source.data or {}).get("side") == dataset.side
        own = proxy_side(source.space, shapes(source.space)[0], dataset.side)
        side = source.network.resolution.value if known else own
    network = at_input(source.space, channels=dataset.channels, classes=dataset.classes, side=side)
    return network, preprocessing_for(dataset, side=side)


def _teacher(teacher: Result, dataset: Dataset) -> Teacher:
    if teacher.weights is None:
        raise InputError(teacher.space.source, "a teacher without weights", accepted="--teacher-weights FILE")
    preprocessing = preprocessing_of(teacher, dataset)
    return Teacher(teacher.network, preprocessing, weights.load(teacher.weights, teacher.network))


def _digest(variables: Mapping[str, Any]) -> str:
    digest = hashlib.sha256()
    for group in sorted(variables):
        for name in sorted(variables[group]):
            digest.update(name.encode() + np.asarray(variables[group][name]).tobytes())
    return digest.hexdigest()[:16]
