"""Names of blocks in latency tables, and what is known of a block by itself."""

import numpy as np
import pytest

from dnas.cost.interpolate import work
from dnas.cost.keys import block_keys, canonical, walk, walked_keys
from dnas.errors import UserError
from dnas.grammar.catalogue import load_space
from dnas.graph import graph_of


@pytest.mark.parametrize("name", ["tiny", "fbnetv1", "fbnetv1_32"])
def test_keys_are_their_own_canonical_spelling(name):
    keys = sorted({key for use in graph_of(load_space(name)).uses for key in block_keys(use).table.reshape(-1)})
    assert canonical(keys, "here") == keys


def test_other_spellings():
    keys = ["mbconv in=16  side=32 act=relu kernel=3 out=16 expand=6", "linear bias=true out=3 in=4"]
    assert canonical(keys, "here") == ["mbconv side=32 in=16 out=16 hidden=96", "linear in=4 out=3"]


def test_a_second_tensor_has_its_sizes_in_a_key():
    spelt = "tnt in2=8 tokens2=16 patches2=49 in=24 tokens=50 inner_heads=2 inner_head_width=4 heads=3 head_width=64"
    key = "tnt tokens=50 in=24 patches2=49 tokens2=16 in2=8 heads=3 inner_heads=2 inner_head_width=4 hidden=96"
    assert canonical([spelt], "here") == [key]


def test_windows_of_maps_of_several_sides_are_read_together():
    keys = [
        f"window_transformer side={side} in={width} heads=2 window={window} hidden=32"
        for side in (14, 7) for width in (16, 24) for window in (2, 7)
    ]  # fmt: skip
    walks = list(walked_keys(keys, "here"))
    assert canonical(keys, "here") == [key.replace(" window=7", "") for key in keys]
    assert [len(positions) for positions, _ in walks] == [4, 4]


def test_windows_as_large_as_the_map_have_one_name():
    keys = [f"window_transformer side=4 in=16 heads=2 {window}hidden=32" for window in ("", "window=9 ", "window=4 ")]
    assert canonical(keys, "here") == ["window_transformer side=4 in=16 heads=2 window=4 hidden=32"] * 3


@pytest.mark.parametrize(
    "key, problem",
    [
        ("mbc in=1", "unknown block kind 'mbc', did you mean 'mbconv'"),
        ("mbconv in=3 out=4 colour=1", "unknown field 'colour'"),
        ("mbconv side=4 out=3", "'in' is missing"),
        ("mbconv side=4 in=3", "'out' is missing"),
        ("mbconv in=3 out=4 kernel=4 side=3", "an odd integer"),
        ("mbconv in=3 out=4 side=3 se=maybe", "0 or 1"),
        ("mbconv in=3 out=4 side=3 in=3", "stands twice"),
        ("mbconv in=3 out=5 side=3 groups=2", "groups"),
        ("conv in=3 out=4", "'conv' reads a map, and is given a vector"),
        ("skip side=3 in=x out=3", "not a number"),
        ("", "unknown block kind"),
        ("tnt tokens=50 in=24 patches3=49 tokens3=16 in3=8 heads=3 inner_heads=2 inner_head_width=4", "tensors 1, 3"),
        (
            "tnt tokens=50 in=24 heads=3 inner_heads=2 inner_head_width=4",
            "reads patches and words, and is given tokens",
        ),
        ("transformer side=7 in=24 heads=3", "reads tokens, and is given a map"),
        ("transformer tokens=0 in=24 heads=3", "an integer from 1"),
    ],
)
def test_keys_that_name_no_block(key, problem):
    with pytest.raises(UserError, match="here") as error:
        canonical(["linear in=4 out=3", key], "here")
    assert problem in str(error.value)


def test_work_adds_up_to_the_ledger():
    """What interpolation looks at: the multiply-adds of a block's operators are the ledger's."""
    space = load_space("tiny")
    network, rng = graph_of(space), np.random.default_rng(0)
    assignments = [{c.name: int(rng.integers(len(c))) for c in space.choices} for _ in range(20)]
    for use in network.uses:
        amounts = work(walk(use))
        records = [r for r in network.ledger if r.path.startswith(use.path + ".")]
        for assignment in assignments:
            if use.given.at(assignment):
                whole = sum(q.at(assignment) for name, q in amounts.items() if name.startswith("."))
                assert whole == sum((r.given * r.macs).at(assignment) for r in records)
