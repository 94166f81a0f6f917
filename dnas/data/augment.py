"""Light augmentation inside the compiled step: a random shift and a random mirror image, drawn for each example."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def augment(images: jax.Array, key: jax.Array, crop_padding: int, flip: bool) -> jax.Array:
    """Shift and mirror images [N, S, S, C] of any type; the same key gives the same result.

    The shift is a crop from the image padded on every side with `crop_padding` copies of its edge pixels, uniform over
    -crop_padding..crop_padding in both directions; `flip` mirrors left and right with probability 1/2. Both are static.
    """
    count, height, width, _ = images.shape
    key_rows, key_columns, key_flip = jax.random.split(key, 3)

    def places(key: jax.Array, length: int) -> jax.Array:
        """Source positions, int32 [N, length]: a padded crop is a clipped shift."""
        shift = jax.random.randint(key, (count, 1), -crop_padding, crop_padding + 1)
        return jnp.clip(jnp.arange(length)[None] + shift, 0, length - 1)

    rows, columns = places(key_rows, height), places(key_columns, width)
    if flip:
        mirrored = jax.random.bernoulli(key_flip, shape=(count, 1))
        columns = jnp.where(mirrored, columns[:, ::-1], columns)
    return jax.vmap(lambda image, r, c: image[r][:, c])(images, rows, columns)
