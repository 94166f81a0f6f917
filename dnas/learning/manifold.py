"""Distillation of the manifold of a teacher's patches (Hao et al. 2022): how alike patches are to one another, in three
tables that fit in memory, in place of one of all patches of a batch.

Features are compared by their similarities alone, so that student and teacher may have any widths.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from dnas.errors import InputError
from dnas.graph import graph_of
from dnas.learning.terms import Pass, Taps, Term
from dnas.ops.tensor import CHANNELS, COLUMNS, ROWS, TOKENS, Tensor, leaves
from dnas.ops.tokens import ClassToken
from dnas.space.space import Space

Patches = Float[Array, "B N channels"]
Similarity = Callable[[Patches], Array]


class Pair(NamedTuple):
    """Paths of a block of the student and one of the teacher whose features are compared."""

    student: str
    teacher: str


class Weights(NamedTuple):
    """Of the three terms."""

    intra: float
    inter: float
    random: float


def patches(value: Array, extra: int = 0) -> Patches:
    """Vectors of length 1, of a map's pixels [B, H, W, C], or of tokens [B, N, C] without `extra` ones before them."""
    rows = value[:, extra:] if value.ndim == 3 else value.reshape(value.shape[0], -1, value.shape[-1])
    # Not by the norm, whose gradient is no number where a patch is zero, as behind a ReLU.
    return rows * jax.lax.rsqrt(jnp.maximum(jnp.sum(jnp.square(rows), axis=-1, keepdims=True), 1e-24))


def intra_image(x: Patches) -> Float[Array, "B N N"]:
    """Of the patches of each image (eq. 6)."""
    return jnp.einsum("bnd,bmd->bnm", x, x)


def inter_image(x: Patches) -> Float[Array, "N B B"]:
    """Of the images at each position (eq. 7)."""
    return jnp.einsum("bnd,cnd->nbc", x, x)


def random_patches(x: Patches, chosen: Int[Array, " K"]) -> Float[Array, "K K"]:
    """Of some of all patches of the batch (eq. 8)."""
    some = x.reshape(-1, x.shape[-1])[chosen]
    return some @ some.T


def distance(
    similarity: Similarity, student: Float[Array, "B N student"], teacher: Float[Array, "B N teacher"]
) -> Float[Array, ""]:
    """Mean squared difference of similarities. The paper writes a Frobenius norm; its code takes the mean, as here."""
    return jnp.mean(jnp.square(similarity(teacher) - similarity(student)))


def of_manifold(student: Space, teacher: Space, pairs: Sequence[Pair], weights: Weights, samples: int) -> list[Term]:
    """The three terms, each the mean over the pairs; `samples` patches are drawn for the third."""
    extra = _class_tokens(student), _class_tokens(teacher)
    taps = Taps(tuple(pair.student for pair in pairs), tuple(pair.teacher for pair in pairs))

    def mean(p: Pass, similarity: Callable[[int, Patches], Array]) -> Float[Array, ""]:
        assert p.teacher is not None
        found = []
        for n, pair in enumerate(pairs):
            ours = patches(_main(p.student.taps[pair.student]), extra[0])
            theirs = patches(_main(p.teacher.taps[pair.teacher]), extra[1])
            found.append(distance(lambda x, n=n: similarity(n, x), ours, theirs))
        return jnp.mean(jnp.stack(found))

    def random(p: Pass) -> Float[Array, ""]:
        key = p.key
        assert key is not None

        def of_some(n: int, x: Patches) -> Array:
            count = x.shape[0] * x.shape[1]
            order = jax.random.permutation(jax.random.fold_in(key, n), count)
            return random_patches(x, order[: min(samples, count)])

        return mean(p, of_some)

    return [
        Term("manifold_intra", weights.intra, taps, lambda p: mean(p, lambda n, x: intra_image(x))),
        Term("manifold_inter", weights.inter, taps, lambda p: mean(p, lambda n, x: inter_image(x))),
        Term("manifold_random", weights.random, taps, random),
    ]


def pairs_of(student: Space, teacher: Space, ends: int) -> list[Pair]:
    """Blocks that read and give equally many patches: of each number of patches the first `ends` and the last `ends`
    ones of both networks, in their order (the published pairs are those of four at each end). Where one network has
    fewer, all of its are paired: half with the other's first, half with its last.

    Raises:
        InputError: no block of the student has as many patches as one of the teacher.
    """
    ours, theirs = _by_patches(student), _by_patches(teacher)
    found = [pair for count in ours if count in theirs for pair in _ends(ours[count], theirs[count], ends)]
    if not found:
        raise InputError(
            f"{student.source}: its features have {_numbers(ours)} patches",
            "none of the teacher's has as many, so their manifolds cannot be compared",
            found=f"{_numbers(theirs)} of {teacher.source}", accepted="a teacher, or an --image-size, of as many",
        )  # fmt: skip
    return found


def _ends(ours: Sequence[str], theirs: Sequence[str], ends: int) -> list[Pair]:
    shared = min(len(ours), len(theirs), 2 * ends)
    last = shared - shared // 2
    return [Pair(ours[n], theirs[n]) for n in (*range(shared - last), *range(-last, 0))]


def _by_patches(space: Space) -> dict[int, list[str]]:
    """Number of patches -> paths of the blocks whose features have so many, in their order; none that hands on what it
    reads."""
    extra, found = _class_tokens(space), dict[int, list[str]]()
    for use in graph_of(space).uses:
        before, after = leaves(use.input)[0], use.main
        count = _count(after, extra)
        if after is not before and count > 1 and before.names == after.names and _count(before, extra) == count:
            found.setdefault(count, []).append(use.path)
    return found


def _count(x: Tensor, extra: int) -> int:
    """Patches of a map or of tokens; 0 of anything else."""
    sizes = {axis.name: axis.length for axis in x.axes}
    if sizes.keys() == {ROWS, COLUMNS, CHANNELS}:
        return sizes[ROWS] * sizes[COLUMNS]
    return sizes[TOKENS] - extra if sizes.keys() == {TOKENS, CHANNELS} else 0


def _class_tokens(space: Space) -> int:
    """Learned tokens before the patches."""
    return sum(n.operator.count for n in graph_of(space).nodes if isinstance(n.operator, ClassToken))


def _main(value: Any) -> Array:
    """Of several tensors that a block gives, the one that costs speak of."""
    return jax.tree.leaves(value)[0]


def _numbers(of: dict[int, list[str]]) -> str:
    return " or ".join(map(str, sorted(of))) or "no"
