"""The search's own split of the training images: one part trains the weights, the other trains theta.

Where the data have a validation split, its images train theta and all others the weights; else a share is drawn.

The test split takes no part: it chooses nothing, here or elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dnas.data.dataset import Dataset
from dnas.data.shuffle import SEARCH_SPLIT, stratified
from dnas.errors import InputError


@dataclass(frozen=True, eq=False)
class Split:
    """Positions in `Dataset.train_images`; the two are disjoint and together are all. Sorted int64."""

    weights_index: np.ndarray
    theta_index: np.ndarray


def search_split(dataset: Dataset, seed: int, theta_share: float = 0.2) -> Split:
    """The data's own validation split, or a part drawn class by class; the same seed gives the same on every machine.

    Args:
        theta_share: in (0, 1), where a part is drawn; rounded to the nearest count in every class. Both parts get at
            least one image of each class that has two; a class of one image goes to the weights.

    Raises:
        InputError: `theta_share` out of range, or no class has two images.
    """
    if not 0 < theta_share < 1:
        raise InputError("theta_share", "out of range", found=theta_share, accepted="more than 0, less than 1")
    if given := dataset.given_split():
        return Split(*given)
    weights, theta = stratified(dataset.train_labels, theta_share, seed, SEARCH_SPLIT)
    if not len(theta):
        said = "no class has two training images: one teaches the weights, and none is left for the choices"
        raise InputError(dataset.name, said)
    return Split(weights, theta)
