"""Mixing and covering images inside the compiled step: mixup, cutmix, random erasing, random crops.

All act on pixel values (0 to 255, float32) before any network's own preprocessing. An image's partner is its mirror in
the batch (the last for the first); batches are drawn at random, so that is a random pairing.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

Images = Float[Array, "N H W C"]


def mix(
    images: Images, key: PRNGKeyArray, mixup: float, cutmix: float, probability: float = 1.0, switch: float = 0.5
) -> tuple[Images, Float[Array, ""]]:
    """Images mixed with their partners, and the own label's share; both kinds are a mask of the own image's share.

    `mixup` and `cutmix` are the alphas of their Beta distributions, 0 for none; `switch` is the probability of cutmix
    where both are on; `probability` that of mixing at all. One draw for the whole batch.
    """
    if not (mixup or cutmix) or not probability:
        return images, jnp.ones(())
    size = (images.shape[1], images.shape[2])
    of_mixup, of_cutmix, of_kind, of_any = jax.random.split(key, 4)
    masks = []
    if mixup:
        masks.append(jnp.full(size, jax.random.beta(of_mixup, mixup, mixup)))
    if cutmix:
        masks.append(box_mask(of_cutmix, size, cutmix))
    mask = masks[0] if len(masks) == 1 else jnp.where(jax.random.bernoulli(of_kind, switch), masks[1], masks[0])
    mask = jnp.where(jax.random.bernoulli(of_any, probability), mask, 1.0)
    return blend(images, mask), jnp.mean(mask)


def blend(images: Images, mask: Float[Array, "H W"]) -> Images:
    """mask * image + (1 - mask) * partner."""
    weight = mask[None, :, :, None]
    return weight * images + (1 - weight) * images[::-1]


def box_mask(key: PRNGKeyArray, size: tuple[int, int], alpha: float) -> Float[Array, "H W"]:
    """0 inside a box of share 1 - Beta(alpha, alpha) of the image around a random centre, cut at the edges; 1 outside.

    The share of the label is the mask's mean, so a box that the edges cut is counted as it is (Yun et al. 2019).
    """
    of_share, of_row, of_column = jax.random.split(key, 3)
    root = jnp.sqrt(1 - jax.random.beta(of_share, alpha, alpha))
    inside = [_between(k, n, root) for k, n in ((of_row, size[0]), (of_column, size[1]))]
    return 1.0 - inside[0][:, None] * inside[1][None, :]


def _between(key: PRNGKeyArray, length: int, share: Float[Array, ""]) -> Float[Array, " length"]:
    """1 on the pixels of an interval of `share` of the length around a random pixel, 0 elsewhere."""
    centre, half = jax.random.randint(key, (), 0, length).astype(jnp.float32), jnp.floor(share * length / 2)
    place = jnp.arange(length, dtype=jnp.float32)
    return ((place >= centre - half) & (place < centre + half)).astype(jnp.float32)


def erase(images: Images, key: PRNGKeyArray, probability: float) -> Images:
    """A rectangle of 1/50 to 1/3 of the image, of aspect 0.3 to 3.3, filled with noise of the batch's statistics."""
    if not probability:
        return images
    count, height, width, _ = images.shape
    of_any, of_area, of_aspect, of_row, of_column, of_noise = jax.random.split(key, 6)
    area = jax.random.uniform(of_area, (count,), minval=0.02, maxval=1 / 3) * height * width
    aspect = jnp.exp(jax.random.uniform(of_aspect, (count,), minval=jnp.log(0.3), maxval=jnp.log(3.3)))

    def inside(key: PRNGKeyArray, length: int, extent: Array) -> Array:
        extent = jnp.clip(jnp.round(extent), 1, length)
        start = jnp.floor(jax.random.uniform(key, (count,)) * (length - extent + 1))
        place = jnp.arange(length, dtype=jnp.float32)[None]
        return (place >= start[:, None]) & (place < (start + extent)[:, None])

    rows = inside(of_row, height, jnp.sqrt(area * aspect))[:, :, None]
    columns = inside(of_column, width, jnp.sqrt(area / aspect))[:, None, :]
    chosen = jax.random.bernoulli(of_any, probability, (count, 1, 1))
    mean, spread = jnp.mean(images, (0, 1, 2)), jnp.std(images, (0, 1, 2))
    noise = mean + spread * jax.random.normal(of_noise, images.shape)
    return jnp.where((rows & columns & chosen)[..., None], noise, images)


def random_crop(images: Images, key: PRNGKeyArray, least_area: float, side: int) -> Float[Array, "N _ _ C"]:
    """Random crops of `least_area` to all of the image, of aspect 3/4 to 4/3, resized (bilinear) to `side`."""
    if least_area >= 1:
        return images
    count, height, width, _ = images.shape
    of_area, of_aspect, of_row, of_column = jax.random.split(key, 4)
    area = jax.random.uniform(of_area, (count,), minval=least_area, maxval=1.0)
    aspect = jnp.exp(jax.random.uniform(of_aspect, (count,), minval=jnp.log(3 / 4), maxval=jnp.log(4 / 3)))

    def weights(key: PRNGKeyArray, length: int, share: Array) -> Array:
        """[N, side, length]: as `preprocess.resize_weights`, for an interval of each image's own."""
        extent = jnp.minimum(share, 1.0) * length
        start = jax.random.uniform(key, (count,)) * (length - extent)
        ratio = (extent / side)[:, None]
        centres = start[:, None] + (jnp.arange(side, dtype=jnp.float32) + 0.5) * ratio - 0.5
        distance = jnp.abs(jnp.clip(centres, 0, length - 1)[:, :, None] - jnp.arange(length, dtype=jnp.float32))
        w = jnp.maximum(0.0, 1.0 - distance / jnp.maximum(ratio, 1.0)[:, :, None])
        return w / jnp.sum(w, -1, keepdims=True)

    rows = weights(of_row, height, jnp.sqrt(area * aspect))
    columns = weights(of_column, width, jnp.sqrt(area / aspect))
    x = jnp.einsum("noh,nhwc->nowc", rows, images, precision="highest")
    return jnp.einsum("npw,nowc->nopc", columns, x, precision="highest")
