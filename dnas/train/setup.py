"""What a training is given: the network on the data's images, its first weights, the split, the recipe, a teacher."""

from __future__ import annotations

import hashlib
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import jax
import numpy as np

from dnas.data.batches import steps_of, steps_per_epoch
from dnas.data.dataset import Dataset
from dnas.data.image_side import OPTION
from dnas.data.preprocess import Preprocessing, preprocessing_for
from dnas.data.shuffle import TRAIN_SPLIT, stratified
from dnas.errors import InputError
from dnas.grammar.read import at_input
from dnas.graph import check_scores, graph_of
from dnas.learning import weights
from dnas.learning.image_size import ANOTHER, proxy_side
from dnas.learning.resized import Resized, at_side
from dnas.learning.terms import Term, check
from dnas.nn.supernet import Variables, abstract_variables, init
from dnas.nn.wing import wing
from dnas.process.devices import ONE, Devices
from dnas.process.precision import Precision, chosen
from dnas.process.provenance import versions
from dnas.runs.result import Result, preprocessing_of
from dnas.space.space import Space
from dnas.train.recipe import Recipe
from dnas.train.step import Teacher, terms_of

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
    new_classifier: bool
    """The weights are inherited but for the classifier, which begins anew for other classes."""
    resized: tuple[str, ...]
    """Paths of inherited tables of positions that were resized for images of another side."""
    dataset: Dataset
    train_index: np.ndarray
    validation_index: np.ndarray
    recipe: Recipe
    seed: int
    teacher: Teacher | None
    teacher_name: str | None
    more_terms: tuple[Term, ...] = ()
    """Of the loss, beside the recipe's."""
    keeps_last: bool = False
    """The result is of the last epoch, not of the one that does best on the validation share."""
    until: int | None = None
    """Epochs after which it ends, before those of the recipe, whose schedule it follows so far; None for all."""
    devices: Devices = ONE
    """What it computes on."""
    precision: Precision = "float32"
    """In which steps compute."""

    @property
    def terms(self) -> tuple[Term, ...]:
        """Of the loss."""
        return (*terms_of(self.recipe, self.network, self.teacher and self.teacher.network), *self.more_terms)

    @property
    def per_epoch(self) -> int:
        """Steps of an epoch."""
        return steps_per_epoch(len(self.train_index), self.recipe.batch_size)

    @property
    def steps(self) -> int:
        """Of the recipe's whole schedule."""
        return max(1, round(steps_of(self.recipe.epochs, len(self.train_index), self.recipe.batch_size)))

    @property
    def taken(self) -> int:
        """Steps that are taken."""
        return self.steps if self.until is None else min(self.steps, self.until * self.per_epoch)

    @property
    def identity(self) -> dict[str, Any]:
        """What must be the same for a continuation (`dnas.learning.checkpoint`)."""
        return {
            "architecture": weights.fingerprint(self.network),
            "input": [self.network.resolution.value, self.network.channels, self.network.classes],
            "start": _digest(self.variables),
            "data": self.dataset.fingerprint,
            "recipe": self.recipe.to_json(),
            "seed": self.seed,
            "teacher": None if self.teacher is None else _digest(self.teacher.variables),
            **({"terms": [term.to_json() for term in self.more_terms]} if self.more_terms else {}),
            **({"keeps": "last"} if self.keeps_last else {}),
            **({} if self.until is None else {"until": self.until}),
            **({} if self.precision == "float32" else {"precision": self.precision}),
            "kernels": bool(wing(self.devices).forms),
            "versions": versions(),
        }


def training_side(source: Result, native_side: int, start: Start | None, asked: int | None = None) -> tuple[int, str]:
    """The side, in pixels, of the images given to the network, and a word on where it comes from.

    As asked; else the side of the weights that are inherited, or the recorded one; without a record the architecture's
    own, but no more than the images' `native_side` and the network's strides need (`dnas.learning.image_size`).
    """
    if asked is not None:
        return asked, f"as {OPTION} says"
    if _start(source, start) == "inherited" or source.preprocessing is not None:
        return source.network.resolution.value, f"the network's input; {ANOTHER}"
    return proxy_side(source.space, graph_of(source.space), native_side), ANOTHER


def _start(source: Result, start: Start | None) -> Start:
    return start or ("scratch" if source.weights is None else "inherited")


def make_setup(
    source: Result, dataset: Dataset, recipe: Recipe, *, start: Start | None = None, side: int | None = None,
    seed: int = 0, teacher: Result | None = None, new_classes: bool = False, terms: Sequence[Term] = (),
    until: int | None = None, devices: Devices = ONE, precision: Precision | None = None,
) -> Setup:  # fmt: skip
    """Puts a training together.

    Args:
        start: `inherited` weights (the default where the architecture has some) or `scratch`.
        side: of the images given to the network; by `training_side` if not given.
        new_classes: where the classes are others than the architecture's, inherited weights are kept but for the
            classifier, which begins anew.
        terms: of the loss, beside the recipe's.
        until: epochs after which the training ends early.
        devices: what it computes on.
        precision: in which steps compute; what suits the device if not given.

    Raises:
        InputError: weights that are missing or of another network; classes or channels that do not fit them; a
            teacher without weights or of other classes, or none for a recipe that learns its manifold; too few images
            for a validation split; terms of one name.
    """
    start = _start(source, start)
    if teacher is None and recipe.manifold:
        accepted = "--teacher ARCH, or --manifold 0"
        raise InputError(
            "manifold", "there is no teacher whose features are learned", found=recipe.manifold, accepted=accepted
        )
    if start == "scratch" and source.network.quantization:
        where, accepted = f"{source.space.source}: quantization", "inherited weights, or the network before"
        raise InputError(where, "the steps of quantisers come with weights", accepted=accepted)
    side = training_side(source, dataset.side, start, side)[0]
    anew = start == "inherited" and new_classes and _other_classes(source, dataset)
    resized: tuple[str, ...] = ()
    if start == "inherited":
        network, preprocessing, (variables, resized) = _inherited(source, dataset, side, anew, seed)
    else:
        network = at_input(source.space, channels=dataset.channels, classes=dataset.classes, side=side)
        preprocessing, variables = preprocessing_for(dataset, side=side), init(network, jax.random.key(seed))
    check_scores(network, dataset.classes)
    drawn = stratified(dataset.train_labels, recipe.validation, seed, TRAIN_SPLIT)
    rest, held = dataset.given_split() or drawn
    if not len(held):
        raise InputError(f"data {dataset.name}", "no class has two training images: none is left to validate on")
    steps_of(recipe.epochs, len(rest), recipe.batch_size)  # refuses too many, before any work
    setup = Setup(
        source, network, preprocessing, variables, start, anew, resized, dataset, rest, held, recipe, seed,
        None if teacher is None else _teacher(teacher, dataset), None if teacher is None else teacher.space.name,
        tuple(terms), until=until, devices=devices, precision=chosen(precision),
    )  # fmt: skip
    check(setup.terms, teacher is not None)
    return setup


def _other_classes(source: Result, dataset: Dataset) -> bool:
    return dataset.classes != source.network.classes or source.labels != dataset.class_names


def _inherited(
    source: Result, dataset: Dataset, side: int, anew: bool, seed: int
) -> tuple[Space, Preprocessing, Resized]:
    """The network at `side`, its preprocessing and its weights; the classifier's are fresh where it begins `anew`."""
    if source.weights is None:
        raise InputError(
            source.space.source, "no weights to inherit", accepted="--weights FILE.safetensors, or --init scratch"
        )
    own = source.network
    resized = at_input(own, channels=own.channels, classes=own.classes, side=side)
    network = at_input(own, channels=own.channels, classes=dataset.classes if anew else own.classes, side=side)
    try:
        preprocessing = preprocessing_of(replace(source, network=network), dataset)
    except InputError as error:
        instead = "--new-classes" if dataset.classes != network.classes else "--init scratch"
        problem = f"the inherited weights do not fit: {error}; try {instead}"
        raise InputError(str(source.weights), problem) from error
    variables, tables = at_side(weights.load(source.weights, own), own, resized)
    if anew:
        variables = _with_fresh(variables, init(network, jax.random.key(seed)), _of_classifier(resized))
    return network, replace(preprocessing, side=side, grid=None), Resized(variables, tables)


def _of_classifier(network: Space) -> set[str]:
    """Names of the variables whose shape follows the number of classes."""
    size = {"channels": network.channels, "side": network.resolution.value}
    more = abstract_variables(at_input(network, classes=network.classes + 1, **size))
    own = abstract_variables(network)
    return {name for group in own for name in own[group] if own[group][name].shape != more[group][name].shape}


def _with_fresh(variables: Variables, fresh: Variables, names: Container[str]) -> Variables:
    return {
        group: {name: fresh[group][name] if name in names else value for name, value in variables[group].items()}
        for group in variables
    }


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
