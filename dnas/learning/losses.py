"""Losses of a network that learns: cross-entropy against soft targets, and what a teacher adds."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int

from dnas.learning.terms import Pass, Taps, Term


def targets(
    labels: Int[ArrayLike, " N"], classes: int, smoothing: float = 0.0, share: Float[Array, ""] | float = 1.0
) -> Float[Array, "N classes"]:
    """Target probabilities: `share` of the own label and the rest of the partner's, which is the batch reversed.

    Label smoothing (Szegedy et al. 2016) spreads `smoothing` evenly over all classes, the right one included.
    """
    hot = jax.nn.one_hot(labels, classes)
    mixed = share * hot + (1 - share) * hot[::-1]
    return (1 - smoothing) * mixed + smoothing / classes


def cross_entropy(logits: Float[Array, "N classes"], target: Float[Array, "N classes"]) -> Float[Array, ""]:
    """Mean of -sum_c t_c log p_c."""
    return -jnp.mean(jnp.sum(target * jax.nn.log_softmax(logits), -1))


def soft_distillation(
    logits: Float[Array, "N classes"], teacher: Float[Array, "N classes"], temperature: float
) -> Float[Array, ""]:
    """T^2 KL(teacher || student) of probabilities softened by T (Hinton et al. 2015); T^2 keeps gradients in scale."""
    log_p, log_q = jax.nn.log_softmax(teacher / temperature), jax.nn.log_softmax(logits / temperature)
    return temperature**2 * jnp.mean(jnp.sum(jnp.exp(log_p) * (log_p - log_q), -1))


def hard_distillation(
    logits: Float[Array, "N classes"], teacher: Float[Array, "N classes"], temperature: float = 1.0
) -> Float[Array, ""]:
    """Cross-entropy against the teacher's first guess (Touvron et al. 2021, eq. 3)."""
    return cross_entropy(logits, jax.nn.one_hot(jnp.argmax(teacher, -1), teacher.shape[-1]))


DISTILLATION = {"soft": soft_distillation, "hard": hard_distillation}


def of_labels(weight: float = 1.0) -> Term:
    """Cross-entropy against the targets."""
    return Term("cross_entropy", weight, Taps(), lambda p: cross_entropy(p.student.logits, p.targets))


def of_teacher(kind: str, weight: float, temperature: float) -> Term:
    """What a teacher's scores ask for; `kind` is one of `DISTILLATION`."""

    def distillation(p: Pass) -> Float[Array, ""]:
        assert p.teacher is not None
        return DISTILLATION[kind](p.student.logits, p.teacher.logits, temperature)

    return Term(f"{kind}_distillation", weight, Taps(), distillation)
