"""Data sets from arrays in memory, as a program or a notebook has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dnas.data.array_names import CLASS_NAMES, chosen, class_names, left_out
from dnas.data.build import build
from dnas.data.dataset import Dataset
from dnas.errors import InputError

Arrays = Sequence[Any] | Mapping[str, Any]
"""`(images, labels)`, or arrays by the names that an `.npz` file gives them."""
WHERE, ACCEPTED = "data", "(images, labels), or a dict of arrays: x_train, y_train, x_test, y_test, class_names"


def from_arrays(arrays: Arrays, seed: int) -> Dataset:
    """A data set of arrays: images [N, S, S] or [N, S, S, C], uint8 or floats in [0, 1]; labels [N], integers.

    Args:
        arrays: `(images, labels)`, of which a fifth of every class is held out as test; or a dict with the names that
            `dnas.data.npz` knows, such as `x_train`, `y_train`, `x_test`, `y_test` and `class_names`.
        seed: draws the test split where there is none.

    Raises:
        InputError: no arrays, unknown names, wrong shapes, types or values.
    """
    if not isinstance(arrays, Mapping):
        if len(arrays) != 2:
            raise InputError(WHERE, f"{len(arrays)} arrays", accepted=ACCEPTED)
        arrays = {"images": arrays[0], "labels": arrays[1]}
    if not all(isinstance(name, str) for name in arrays):
        raise InputError(WHERE, "names that are no text", found=list(arrays), accepted=ACCEPTED)
    used = chosen(WHERE, arrays)
    pairs = {split: (_array(arrays, x), _array(arrays, y)) for split, (x, y) in used.items()}
    names = class_names(WHERE, _array(arrays, CLASS_NAMES)) if CLASS_NAMES in arrays else None
    return build(
        WHERE, "arrays", pairs["train"], pairs.get("test"), pairs.get("validation"), class_names=names, seed=seed,
        notes=left_out(arrays, used),
    )  # fmt: skip


def _array(arrays: Mapping[str, Any], name: str) -> np.ndarray:
    try:
        return np.asarray(arrays[name])
    except (ValueError, TypeError, RuntimeError) as error:  # ragged lists; tensors of other libraries on a device
        raise InputError(WHERE, f"'{name}' is no array: {str(error).splitlines()[0]}") from error
