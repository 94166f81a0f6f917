"""Checkpoints as people have them: what is wrong is named, what can be read is read."""

from __future__ import annotations

import warnings

import ml_dtypes
import numpy as np
import pytest

from dnas.errors import InputError
from dnas.learning import weights
from dnas.timm.checkpoint import check, classes_of, is_timms, read
from dnas.timm.models import with_its_classes

from .networks import checkpoint, drawn, network, saved

QKV = "blocks.1.attn.qkv.weight"


@pytest.fixture
def deit():
    space = network("deit")
    return space, checkpoint(space, drawn(space))


def refused(tmp_path, space, tensors) -> str:
    with pytest.raises(InputError) as error:
        read(saved(tmp_path / "w.safetensors", tensors), space)
    return str(error.value)


def test_a_missing_extra_or_misshapen_tensor_is_named(tmp_path, deit):
    space, tensors = deit
    without = {name: value for name, value in tensors.items() if name != QKV}
    assert f"not timm's weights of deit with 5 classes: '{QKV}' is missing" in refused(tmp_path, space, without)
    more = tensors | {"blocks.2.norm1.weight": np.zeros(8, np.float32)}
    assert "'blocks.2.norm1.weight' is not part of it" in refused(tmp_path, space, more)
    wide = tensors | {QKV: np.zeros((24, 9), np.float32)}
    assert f"'{QKV}' has shape [24, 9], not [24, 8]" in refused(tmp_path, space, wide)


def test_numbers_that_are_none_are_named(tmp_path, deit):
    space, tensors = deit
    assert "holds numbers that are not finite" in refused(
        tmp_path, space, tensors | {"norm.bias": np.full(8, np.nan, "f4")}
    )
    huge = tensors | {"norm.bias": np.full(8, 1e300)}  # finite in float64 alone
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "'norm.bias' holds numbers that are not finite in float32" in refused(tmp_path, space, huge)
    assert "'norm.bias' is I32 (accepted: F32" in refused(tmp_path, space, tensors | {"norm.bias": np.zeros(8, "i4")})


def test_variances_are_not_below_zero(tmp_path):
    space = network("mobile")
    tensors = checkpoint(space, drawn(space))
    tensors["bn1.running_var"][2] = -0.5
    said = refused(tmp_path, space, tensors)
    assert "'bn1.running_var' holds variances below 0 (found '-0.5'; accepted: from 0)" in said


@pytest.mark.parametrize("classes", [0, 1_000_001])
def test_a_classifier_of_no_classes_is_named_with_its_file(tmp_path, deit, classes):
    space, tensors = deit
    wide = np.broadcast_to(np.zeros((), np.float16), (classes, 1))
    path = saved(tmp_path / "w.safetensors", tensors | {"head.weight": np.ascontiguousarray(wide)})
    with pytest.raises(InputError, match=rf"w\.safetensors: the classifier 'head\.weight' has {classes:,} classes"):
        with_its_classes(space, path)


def test_weights_of_something_else_are_no_weights(tmp_path, deit):
    assert "no tensor of deit, by dnas' names or timm's" in refused(tmp_path, deit[0], {"a": np.zeros(3, np.float32)})


def test_other_blocks_than_the_network_has(tmp_path):
    space = network("mobile")
    tensors = checkpoint(space, drawn(space))
    fewer = {name: value for name, value in tensors.items() if not name.startswith("blocks.1.1.")}
    assert "3 blocks in stages, not 4" in refused(tmp_path, space, fewer)


def test_stages_may_begin_elsewhere(tmp_path):
    space = network("mobile")
    variables = drawn(space)
    tensors = checkpoint(space, variables)
    moved = {name.replace("blocks.1.1.", "blocks.2.0.").replace("blocks.1.2.", "blocks.3.0."): value
             for name, value in tensors.items()}  # fmt: skip
    assert moved.keys() != tensors.keys()
    ours, theirs = (read(saved(tmp_path / f"{n}.safetensors", t), space) for n, t in enumerate((tensors, moved)))
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("prefix", ["model.", "module.", "state_dict.model."])
def test_names_may_stand_behind_a_prefix(tmp_path, deit, prefix):
    space, tensors = deit
    path = saved(tmp_path / "w.safetensors", {prefix + name: value for name, value in tensors.items()})
    assert check(path, space) == (f"read without the prefix '{prefix}'",)
    assert np.array_equal(read(path, space)["head.0.norm.shift"], tensors["norm.bias"])


def test_two_tensors_that_become_one_are_named(tmp_path, deit):
    space, tensors = deit
    both = {f"model.{name}": value for name, value in tensors.items()} | {"head.bias": tensors["head.bias"] + 1}
    path = saved(tmp_path / "w.safetensors", both)
    with pytest.raises(InputError, match="two tensors of one name .*head.bias"):
        read(path, space)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float64])
def test_numbers_of_other_bits_become_float32(tmp_path, deit, dtype):
    space, tensors = deit
    path = saved(tmp_path / "w.safetensors", {name: value.astype(dtype) for name, value in tensors.items()})
    found = read(path, space)["head.0.norm.shift"]
    assert check(path, space)[0].endswith("became float32") and found.dtype == np.float32
    np.testing.assert_allclose(found, tensors["norm.bias"], rtol=1e-2)
    assert weights.load(path, space)["params"]["head.0.norm.shift"].dtype == np.float32


def test_buffers_are_left_out_and_said(tmp_path):
    space = network("swin")
    tensors = checkpoint(space, drawn(space))
    tensors |= {"layers.0.blocks.0.attn.relative_position_index": np.zeros((16, 16), np.int64)}
    tensors |= {"layers.0.blocks.1.attn_mask": np.zeros((4, 16, 16), np.float32)}
    found = check(saved(tmp_path / "w.safetensors", tensors), space)
    assert found == ("left out, no weights: 1 attn_mask, 1 relative_position_index",)


def test_first_releases_are_read_too(tmp_path):
    space = network("swin")
    tensors = checkpoint(space, drawn(space))
    first = {name.replace("layers.1.downsample", "layers.0.downsample").replace("head.fc", "head"): value
             for name, value in tensors.items()}  # fmt: skip
    ours, theirs = (read(saved(tmp_path / f"{n}.safetensors", t), space) for n, t in enumerate((tensors, first)))
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)
    assert check(tmp_path / "1.safetensors", space) == ("names of the first release in timm's spelling",)


@pytest.mark.parametrize("family", ["mobile", "swin", "distilled", "tnt"])
def test_the_file_says_how_many_classes_it_has(tmp_path, family):
    other = network(family, classes=9)
    path = saved(tmp_path / "w.safetensors", checkpoint(other, drawn(other)))
    assert is_timms(path) and classes_of(path, network(family)) == 9


@pytest.mark.parametrize("name, content", [("w.pth", b"anything"), ("w.bin", b"x"), ("w.safetensors", b"PK\x03\x04.."),
                                           ("w.safetensors", b"\x80\x02}q\x00.")])  # fmt: skip
def test_pickles_are_refused_with_what_to_do(tmp_path, deit, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match="a pickle, which can run any code .* weights_only=True"):
        read(path, deit[0])
