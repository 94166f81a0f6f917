"""How much the parts of a network suffer from few bits by the nuclear norm of their features (Liu et al. 2021,
"Post-training quantization for vision transformer"), and bits within a budget."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from dnas.compress.calibration import Form, Images, Seen, runner
from dnas.compress.products import Part
from dnas.compress.scales import alone
from dnas.errors import InputError
from dnas.maths.quantize import nuclear_norm, whole
from dnas.nn.supernet import Variables
from dnas.solve.constrained import most_probable
from dnas.space.quantity import Choice, Product, Quantity
from dnas.space.space import Space

NORMED = 8
"""Images whose singular values are computed."""


def sensitivities(
    space: Space, variables: Variables, images: Images, parts: Sequence[Part],
    factors: Mapping[str, tuple[Seen, Seen]], bits: Sequence[int], progress: Callable[[int], None],
) -> np.ndarray:  # fmt: skip
    """Omega_l(b) = ||attention map or feature of part l||_* ||Y^_l(b) - Y_l||^2, [parts, bits]: means over the
    few images, with part l alone quantised, by the steps of least squared error."""
    run, products = runner(space, images.preprocessing), [node.path for part in parts for node in part.products]
    taps = [path for part in parts for path in (part.output, part.map_of) if path is not None]

    @jax.jit
    def tapped(variables: Variables, batch: Array, steps: Any, at: dict[str, Array]) -> dict[str, Array]:
        def rounded(path: str, form: Form, *both: Array) -> Array:
            b = at[path]
            return form(*(jnp.where(b > 0, whole(y, s, b) * s, y) for y, s in zip(both, steps[path], strict=True)))

        return run(variables, batch, rounded, taps)[1]

    def steps_at(b: int) -> dict[str, Any]:
        return {path: tuple(alone("mse", of, b) for of in factors[path]) for path in products}

    steps = {b: steps_at(b) for b in bits}
    off = dict.fromkeys(products, np.float32(0))
    plain = jax.device_get(tapped(variables, images.few, steps[bits[0]], off))
    norms = [_norm(plain[part.map_of or part.output]) for part in parts]
    found = np.zeros((len(parts), len(bits)))
    for n, part in enumerate(parts):
        for m, b in enumerate(bits):
            own = off | {node.path: np.float32(b) for node in part.products}
            feature = np.asarray(tapped(variables, images.few, steps[b], own)[part.output], np.float64)
            found[n, m] = norms[n] * np.sum((feature - plain[part.output]) ** 2) / len(feature)
            progress(n * len(bits) + m + 1)
    return found


def _norm(feature: np.ndarray) -> float:
    """The mean nuclear norm over images of an attention map, or of a feature as a matrix of positions and channels."""
    few = feature[:NORMED]
    matrices = few if few.ndim >= 4 and few.shape[-2] == few.shape[-1] else few.reshape(len(few), -1, few.shape[-1])
    return float(jnp.mean(nuclear_norm(jnp.asarray(matrices))))


def allotted(sensitivity: np.ndarray, sizes: np.ndarray, limit: int, rest: int = 0) -> list[int]:
    """Index of the bits of each part: the least sum of sensitivities with sizes and `rest` together at most `limit`.

    Arguments are [parts, bits]. Exact: the solver proves that no other choice is better.

    Raises `InputError` where nothing is so small.
    """
    least, largest = int(sizes.min(1).sum()) + rest, max(float(sensitivity.max()), 1e-300)
    if least > limit:
        raise InputError("--budget", "too small for these bits", found=f"{limit:,}", accepted=f"at least {least:,}")
    choices = [Choice(f"part {n}", tuple(range(sizes.shape[1]))) for n in range(len(sizes))]
    scores = [
        Quantity((c,), -np.asarray(row, np.float64) / largest) for c, row in zip(choices, sensitivity, strict=True)
    ]
    cost = tuple(Product(Quantity((c,), np.asarray(row))) for c, row in zip(choices, sizes, strict=True))
    found = most_probable(scores, [cost], [float(limit - rest)], fill=0.0)
    return [found.assignment[c.name] for c in choices]
