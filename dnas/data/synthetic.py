"""Tasks planted on purpose: on each, one option of a search space is right for a reason that can be proved.

A search that works must find it. All are numpy only and a pure function of their arguments. `count` is the number of
training images; the test split has a quarter as many. Images are uint8 [N, side, side, 1], classes are balanced.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from dnas.data.build import build
from dnas.data.dataset import Dataset

_DIRECTIONS = ((0, 1), (1, 0), (1, 1), (1, -1))
_NOISE, _LABELS, _HIDDEN = range(3)

Images = Callable[[int, np.ndarray], np.ndarray]
"""(part: 0 train or 1 test, labels [N]) -> images [N, side, side] of about unit deviation."""


def needs_large_kernel(seed: int, count: int = 2000, side: int = 16, classes: int = 2, distance: int = 3) -> Dataset:
    """Noise whose classes differ in the direction in which pixels `distance` apart are correlated (by 1/2).

    Why a smaller kernel fails: an image is Gaussian, x(p) = (e(p) + e(p - distance * direction)) / sqrt(2) on a torus,
    so pixels closer than `distance` along both axes are independent. A window of at most `distance` pixels a side has
    exactly the same distribution in every class, and so has the mean over the image of any function of such windows
    (its variance too: a direction only renames which window repeats which). With the default 3, one layer of
    3x3 convolutions, pointwise layers, global pooling and a linear classifier is at chance; 5x5 sees it. What counts is
    the receptive field before pooling: two stacked 3x3 layers reach 5 pixels, so give such a network distance 5.

    Raises:
        ValueError: classes not in 2..4, or a distance that does not fit the side.
    """
    _check(classes, 4)
    if not 1 <= distance * 4 <= side:
        raise ValueError(f"distance {distance} does not fit side {side}: at most a quarter of it")

    def images(part: int, labels: np.ndarray) -> np.ndarray:
        noise = _random(seed, part, _NOISE).standard_normal((len(labels), side, side))
        shifted = np.empty_like(noise)
        for label, (down, right) in enumerate(_DIRECTIONS[:classes]):
            of = labels == label
            shifted[of] = np.roll(noise[of], (distance * down, distance * right), axis=(1, 2))
        return (noise + shifted) / np.sqrt(2)

    return _dataset("needs_large_kernel", seed, count, classes, images)


def needs_high_resolution(
    seed: int, count: int = 2000, side: int = 32, classes: int = 2, smaller: Sequence[int] | None = None
) -> Dataset:
    """Noise whose classes differ in the direction of its finest texture, held by pixels that low resolutions drop.

    A resolution option r takes the pixels floor(i * side / r). Every pixel that some option of `smaller` (default: half
    and three quarters of `side`) takes is independent noise, whatever the label; the others copy their left, upper or a
    diagonal neighbour, according to the class. So at a side in `smaller` the images carry no information at all about
    the class, for any network; at the full side neighbouring pixels are visibly correlated. The property holds only
    where these images are the network's input at its full side: never resize them first. A side that is not in
    `smaller` may keep some of the copies.

    Raises:
        ValueError: classes not in 2..4, a side in `smaller` out of 1..side-1, or sides that together drop less than
            15 % of the pixels.
    """
    _check(classes, 4)
    smaller = (side // 2, side * 3 // 4) if smaller is None else smaller
    taken = np.zeros((side, side), dtype=bool)
    for r in smaller:
        if not 1 <= r < side:
            raise ValueError(f"smaller side {r} is not in 1..{side - 1}")
        grid = np.arange(r) * side // r
        taken[np.ix_(grid, grid)] = True
    if taken.mean() > 0.85:
        raise ValueError(f"sides {tuple(smaller)} together keep {taken.mean():.0%} of the pixels of side {side}")

    def images(part: int, labels: np.ndarray) -> np.ndarray:
        result = _random(seed, part, _NOISE).standard_normal((len(labels), side, side))
        rows, columns = np.nonzero(~taken)
        for label, (down, right) in enumerate(_DIRECTIONS[:classes]):
            of = np.flatnonzero(labels == label)
            for i, j in zip(rows, columns, strict=True):  # in reading order: a copy of a copy is a copy of its source
                if i >= down and 0 <= j - right < side:
                    result[of, i, j] = result[of, i - down, j - right]
        return result

    return _dataset("needs_high_resolution", seed, count, classes, images)


def needs_global_statistic(seed: int, count: int = 2000, side: int = 32, gap: int = 8) -> Dataset:
    """Two classes: the exclusive-or of a texture in the left part with the brightness of the right part.

    Left are stripes, horizontal or vertical (with random phase); right is an even field, dark or bright; between them
    lie `gap` columns of neither; noise lies over all. Why local features fail: a window of at most gap + 1 pixels
    sees one part only, so any function of windows, averaged over the image, is A(texture) + B(brightness) plus noise.
    No linear classifier on such sums expresses exclusive-or: its cross-entropy cannot fall below log 2 (a threshold can
    still be right on three of the four combinations: 75 %). Squeeze-and-excite multiplies the texture's channels by a
    function of the mean brightness, which is what is needed. Holds for networks whose receptive field before pooling is
    at most gap + 1 pixels and whose classifier after pooling is linear.

    Raises:
        ValueError: a gap that leaves fewer than 4 columns on each side.
    """
    wide = (side - gap) // 2
    if gap < 0 or wide < 4:
        raise ValueError(f"gap {gap} does not fit side {side}: 4 columns must be left on each side")

    def images(part: int, labels: np.ndarray) -> np.ndarray:
        n = len(labels)
        hidden = _random(seed, part, _HIDDEN)
        phase = hidden.integers(0, 2, (n, 1, 1))
        bright = np.zeros(n, dtype=np.int64)
        for label in (0, 1):  # the four combinations are equally frequent
            of = np.flatnonzero(labels == label)
            bright[of] = hidden.permutation(len(of)) % 2
        vertical = (labels ^ bright)[:, None, None] == 1
        row, column = np.arange(side)[None, :, None], np.arange(wide)[None, None, :]
        result = 0.5 * _random(seed, part, _NOISE).standard_normal((n, side, side))
        result[:, :, :wide] += 1 - 2 * ((np.where(vertical, column, row) + phase) % 2)
        result[:, :, -wide:] += (2 * bright - 1)[:, None, None]
        return result

    return _dataset("needs_global_statistic", seed, count, 2, images)


def needs_late_global_statistic(seed: int, count: int = 2000, side: int = 24, gap: int = 8) -> Dataset:
    """Two classes: whether exactly one of the left and the right part has vertical stripes, or none or both.

    Each part has stripes, vertical or horizontal (with random phase), under noise; between them lie `gap` columns
    without. As in `needs_global_statistic`, an average of functions of windows of at most gap + 1 pixels is an affine
    function of the number of vertical parts, and no linear classifier on such averages separates one from none and two:
    squeeze-and-excite, or anything else global, is needed. (Both are vertical in 30 % of the images of their class
    only: a linear classifier is right on at most 85 %, and has something to begin with.) But half of the pixels of any
    stripes are bright and half are dark, so single pixels have the same distribution in all images: before the first
    operator that sees more than one pixel, global statistics say nothing of the label, and what is global is useless.

    Raises:
        ValueError: an odd side, or a gap that leaves fewer than 4 columns on each side.
    """
    wide = (side - gap) // 4 * 2
    if gap < 0 or wide < 4:
        raise ValueError(f"gap {gap} does not fit side {side}: 4 columns must be left on each side")
    if side % 2:
        raise ValueError(f"side {side} is odd: stripes would not be bright and dark in equal parts")

    def images(part: int, labels: np.ndarray) -> np.ndarray:
        n = len(labels)
        hidden = _random(seed, part, _HIDDEN)
        phases = hidden.integers(0, 2, (2, n, 1, 1))
        left = np.where(hidden.random(n) < np.where(labels == 1, 0.5, 0.3), 1, 0)
        row, column = np.arange(side)[None, :, None], np.arange(wide)[None, None, :]
        result = 0.5 * _random(seed, part, _NOISE).standard_normal((n, side, side))
        for vertical, phase, columns in (
            (left, phases[0], slice(None, wide)), (left ^ labels, phases[1], slice(-wide, None)),
        ):  # fmt: skip
            stripes = np.where(vertical[:, None, None] == 1, column, row) + phase
            result[:, :, columns] += 1 - 2 * (stripes % 2)
        return result

    return _dataset("needs_late_global_statistic", seed, count, 2, images)


def needs_large_window(seed: int, count: int = 2000, window: int = 4) -> Dataset:
    """Two classes of the same bright and dark squares, laid out so that they agree within twice their side or do not.

    An image has four cells of four squares, each `window` pixels a side, under noise. Of class 1 two cells are bright
    and two are dark; of class 0 every cell has two bright squares and two dark ones. Why windows that are squares fail:
    in every image eight squares are bright and eight are dark, so any function of the aligned windows, averaged over
    the image, has the same distribution in both classes. Windows of twice the side are the cells, whose mean brightness
    tells. Holds for networks that mix pixels within aligned windows alone, and then average.
    """

    def images(part: int, labels: np.ndarray) -> np.ndarray:
        signs = _cells(seed, part, labels, np.repeat([1, -1], 2))
        squares = _squares(signs, window)
        return squares + 0.5 * _random(seed, part, _NOISE).standard_normal(squares.shape)

    return _dataset("needs_large_window", seed, count, 2, images)


def needs_shifted_window(seed: int, count: int = 2000, window: int = 4) -> Dataset:
    """The cells of `needs_large_window`, each as large as a window and half of one off, inside a frame.

    Of class 1 each cell is bright or dark as a coin falls; of class 0 every cell has two bright squares and two dark
    ones. Why one layer of aligned windows fails: a window holds at most one square of each cell, which are independent
    coins in both classes, so functions of windows, averaged over the image, have the same mean in both; a linear
    classifier can tell them apart by their spread alone (right on two of three images at most). A second layer, of
    windows shifted by half, has the cells for windows.

    Raises:
        ValueError: an odd window.
    """
    if window % 2:
        raise ValueError(f"window {window} is odd: half of it must be whole pixels")

    def images(part: int, labels: np.ndarray) -> np.ndarray:
        coins = _random(seed, part, _HIDDEN + 1).choice([-1, 1], (len(labels), 4))
        inner = _squares(_cells(seed, part, labels, coins), window // 2)
        framed = np.pad(inner, ((0, 0), *[(window // 2, window // 2)] * 2))
        return framed + 0.5 * _random(seed, part, _NOISE).standard_normal(framed.shape)

    return _dataset("needs_shifted_window", seed, count, 2, images)


def _cells(seed: int, part: int, labels: np.ndarray, signs: np.ndarray) -> np.ndarray:
    """[N, 4, 4]: the signs of the squares of each cell. Of class 1 a cell's are one of `signs`, which come in random
    order; of class 0 they are two and two, in random order."""
    hidden = _random(seed, part, _HIDDEN)
    one = hidden.permuted(np.broadcast_to(signs, (len(labels), 4)), axis=1)[:, :, None].repeat(4, axis=2)
    none = hidden.permuted(np.broadcast_to([1, 1, -1, -1], (len(labels), 4, 4)), axis=2)
    return np.where(labels[:, None, None] == 1, one, none)


def _squares(signs: np.ndarray, side: int) -> np.ndarray:
    """[N, 4 side, 4 side]: two rows of two cells, each of two rows of two squares."""
    grid = signs.reshape(-1, 2, 2, 2, 2).transpose(0, 1, 3, 2, 4).reshape(-1, 4, 4)
    return grid.repeat(side, axis=1).repeat(side, axis=2).astype(np.float64)


def plain(seed: int, count: int = 2000, side: int = 16, classes: int = 4) -> Dataset:
    """Classes are levels of brightness under noise: the mean of the image, one number, is all there is to know.

    One channel, averaged and read by a linear classifier, orders the classes; a wider, larger or deeper network has
    nothing to add, so under any cost pressure the smallest options are right.

    Raises:
        ValueError: classes not in 2..10.
    """
    _check(classes, 10)

    def images(part: int, labels: np.ndarray) -> np.ndarray:
        level = np.linspace(-1.5, 1.5, classes)[labels][:, None, None]
        return level + 0.5 * _random(seed, part, _NOISE).standard_normal((len(labels), side, side))

    return _dataset("plain", seed, count, classes, images)


def _check(classes: int, highest: int) -> None:
    if not 2 <= classes <= highest:
        raise ValueError(f"{classes} classes, accepted: 2 to {highest}")


def _random(seed: int, part: int, purpose: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, part, purpose))))


def _dataset(name: str, seed: int, count: int, classes: int, images: Images) -> Dataset:
    """Balanced labels in random order, images brought to uint8."""
    pairs = []
    for part, size in enumerate((count, max(count // 4, classes))):
        labels = (_random(seed, part, _LABELS).permutation(size) % classes).astype(np.int32)
        values = np.rint(127.5 + 40 * images(part, labels))
        pairs.append((np.clip(values, 0, 255).astype(np.uint8), labels))
    return build(f"synthetic {name}", name, pairs[0], pairs[1])
