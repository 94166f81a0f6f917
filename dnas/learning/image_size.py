"""The side, in pixels, at which images are given to a network: the only place that decides it.

Image files are decoded at that very side. Arrays have a side of their own, and are resized where the network takes
another one. Small images are raised to twice a network's total stride, so that maps do not shrink to one pixel.
"""

from __future__ import annotations

from dnas.data.image_side import OPTION
from dnas.data.load import Source
from dnas.graph import Graph, graph_of
from dnas.space.space import Space

ANOTHER = f"{OPTION} for another"


def total_stride(space: Space, walked: Graph) -> int:
    """Input side over the side of the last map, rounded up."""
    sides = [use.side_in.max() for use in walked.uses if use.side_in is not None]
    return -(-space.resolution.max() // max(1, min(sides)))


def proxy_side(space: Space, walked: Graph, data_side: int) -> int:
    """Side at which images of `data_side` are given: at least twice the total stride, at most the space's own."""
    return min(space.resolution.max(), max(data_side, 2 * total_stride(space, walked)))


def search_side(space: Space, source: Source, asked: int | None, largest: int | None) -> tuple[int, str]:
    """The side of a search's images, and a word on where it comes from.

    Args:
        asked: by the user.
        largest: at which image files are decoded by themselves; None for the space's own side, whatever the files have.
    """
    if asked is not None:
        return asked, f"as {OPTION} says"
    if largest is None and not source.fixed:
        return space.resolution.max(), f"the space's own size; {ANOTHER}"
    side = source.native_side if largest is None or source.fixed else min(source.native_side, largest)
    return proxy_side(space, graph_of(space), side), ANOTHER
