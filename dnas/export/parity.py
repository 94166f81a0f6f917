"""One check for every export: the same random images through the plain network here and through what was exported."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dnas.errors import UserError
from dnas.maths.grids import grid_index
from dnas.nn.gates import Layout, one_hot
from dnas.nn.supernet import Supernet, Variables, init
from dnas.space.space import Space

LIMIT = 1e-4
"""Largest difference accepted, relative to the largest output."""
QUANTIZED_LIMIT, MANY = 0.02, 32
"""The same of a quantised network, on average over so many images: where a number lies between two of its grid,
rounding decides for one of them, and an output moves by a step."""


def forward(space: Space, variables: Variables, full: int | None = None) -> Callable[[Any], jax.Array]:
    """Images [N, S, S, C] -> logits of an architecture in evaluation mode, at full float32 precision.

    With `full`, S is that, and the network takes the rows and columns of its own side's grid.
    """
    gates = one_hot(Layout(space.choices), {})
    index = None if full is None else grid_index(space.resolution.value, full)

    def apply(images: Any) -> jax.Array:
        if index is not None:
            images = jnp.take(jnp.take(images, index, axis=1), index, axis=2)
        with jax.default_matmul_precision("highest"):
            return Supernet(space).apply(variables, images, gates)[0]  # type: ignore[index]

    return apply


def initial(space: Space, seed: int = 0) -> Variables:
    """Random initial weights with norm statistics of random images."""
    return settled(space, init(space, jax.random.key(seed)), seed)


def settled(space: Space, variables: Variables, seed: int = 0) -> Variables:
    """The variables with norm statistics of random images.

    Without those statistics activations grow from block to block, and squeeze-excite gates of such numbers amplify
    rounding a thousand times: no two runtimes would agree. Statistics of few numbers (the last maps may be single
    pixels) would leave some of that, hence many images where they are small, and variances of at least a tenth of a
    norm's mean variance.
    """
    gates = one_hot(Layout(space.choices), {})
    batch = min(128, max(16, (1 << 20) // space.resolution.value**2))
    x = images(space, batch, seed + 1)

    def moments(x: Any) -> Any:
        return Supernet(space).apply(variables, x, gates, momentum=0.0, mutable=["batch_stats"])[1]

    with _cpu():
        stats = jax.jit(moments)(x)["batch_stats"]
    floored = {n: jnp.maximum(v, 0.1 * jnp.mean(v)) if n.endswith(".var") else v for n, v in stats.items()}
    return {"params": variables["params"], "batch_stats": floored}


def images(space: Space, batch: int = 2, seed: int = 0, full: int | None = None) -> np.ndarray:
    """Random normal images of the architecture's own size, or of side `full`."""
    side = full or space.resolution.value
    return np.random.default_rng(seed).standard_normal((batch, side, side, space.channels)).astype(np.float32)


def reference(space: Space, variables: Variables, batch_images: np.ndarray, full: int | None = None) -> np.ndarray:
    """Logits of the plain network, computed on this machine's CPU."""
    with _cpu():
        return np.asarray(jax.jit(forward(space, variables, full))(jnp.asarray(batch_images)))


def limit_of(space: Space) -> float:
    """Difference accepted between an architecture and its export, relative to the largest output."""
    return QUANTIZED_LIMIT if space.quantization else LIMIT


def difference(found: np.ndarray, wanted: np.ndarray) -> float:
    """Largest absolute difference over the largest absolute output."""
    if found.shape != wanted.shape:
        raise UserError(f"the export gives outputs of shape {found.shape}, the network of {wanted.shape}")
    return float(np.max(np.abs(found - wanted)) / max(float(np.max(np.abs(wanted))), 1e-30))


def mean_difference(found: np.ndarray, wanted: np.ndarray) -> float:
    """The mean absolute difference over the largest absolute output."""
    if found.shape != wanted.shape:
        raise UserError(f"the export gives outputs of shape {found.shape}, the network of {wanted.shape}")
    return float(np.mean(np.abs(found - wanted)) / max(float(np.max(np.abs(wanted))), 1e-30))


def check(
    space: Space, variables: Variables, run: Callable[[np.ndarray], Any], what: str, batch: int = 2,
    full: int | None = None,
) -> float:  # fmt: skip
    """The difference between the network and `run` (images [N, H, W, C] -> logits); refuses one above `limit_of`.

    `full` is the side of what `run` is given, where that is not the network's own (see `forward`).
    """
    x = images(space, MANY if space.quantization else batch, full=full)
    wanted, limit = reference(space, variables, x, full), limit_of(space)
    apart = mean_difference if space.quantization else difference
    found = apart(np.concatenate([np.asarray(run(x[n : n + batch])) for n in range(0, len(x), batch)]), wanted)
    if not found <= limit:
        moved = apart(reference(space, variables, x * np.float32(1 + 1e-6), full), wanted)
        raise UserError(
            f"{space.source}: the {what} export differs from the network by {found:.2e} of the largest output "
            f"(accepted: at most {limit:.0e}); nothing was written. The network itself moves by {moved:.2e} when its "
            "input is scaled by 1 + 1e-6: where that is as much, its weights amplify rounding"
        )
    return found


def _cpu() -> Any:
    return jax.default_device(jax.local_devices(backend="cpu")[0])
