"""An architecture as a flax module with its variables, for a training loop or a study of one's own."""

from __future__ import annotations

import os

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dnas.api.guard import guarded
from dnas.api.results import RunResult
from dnas.api.spaces import SpaceLike, at, load, result_for
from dnas.api.values import plain_arguments
from dnas.learning import weights as weight_files
from dnas.nn.gates import Layout, one_hot
from dnas.nn.supernet import Supernet, Variables, init
from dnas.process.seed import checked_seed
from dnas.space.space import Space

MOMENTUM = 0.9
"""Weight of former statistics in batch norms while training."""


class PlainNetwork(nn.Module):
    """Logits of an architecture.

        logits = module.apply(variables, images)
        logits, changed = module.apply(variables, images, train=True, mutable=["batch_stats"])

    Attributes:
        space: the architecture, at its input.
    """

    space: Space

    @nn.compact
    def __call__(self, images: Float[Array | np.ndarray, "N S S C"], train: bool = False) -> Float[Array, "N classes"]:
        """Logits of float32 images [N, S, S, C], normalised as the weights want them.

        With `train` batch norms use the batch's own statistics, and `batch_stats` are updated.
        """
        network = Supernet(self.space)
        nn.share_scope(self, network)
        gates = one_hot(Layout(self.space.choices), {})
        return network(jnp.asarray(images), gates, momentum=MOMENTUM if train else None)[0]


@plain_arguments
def build(
    architecture: SpaceLike | RunResult, *, weights: str | os.PathLike[str] | None = None, seed: int = 0,
    resolution: int | None = None, classes: int | None = None,
) -> tuple[PlainNetwork, Variables]:  # fmt: skip
    """Builds an architecture as a flax module with its variables.

    Args:
        architecture: a result, whose weights are taken, or what `dnas.load` takes.
        weights: a safetensors file; that beside the architecture if not given, random initial ones without any.
        seed: of the random initial weights.
        resolution: side of the images in pixels, in place of the architecture's own; for random weights alone.
        classes: number of classes, in place of the architecture's own; for random weights alone.

    Returns:
        The module, whose `module.space` says at which input it stands (that of the weights), and its variables:
        `{"params": {path: array}, "batch_stats": {path: array}}`.

    Raises:
        UserError: a space with choices, weights of another network, `resolution` or `classes` beside weights.
    """
    with guarded():
        seed = checked_seed(seed)
        result = result_for(architecture, weights)
        if result.weights is None or not (resolution is None and classes is None):
            network = load(at(result.space, resolution, classes))
            return PlainNetwork(network), init(network, jax.random.key(seed))
        return PlainNetwork(result.network), weight_files.load(result.weights, result.network)
