"""Trains one member from scratch on the images that come with dnas, and tests it on all others of the test split."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from dnas.data.batches import Batches, prefetch
from dnas.data.dataset import Dataset
from dnas.data.load import load
from dnas.data.preprocess import preprocessing_for
from dnas.errors import InputError
from dnas.grammar.read import at_input
from dnas.graph.architecture import architecture
from dnas.learning.evaluator import batch_size, program, tally
from dnas.nn.supernet import init
from dnas.nn.wing import wing
from dnas.solve.many import as_assignment
from dnas.space.space import Space
from dnas.train.recipe import Recipe
from dnas.train.schedule import schedule
from dnas.train.step import training


class Images(NamedTuple):
    """uint8 [N, S, S, C] and int32 [N]."""

    images: np.ndarray
    labels: np.ndarray


def held_out(folder: Path, known: Dataset) -> Images:
    """The test images of the whole Fashion-MNIST that are not among the embedded ones.

    Raises:
        InputError: another data set.
    """
    whole = load(str(folder))
    embedded = {image.tobytes() for image in known.test_images}
    other = np.array([image.tobytes() not in embedded for image in whole.test_images])
    if len(other) - other.sum() < len(embedded):
        raise InputError(str(folder), "does not hold the embedded test images", accepted="Fashion-MNIST")
    return Images(whole.test_images[other], whole.test_labels[other])


class Trainer:
    """Trainings of one network, whose programs are compiled once for all seeds."""

    def __init__(self, space: Space, member: tuple[int, ...], recipe: Recipe, data: Dataset):
        network = architecture(space, as_assignment(np.array(member), space.choices)).network
        side = network.resolution.value
        self.network = at_input(network, channels=data.channels, classes=data.classes, side=side)
        self.recipe, self.data = recipe, data
        preprocessing, per_epoch = preprocessing_for(data, side=side), len(data.train_labels) // recipe.batch_size
        self.steps = round(recipe.epochs * per_epoch)
        rate = schedule(recipe, self.steps, per_epoch)
        self.training = training(self.network, preprocessing, recipe, rate)
        self.step = jax.jit(self.training.step, donate_argnums=0, compiler_options=dict(wing().options))
        self.answer = program(self.network, preprocessing, self.training.packing.unpack)

    def accuracy(self, seed: int, test: Images) -> float:
        """Of the averaged weights after the last step. `seed` draws the first weights, the batches and the mirrors."""
        data, key = self.data, jax.random.key(seed)
        state = self.training.init(init(self.network, key))
        every = np.arange(len(data.train_labels))
        batches = Batches(data.train_images, data.train_labels, every, self.recipe.batch_size, seed)
        for batch in prefetch(batches, 0, self.steps):
            state, _ = self.step(state, batch, key, None)
        size = batch_size(self.network.resolution.value)
        return tally(self.answer, state.averaged, *test, data.classes, size).accuracy
