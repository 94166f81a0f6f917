"""Resolution mixing by loops, against an explicit loop over options and pixels."""

from __future__ import annotations

import pytest

from dnas.cpu.built import usable
from dnas.cpu.depthwise_loop import depthwise, mixed, stem
from dnas.maths.mixing import Grids
from tests.nn.test_mixing import compared_with_naive

pytestmark = pytest.mark.skipif(not usable(), reason="numba is not installed, or this is no CPU")


def by_loops(x, w, gate, sides, share, stride, padding, paths=None):
    grids = Grids(gate, sides, share, paths)
    return mixed(depthwise if w.ndim == 3 else stem, x, w, stride, padding, grids)


@pytest.mark.parametrize("divided", [False, True])
@pytest.mark.parametrize("paths", [None, 2])
@pytest.mark.parametrize("options, kernel, stride, dense", [
    ([4, 6, 9], 3, 1, False), ([4, 6, 9], 5, 2, False), ([5, 5, 9, 10], 3, 2, False), ([3, 5, 7, 8], 3, 2, True),
])  # fmt: skip
def test_mix_and_all_gradients(options, kernel, stride, dense, paths, divided):
    compared_with_naive(by_loops, options, kernel, stride, dense, paths, divided)
