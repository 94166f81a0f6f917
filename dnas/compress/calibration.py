"""What a network's products multiply on calibration images: ranges over all images, whole factors of a few of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from dnas.data.preprocess import Preprocessing, prepare
from dnas.data.stream.images import within
from dnas.graph.parts import Node
from dnas.learning.evaluator import batch_size
from dnas.nn.gates import Layout, one_hot
from dnas.nn.supernet import Supernet, Variables
from dnas.ops.operator import WEIGHT
from dnas.space.space import Space
from dnas.train.setup import Setup

IMAGES = 1000
"""By default."""
SEARCHED = 32
"""Images, spread over all, on which steps are searched: each candidate runs a product on all of them."""
SAMPLED = 4096
"""Numbers of an activation that are kept of each batch."""
HELD = 1 << 28
"""Numbers of factors that are held together, about 1 GB."""

Form = Callable[[Array, Array], Array]


class Images(NamedTuple):
    """Calibration images, uint8, and how a network takes them."""

    all: np.ndarray
    few: np.ndarray
    preprocessing: Preprocessing

    def batches(self, side: int) -> Iterator[np.ndarray]:
        """Of one size; the last is filled up from the first."""
        size = min(batch_size(side), len(self.all))
        for start in range(0, len(self.all), size):
            yield self.all[np.arange(start, start + size) % len(self.all)]

    def shares(self, side: int) -> Iterator[np.ndarray]:
        """What each image of each batch counts in a mean over all images: nothing where it only fills up the last."""
        size = min(batch_size(side), len(self.all))
        for start in range(0, len(self.all), size):
            yield ((start + np.arange(size) < len(self.all)) / len(self.all)).astype(np.float32)

    def count(self, side: int) -> int:
        """Of the batches."""
        return -(-len(self.all) // min(batch_size(side), len(self.all)))


def drawn(setup: Setup, count: int | None) -> Images:
    """`count` training images at random, without augmentation and labels; all where there are fewer."""
    order = np.random.default_rng([setup.seed, 21]).permutation(np.sort(setup.train_index))
    images = within(setup.dataset.train_images, setup.train_index)[np.sort(order[: count or IMAGES])]
    few = images[np.linspace(0, len(images) - 1, min(SEARCHED, len(images))).round().astype(int)]
    return Images(images, few, setup.preprocessing)


@dataclass(frozen=True, eq=False)
class Seen:
    """Magnitudes of one array: the largest, and the numbers themselves or a sample of them.

    With channels, the last axis of `sample`, there is a largest one of each.
    """

    most: np.ndarray
    sample: np.ndarray


@dataclass(frozen=True, eq=False)
class Factors:
    """Of one product on some images, and what multiplies them."""

    form: Form
    x: Array
    w: Array


def runner(space: Space, preprocessing: Preprocessing) -> Callable[..., Any]:
    """`(products, taps) -> (variables, uint8 images) -> (logits, taps)` of a network."""
    gates, taken = one_hot(Layout(space.choices), {}), preprocessing.taken_at(space.resolution.value)

    def run(variables: Variables, images: Array, products: Any, taps: Sequence[str] = ()) -> Any:
        net = Supernet(space, products=products)
        return net.apply(variables, prepare(images, taken), gates, taps=tuple(taps))

    return run


def seen(
    space: Space, variables: Variables, images: Images, channelled: Mapping[str, bool], results: Sequence[str],
    progress: Callable[[int], None],
) -> tuple[dict[str, tuple[Seen, Seen]], dict[str, Seen]]:  # fmt: skip
    """Both factors of every product by path, and results, over all images: batch after batch, of which the largest
    magnitude and a sample are kept. Weights are kept whole; `channelled` says of which each channel counts."""
    run = runner(space, images.preprocessing)

    @jax.jit
    def of_batch(variables: Variables, batch: Array) -> Any:
        found = {}

        def note(path: str, form: Form, x: Array, w: Array) -> Array:
            found[path] = (_magnitudes(x), _magnitudes(w))
            return form(x, w)

        _, taps = run(variables, batch, note, results)
        return found, {path: _magnitudes(value) for path, value in taps.items()}

    batches = []
    for n, batch in enumerate(images.batches(space.resolution.value), 1):
        batches.append(jax.device_get(of_batch(variables, batch)))
        progress(n)
    factors = {
        path: (
            _together([batch[0][path][0] for batch in batches]),
            _whole(np.asarray(variables["params"][f"{path}.{WEIGHT}"])) if channelled[path]
            else _together([batch[0][path][1] for batch in batches]),
        )
        for path in batches[0][0]
    }  # fmt: skip
    return factors, {path: _together([batch[1][path] for batch in batches]) for path in batches[0][1]}


def _magnitudes(x: Array) -> tuple[Array, Array]:
    flat = x.reshape(-1)
    return jnp.max(jnp.abs(flat)), flat[places(flat.size)]


def places(size: int) -> np.ndarray:
    """Positions of a sample of at least `SAMPLED` numbers, or of all: one drawn from each of equal parts, since steps
    of one length may meet the same channels again and again."""
    part = max(1, size // SAMPLED)
    count = size // part
    return part * np.arange(count) + np.random.default_rng(0).integers(0, part, count)


def _together(parts: Sequence[tuple[np.ndarray, np.ndarray]]) -> Seen:
    return Seen(np.max([most for most, _ in parts]), np.concatenate([sample for _, sample in parts]))


def _whole(w: np.ndarray) -> Seen:
    return Seen(np.max(np.abs(w), axis=tuple(range(w.ndim - 1))), w)


def factors(space: Space, variables: Variables, images: Images, nodes: Sequence[Node]) -> Iterator[tuple[str, Factors]]:
    """The factors of every product on the few images, those of a few products held at a time."""
    run, sizes, forms = runner(space, images.preprocessing), dict[str, int](), dict[str, Form]()

    def sized(path: str, form: Form, x: Array, w: Array) -> Array:
        sizes[path], forms[path] = x.size + w.size, form
        return form(x, w)

    jax.eval_shape(lambda v, b: run(v, b, sized), variables, images.few)
    for paths in _groups([node.path for node in nodes], sizes):
        held = jax.jit(lambda v, b, paths=paths: _held(run, v, b, paths))(variables, images.few)
        for path in paths:
            yield path, Factors(forms[path], *held.pop(path))


def _groups(paths: Sequence[str], sizes: Mapping[str, int]) -> Iterator[tuple[str, ...]]:
    group, size = [], 0
    for path in paths:
        if group and size + sizes[path] > HELD:
            yield tuple(group)
            group, size = [], 0
        group.append(path)
        size += sizes[path]
    yield tuple(group)


def _held(run: Callable[..., Any], variables: Variables, batch: Array, paths: tuple[str, ...]) -> dict[str, Any]:
    found = {}

    def note(path: str, form: Form, x: Array, w: Array) -> Array:
        if path in paths:
            found[path] = (x, w)
        return form(x, w)

    run(variables, batch, note)
    return found
