"""Figures of networks before and after a compression."""

from __future__ import annotations

import numpy as np
import pytest

from dnas.compress.measured import Network, together
from dnas.learning.evaluator import Tally
from tests.compress.networks import CLASSES, convolutional, variables_of


def test_equal_networks_have_one_time():
    """Two readings of one file are one network: their times once differed by chance."""
    pytest.importorskip("onnxruntime")
    first, second = (Network(space, variables_of(space)) for space in (convolutional(), convolutional()))
    none = Tally(0, 0, 0, np.zeros((CLASSES, CLASSES)))
    figures = together([first, second], [none, none])
    assert figures[0].ms is not None and figures[0].ms == figures[1].ms
