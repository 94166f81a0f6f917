"""The side at which images are given to a network, by the data, the network and what is asked."""

import pytest

from dnas.data.build import build
from dnas.data.image_side import check_side
from dnas.data.load import ArraySource
from dnas.errors import InputError
from dnas.grammar.catalogue import load_space
from dnas.graph import graph_of
from dnas.learning.image_size import proxy_side, search_side, total_stride
from dnas.runs.result import read_result
from dnas.train.setup import training_side
from tests.runs.test_recall import files_of


@pytest.mark.parametrize(
    ("native", "asked", "largest", "side"),
    [
        (500, None, 64, 64),  # photographs, smoke and quick
        (500, None, None, 288),  # paper: the space's own size
        (40, None, None, 288),
        (40, None, 64, 64),  # twice the stride of 32
        (500, 96, 64, 96),
        (500, 96, None, 96),
    ],
)
def test_search_side_of_image_files(tmp_path, native, asked, largest, side):
    space = load_space("fbnetv2")
    assert (space.resolution.max(), total_stride(space, graph_of(space))) == (288, 32)
    found, why = search_side(space, files_of(tmp_path, native), asked, largest)
    assert found == side and ("--image-size" in why)
    walked = graph_of(space)
    assert asked is not None or proxy_side(space, walked, side) == side, "the problem keeps the decoded side"


@pytest.mark.parametrize("largest", [64, None])
def test_search_side_of_arrays_follows_their_own(largest):
    import numpy as np

    images, labels = np.zeros((4, 100, 100), np.uint8), np.arange(4) % 2
    source = ArraySource(build("w", "n", (images, labels), (images, labels)))
    assert search_side(load_space("fbnetv2"), source, None, largest)[0] == 100
    assert search_side(load_space("tiny"), source, None, largest)[0] == 32


def test_training_side_without_a_record_is_the_networks_own_but_no_more_than_the_images():
    result = read_result("fbnetv2_f1")
    own = result.space.resolution.value
    assert training_side(result, 1000, None)[0] == own
    assert training_side(result, 100, None)[0] == 100
    assert training_side(result, 10, None)[0] == 64
    assert training_side(result, 1000, None, asked=80)[0] == 80


def test_a_side_out_of_range_is_refused():
    for asked in (0, -1, 5000):
        with pytest.raises(InputError, match="--image-size"):
            check_side(asked)
    check_side(None)
