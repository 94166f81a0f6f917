"""The numbers that quantisers are measured on."""

from __future__ import annotations

import numpy as np
import pytest

from dnas.compress.calibration import SAMPLED, places


@pytest.mark.parametrize("shape", [(256, 8, 8, 64), (256, 32, 32, 16), (256, 14, 14, 64), (41, 224, 224, 3), (3, 5)])
def test_a_sample_is_of_every_channel_and_of_every_part(shape):
    """As steps of one length are not, where they are a multiple of the channels."""
    size, channels = int(np.prod(shape)), shape[-1]
    found = places(size)
    assert min(size, SAMPLED) <= len(found) < 2 * SAMPLED and (np.diff(found) > 0).all()
    assert found[0] >= 0 and found[-1] < size
    share = np.bincount(found % channels, minlength=channels) / len(found)
    assert share.min() > 0.4 / channels and share.max() < 1.6 / channels
