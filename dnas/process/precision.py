"""In which numbers the steps of a search or a training compute.

`bfloat16` is for activations and the factors of products. Parameters, optimisers, statistics and arithmetic of norms,
softmax, gates, costs and losses are float32 whatever is chosen, and so is everything that evaluates a network.
"""

from __future__ import annotations

from typing import Literal, get_args

from dnas.errors import InputError

Precision = Literal["float32", "bfloat16"]
BYTES: dict[Precision, int] = {"float32": 4, "bfloat16": 2}
"""Of a number."""


def chosen(asked: Precision | None) -> Precision:
    """What is asked for; if nothing is, float32 on CPUs, which have no products of bfloat16, and bfloat16 elsewhere.

    Raises `InputError` for another word.
    """
    if asked is None:
        import jax

        return "float32" if jax.default_backend() == "cpu" else "bfloat16"
    known(asked)
    return asked


def known(asked: Precision | None) -> Precision | None:
    """What is asked for, None if nothing is: for those who compute elsewhere. Raises `InputError` for another word."""
    if asked is not None and asked not in get_args(Precision):
        raise InputError("--precision", "unknown", found=asked, accepted=", ".join(get_args(Precision)))
    return asked
