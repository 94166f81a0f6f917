"""Evaluates a plain network: one compiled program, batches filled up to its size, counts over all images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from dnas.data.dataset import Images
from dnas.data.preprocess import Preprocessing, prepare
from dnas.data.stream.images import soon
from dnas.errors import UserError
from dnas.nn.gates import Layout, one_hot
from dnas.nn.supernet import Supernet, Variables
from dnas.nn.wing import wing
from dnas.process.devices import ONE, Devices, Parts
from dnas.space.space import Space

PIXELS = 1 << 21
"""Of the images of a batch together."""
MAX_BATCH = 256


class Answers(NamedTuple):
    """Of a batch of images."""

    predicted: Int[Array, " N"]
    rank: Int[Array, " N"]
    """How many classes score above the right one: 0 is a hit, below 5 one of the first five."""
    finite: Bool[Array, " N"]


class Tally(NamedTuple):
    """Counts over images."""

    images: int
    top1: int
    top5: int
    confusion: np.ndarray
    """[classes, classes]: row the right class, column the predicted one."""

    @property
    def accuracy(self) -> float:
        """Share of images whose first guess is right."""
        return self.top1 / self.images


Evaluator = Callable[[Variables, Any, Any], Answers]
Scorer = Callable[[Variables, Any], Float[Array, "B classes"]]


def scores(space: Space, preprocessing: Preprocessing, devices: Devices = ONE) -> Scorer:
    """`(variables, uint8 images [B, H, W, C]) -> logits` of an architecture, fed as its own side asks."""
    gates, net = one_hot(Layout(space.choices), {}), Supernet(space, forms=wing(devices).forms)
    taken = preprocessing.taken_at(space.resolution.value)

    def of_part(parts: Parts | None, _: Any, variables: Variables, images: Array):
        return net.apply(variables, prepare(images, taken), gates)[0], None  # type: ignore[index]

    pass_through = devices.spread(of_part)
    return lambda variables, images: pass_through({}, variables, images)[0]


def program(
    space: Space, preprocessing: Preprocessing,
    unpack: Callable[[Any], Variables] = lambda variables: variables, devices: Devices = ONE,
) -> Evaluator:  # fmt: skip
    """`(variables, uint8 images [B, H, W, C], labels [B]) -> Answers`, compiled once.

    `unpack` makes variables of what the program is given.
    """
    scored = scores(space, preprocessing, devices)

    def answer(variables: Variables, images: Array, labels: Array) -> Answers:
        logits = scored(unpack(variables), images)
        own = jnp.take_along_axis(logits, labels[:, None], axis=1)
        # A tie goes to the class that stands first, as argmax has it.
        before = jnp.arange(logits.shape[1])[None, :] < labels[:, None]
        above = (logits > own) | ((logits == own) & before)
        return Answers(jnp.argmax(logits, 1), jnp.sum(above, 1), jnp.all(jnp.isfinite(logits), 1))

    compiled = devices.program(answer)
    return lambda variables, *batch: compiled(variables, *devices.batch(batch))


class NotFinite(UserError):
    """A network whose scores are no numbers."""


def batch_size(side: int) -> int:
    """Images in a batch of squares of `side`: bounded memory."""
    return max(1, min(MAX_BATCH, PIXELS // side**2))


def filled(
    images: Images, labels: np.ndarray, chosen: np.ndarray, size: int, devices: Devices = ONE
) -> tuple[jax.Array, jax.Array]:
    """A batch of exactly `size` images, filled up with repetitions, whose labels are -1: they do not count.

    It lies on `devices`; each host reads the rows of its own.
    """
    rows, places = devices.own_rows(size), read_at(chosen, size, devices)
    marked = np.where(rows < len(chosen), labels[places], -1)
    if not devices.several:
        return jnp.asarray(images[places]), jnp.asarray(marked)
    return devices.batch_of_rows((images[places], marked), size)


def read_at(chosen: np.ndarray, size: int, devices: Devices) -> np.ndarray:
    """Positions of the images that this host reads of a batch of `size` that repeats `chosen` until it is full."""
    return np.resize(chosen, size)[devices.own_rows(size)]


def tally(
    answer: Evaluator, variables: Variables, images: Images, labels: np.ndarray, classes: int, batch: int,
    progress: Callable[[int], None] = lambda done: None, devices: Devices = ONE,
) -> Tally:  # fmt: skip
    """Counts over all images; `progress` is told how many are done, `devices` are those of `answer`.

    Raises:
        NotFinite: the network gives numbers that are not finite.
    """
    top1 = top5 = 0
    confusion = np.zeros((classes, classes), np.int64)
    for start in range(0, len(labels), batch):
        chosen = np.arange(start, min(start + batch, len(labels)))
        for first in range(start, min(start + 2 * batch, len(labels)), batch):
            soon(images, read_at(np.arange(first, min(first + batch, len(labels))), batch, devices))
        found = jax.device_get(answer(variables, *filled(images, labels, chosen, batch, devices)))
        predicted, rank, finite = (part[: len(chosen)] for part in found)
        if not finite.all():
            raise NotFinite(f"the network's scores of image {start + int(np.argmin(finite))} are not finite numbers")
        np.add.at(confusion, (labels[chosen], predicted), 1)
        top1, top5 = top1 + int(np.sum(rank == 0)), top5 + int(np.sum(rank < 5))
        progress(int(chosen[-1]) + 1)
    return Tally(len(labels), top1, top5, confusion)
