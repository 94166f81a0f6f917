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
    """Omega_l(b) = diversity(attention map or feature of part l) ||Z^_l(b) - Z||^2, [parts, bits], for logits Z: means
    over the few images, with part l alone quantised, by the steps of least squared error.

    The paper takes the error of the part's own feature, and its nuclear norm as it is. Those of an attention map and of
    a feature have no common scale, nor have errors before and after further blocks, and bits chosen so are worse than
    the same bits everywhere. Errors of logits add up over parts.
    """
    run, products = runner(space, images.preprocessing), [node.path for part in parts for node in part.products]
    taps = [part.map_of or part.output for part in parts]

    @jax.jit
    def tapped(variables: Variables, batch: Array, steps: Any, at: dict[str, Array]) -> tuple[Array, dict[str, Array]]:
        def rounded(path: str, form: Form, *both: Array) -> Array:
            b = at[path]
            return form(*(jnp.where(b > 0, whole(y, s, b) * s, y) for y, s in zip(both, steps[path], strict=True)))

        return run(variables, batch, rounded, taps)

    def steps_at(b: int) -> dict[str, Any]:
        return {path: tuple(alone("mse", of, b) for of in factors[path]) for path in products}

    steps = {b: steps_at(b) for b in bits}
    off = dict.fromkeys(products, np.float32(0))
    plain, features = jax.device_get(tapped(variables, images.few, steps[bits[0]], off))
    diversities = [diversity(features[path], part.map_of is not None) for path, part in zip(taps, parts, strict=True)]
    found = np.zeros((len(parts), len(bits)))
    for n, part in enumerate(parts):
        for m, b in enumerate(bits):
            own = off | {node.path: np.float32(b) for node in part.products}
            logits = np.asarray(tapped(variables, images.few, steps[b], own)[0], np.float64)
            found[n, m] = diversities[n] * np.sum((logits - plain) ** 2) / len(logits)
            progress(n * len(bits) + m + 1)
    return found


def diversity(feature: np.ndarray, is_map: bool) -> float:
    """The nuclear norm over the Frobenius norm, from 1 to the root of the rank, on average over the matrices of an
    attention map, or of a feature as a matrix of positions and channels."""
    few = feature[:NORMED]
    matrices = few.reshape(-1, *few.shape[-2:]) if is_map else few.reshape(len(few), -1, few.shape[-1])
    lengths = np.maximum(np.linalg.norm(matrices, axis=(1, 2)), 1e-30)
    return float(np.mean(np.asarray(nuclear_norm(jnp.asarray(matrices))) / lengths))


def allotted(sensitivity: np.ndarray, sizes: np.ndarray, limit: int, rest: int = 0) -> list[int]:
    """Index of the bits of each part: the least sum of sensitivities with sizes and `rest` together at most `limit`.

    Arguments are [parts, bits]. Exact: the solver proves that no other choice is better.

    Raises `InputError` where nothing is so small.
    """
    least, largest = int(sizes.min(1).sum()) + rest, max(float(sensitivity.max()), 1e-300)
    if least > limit:
        found, accepted = f"{limit:,} bytes", f"at least {least:,} bytes"
        raise InputError("--budget", "too small for these bits", found=found, accepted=accepted)
    choices = [Choice(f"part {n}", tuple(range(sizes.shape[1]))) for n in range(len(sizes))]
    scores = [
        Quantity((c,), -np.asarray(row, np.float64) / largest) for c, row in zip(choices, sensitivity, strict=True)
    ]
    cost = tuple(Product(Quantity((c,), np.asarray(row))) for c, row in zip(choices, sizes, strict=True))
    found = most_probable(scores, [cost], [float(limit - rest)], fill=0.0)
    return [found.assignment[c.name] for c in choices]
