"""Patch slimming as the command calls it: by an error and by a budget, tuning, going on, the record, refusals."""

from __future__ import annotations

import json
import struct
import zlib
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console

from dnas.compress import patch_slimming as method
from dnas.compress.asked import Asked, Watching
from dnas.compress.kept_patches import DIM, GAP, PICTURE, picture, png
from dnas.compress.patch_slimming import patch_slimming, slimmed_space
from dnas.compress.slim_blocks import Blocks
from dnas.compress.slim_state import FILE, SlimState
from dnas.compress.token_layers import Tokens, forward, values_of
from dnas.cost.budget import parse_budget
from dnas.cost.count import count
from dnas.data.preprocess import prepare
from dnas.data.synthetic import plain
from dnas.errors import InputError, Stopped, UserError
from dnas.files import write_json
from dnas.grammar.read import space_from_data
from dnas.graph.architecture import architecture
from dnas.learning import weights
from dnas.nn.gates import Layout, one_hot
from dnas.nn.supernet import Supernet, init
from dnas.runs.result import read_result
from dnas.train.recipe import read_recipe
from dnas.train.setup import make_setup

NONE = one_hot(Layout(()), {})
BLOCK = {"heads": 2, "head_width": 4, "hidden": 16}
TOKENS = [{"patch_embed": {"out": 8, "kernel": 4}}, {"tokens": {}}]
STREAM = {"heads": 2, "head_width": 4, "inner_heads": 1, "inner_head_width": 2, "repeat": 2}
NETWORKS = {
    "plain": {"trunk": [*TOKENS, {"transformer": {**BLOCK, "repeat": 3}}]},
    "distilled": {
        "trunk": [TOKENS[0], {"tokens": {"count": 2}}, {"transformer": {**BLOCK, "repeat": 2}}],
        "head": [{"token_head": {"out": "$classes", "distilled": True}}],
    },
    "relative mean": {
        "trunk": [*TOKENS, {"transformer": {**BLOCK, "relative": 2, "repeat": 2}}],
        "head": [{"token_head": {"out": "$classes", "pool": "mean"}}],
    },
    "streams": {
        "trunk": [
            {"tnt_embed": {"out": 8, "inner": 4, "patch": 4, "kernel": 3, "stride": 2, "padding": 1}},
            {"tnt": STREAM},
            {"tnt_out": {}},
        ]
    },
}


def data_of(name: str) -> dict:
    head = [{"token_head": {"out": "$classes"}}]
    return {"name": name, "input": {"channels": 1, "classes": 4, "resolution": 16}, "head": head} | NETWORKS[name]


def random_variables(space):
    rng = np.random.default_rng(0)
    found = init(space, jax.random.key(0))
    return {
        g: {n: v + 0.3 * rng.normal(size=v.shape).astype(np.float32) for n, v in vs.items()} for g, vs in found.items()
    }


def setup_of(tmp_path, data):
    """A network with random weights, and 400 small images."""
    space = space_from_data(data, "written")
    written = architecture(space, {})
    write_json(tmp_path / "architecture.json", written.data)
    weights.save(tmp_path / "weights.safetensors", written.network, random_variables(written.network))
    recipe = replace(read_recipe("quick").fixed(), batch_size=32)
    return make_setup(read_result(tmp_path), plain(0, 400, 16, 4), recipe, seed=3)


SLOW = pytest.mark.slow


@pytest.fixture(scope="module", params=[n if n == "plain" else pytest.param(n, marks=SLOW) for n in NETWORKS])
def setup(request, tmp_path_factory):
    return setup_of(tmp_path_factory.mktemp("run"), data_of(request.param))


@pytest.fixture(scope="module")
def ordinary(tmp_path_factory):
    return setup_of(tmp_path_factory.mktemp("run"), data_of("plain"))


@pytest.fixture(autouse=True, scope="module")
def quick():
    """Little tuning, and programs that are compiled once for all runs of a network."""
    known: dict[str, Tokens] = {}

    def tokens(space):
        text = json.dumps(space.document.data)
        return known[text] if text in known else known.setdefault(text, Tokens(space))

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(method, "Tokens", tokens)
        patched.setattr(method, "EPOCHS", 1)
        patched.setattr(method, "HALVINGS", 8)
        yield


@pytest.fixture(scope="module")
def within(setup, tmp_path_factory):
    """What an error leads to."""
    folder = tmp_path_factory.mktemp("slim")
    return slim(setup, folder, error=0.2)


def slim(setup, folder, watch=None, **asked):
    asked = Asked("patch_slimming", **{"images": 64, **asked})
    return patch_slimming(setup, asked, folder, watch or Watching(Console(quiet=True)))


def run(network, variables, images):
    return jax.jit(lambda variables, images: Supernet(network).apply(variables, images, NONE)[0])(variables, images)


def checked(setup, found):
    """Nested tokens with the learned ones among them; a network that runs; its blocks' tokens by path."""
    network = space_from_data(found.data, "found")
    learned = {0, 1} if "distilled" in setup.network.name else {0}
    before = set(range(16 + len(learned)))
    for block in found.record["blocks"]:
        tokens = set(block["kept"])
        assert learned <= tokens <= before and block["count"] == len(tokens)
        before = tokens
    assert set(network.keep_tokens) <= {block["path"] for block in found.record["blocks"]}
    images = prepare(setup.dataset.test_images[:4], setup.preprocessing)
    logits = run(network, found.variables, images)
    assert bool(jnp.isfinite(logits).all())
    json.loads(json.dumps(found.record, allow_nan=False))
    return network


def test_tokens_within_an_error_are_nested(setup, within):
    found = within
    network = checked(setup, found)
    limit = [b["error"] for b in found.record["blocks"] if b["count"] < b["of"]]
    assert all(error <= 0.2 for error in limit) and count(network)["macs"] < count(setup.network)["macs"]
    assert found.files[PICTURE][:8] == b"\x89PNG\r\n\x1a\n"


def test_a_budget_is_kept(setup, tmp_path):
    budget = int(0.75 * count(setup.network)["macs"])
    found = slim(setup, tmp_path, budgets=(parse_budget(f"{budget}MACs"),))
    network = checked(setup, found)
    assert 0.8 * budget < count(network)["macs"] <= budget
    assert all(block["error"] <= block["error_untuned"] for block in found.record["blocks"])


@SLOW
def test_a_larger_error_keeps_fewer_tokens(ordinary, tmp_path):
    few, many = (count(checked(ordinary, slim(ordinary, tmp_path, error=e)))["macs"] for e in (1.0, 0.01))
    assert few < many


@SLOW
def test_no_error_is_the_network_but_for_what_is_not_read(ordinary, tmp_path):
    """Blocks before the last keep all; the last gives the class token alone, and the scores are the same."""
    found = slim(ordinary, tmp_path, error=0.0)
    network = checked(ordinary, found)
    assert list(network.keep_tokens.values()) == [(0,)]
    images = prepare(ordinary.dataset.test_images[:4], ordinary.preprocessing)
    before = run(ordinary.network, ordinary.variables, images)
    np.testing.assert_allclose(run(network, found.variables, images), before, rtol=1e-5, atol=1e-6)


@SLOW
def test_the_same_command_gives_the_same_result(ordinary, tmp_path):
    one, two = (slim(ordinary, tmp_path, error=0.1) for _ in range(2))
    assert one.data == two.data and one.record == two.record
    jax.tree.map(np.testing.assert_array_equal, one.variables, two.variables)


@SLOW
@pytest.mark.parametrize("asked", [{"error": 0.1}, {"budgets": (parse_budget("30kMACs"),)}])
def test_a_stopped_slimming_goes_on(ordinary, tmp_path, asked):
    whole = slim(ordinary, tmp_path, **asked)
    (tmp_path / "other").mkdir()
    stops = iter([0] * (10 if "budgets" in asked else 1) + [2] * 99)
    with pytest.raises(Stopped, match="continue with --resume") as caught:
        slim(ordinary, tmp_path / "other", Watching(Console(quiet=True), lambda: next(stops)), **asked)
    assert caught.value.exit_code == 130 and (tmp_path / "other" / FILE).is_file()
    found = slim(ordinary, tmp_path / "other", Watching(Console(quiet=True), resume=True), **asked)
    assert found.data == whole.data and found.record == whole.record
    jax.tree.map(np.testing.assert_array_equal, found.variables, whole.variables)


@pytest.mark.parametrize("keep", [0, 40, -1])
def test_a_damaged_state_is_one_line(tmp_path, keep):
    state = SlimState(tmp_path, {}, resume=False)
    state.found(0.5, {"trunk.2": np.ones(5)})
    state.file.write_bytes(state.file.read_bytes()[:keep])
    with pytest.raises(InputError, match=rf"{FILE}: a damaged checkpoint: .*accepted: a run without --resume"):
        SlimState(tmp_path, {}, resume=True)


@SLOW
def test_what_another_slimming_left_is_not_taken(ordinary, tmp_path):
    slim(ordinary, tmp_path, error=1.0)
    found = slim(ordinary, tmp_path, Watching(Console(quiet=True), resume=True), error=0.1)
    assert found.record == slim(ordinary, tmp_path, error=0.1).record


def test_masked_and_sliced_blocks_give_the_same_scores(setup, within):
    """The program that tunes a block, and the network that is written."""
    found = within
    network = space_from_data(found.data, "found")
    tokens = Tokens(network)
    images = prepare(setup.dataset.test_images[:8], setup.preprocessing)
    masks = {path: jnp.asarray(mask) for path, mask in tokens.kept().items()}

    @jax.jit
    def masked(values):
        return forward(tokens.graph, tokens.graph.parts, values, {tokens.graph.input: images}, masks)[
            tokens.graph.output
        ]

    sliced = run(network, found.variables, images)
    np.testing.assert_allclose(masked(values_of(found.variables)), sliced, rtol=1e-4, atol=1e-4)


@SLOW
def test_a_slimmed_network_is_slimmed_again(ordinary, tmp_path):
    once = slim(ordinary, tmp_path, error=0.05)
    (tmp_path / "again").mkdir()
    again = setup_of(tmp_path / "again", once.data)
    twice = slim(again, tmp_path / "again", error=1.0)
    for before, after in zip(once.record["blocks"], twice.record["blocks"], strict=True):
        assert set(after["kept"]) <= set(before["kept"])


def test_one_program_serves_blocks_of_like_shape():
    deep = {"trunk": [*TOKENS, {"transformer": {**BLOCK, "repeat": 6}}]}
    tokens = Tokens(space_from_data({**data_of("plain"), **deep}, "deep"))
    programs = [tokens.program(layer) for layer in tokens.layers]
    assert len(programs) == 6 and len(set(map(id, programs))) == 3, "the first, those between, the last"


@SLOW
def test_tuning_makes_the_error_smaller(ordinary):
    written = architecture(ordinary.network, {})
    tokens = Tokens(written.network)
    images = ordinary.dataset.train_images[:256]
    blocks = Blocks(tokens, values_of(ordinary.variables), images, ordinary.preprocessing, 0)
    last = {tokens.layers[2].path: blocks.last}
    masks = blocks.chosen(1, last, blocks.last, blocks.ranked(1, last)[:2])
    before = blocks.error(1, masks, blocks.values)
    assert 0 < blocks.tune(1, masks, 8) < before
    changed = {p for p in blocks.values if bool(jnp.any(blocks.values[p] != blocks.first[p]))}
    assert changed and all(path.startswith(f"{tokens.layers[1].path}.") for path in changed)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"budgets": (parse_budget("5Mparams"),)}, "patch slimming saves multiply-adds alone"),
        pytest.param({"budgets": (parse_budget("10MACs"),)}, "below what the last tokens need", marks=SLOW),
        ({"budgets": (parse_budget("1MMACs"),), "error": 0.1}, "not with a budget"),
        ({"error": -0.1}, "out of range"),
        ({"error": float("nan")}, "out of range"),
        ({"images": 3}, "from 8"),
    ],
)
def test_what_cannot_be_asked_is_refused(ordinary, tmp_path, asked, said):
    with pytest.raises(InputError, match=said):
        slim(ordinary, tmp_path, **asked)


def test_a_network_without_tokens_is_refused(tmp_path):
    trunk = [{"conv": {"out": 8, "stride": 2}}]
    data = {**data_of("plain"), "trunk": trunk, "head": [{"pool": {}}, {"linear": {"out": "$classes"}}]}
    with pytest.raises(UserError, match="no block works on tokens"):
        slim(setup_of(tmp_path, data), tmp_path)


def test_a_quantised_network_is_refused(tmp_path):
    data = {**data_of("plain"), "quantization": {"trunk.2.expand": {"bits": 8}}}
    space = space_from_data(data | {"trunk": [*TOKENS, {"transformer": BLOCK}]}, "quantised")
    setup = replace(setup_of(tmp_path, data_of("plain")), network=space)
    with pytest.raises(UserError, match="before numbers are quantised"):
        slim(setup, tmp_path)


def test_blocks_that_drop_nothing_are_not_named(ordinary):
    space = architecture(ordinary.network, {}).network
    masks = [[1] * 17, [1] * 9 + [0] * 8, [1] * 9 + [0] * 8]
    found = slimmed_space(space, {f"trunk.{n + 2}": np.array(mask) for n, mask in enumerate(masks)})
    assert dict(found.keep_tokens) == {"trunk.3": tuple(range(9))}


def test_the_picture_dims_what_was_dropped():
    images = np.zeros((2, 8, 8, 1), np.uint8)
    masks = np.array([[1, 0, 1, 1], [1, 0, 0, 0]])
    drawn = picture(images, masks)
    side = (drawn.shape[1] - 2 * GAP) // 3
    assert drawn.shape == (2 * side + GAP, 3 * side + 2 * GAP, 3)
    dimmed = round(255 * (1 - DIM))
    second = drawn[:side, side + GAP : 2 * side + GAP, 0]
    assert (second[: side // 2, side // 2 :] == dimmed).all() and (second[: side // 2, : side // 2] == 0).all()
    assert (drawn[:side, 2 * (side + GAP) :, 0] == dimmed).mean() == 0.75


def test_the_picture_is_a_file_that_others_read():
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    data = png(pixels)
    assert struct.unpack(">II", data[16:24]) == (7, 5)
    start = data.index(b"IDAT")
    (length,) = struct.unpack(">I", data[start - 4 : start])
    rows = np.frombuffer(zlib.decompress(data[start + 4 : start + 4 + length]), np.uint8).reshape(5, 22)
    np.testing.assert_array_equal(rows[:, 1:].reshape(5, 7, 3), pixels)
    image = pytest.importorskip("PIL.Image", reason="needs dnas[data]")
    import io

    np.testing.assert_array_equal(np.asarray(image.open(io.BytesIO(data))), pixels)
