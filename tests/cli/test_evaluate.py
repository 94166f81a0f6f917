"""`python -m dnas.evaluate`: counts against plain numpy, the search's own figures, and what it refuses."""

from __future__ import annotations

import json

import jax
import numpy as np
import pytest

from dnas.cli.entry import call, parse
from dnas.cli.evaluate import Arguments, main
from dnas.cli.search import Arguments as SearchArguments
from dnas.cli.search import main as search_main
from dnas.data.load import load
from dnas.errors import UserError
from dnas.grammar.read import read_space
from dnas.learning import weights
from dnas.learning.evaluator import Answers, program, tally
from dnas.nn.supernet import init
from dnas.runs.result import read_result

NETWORK = """
name: small
input: {channels: 1, classes: 3, resolution: 6}
trunk:
  - conv: {kernel: 3, out: 4, act: relu}
head: [{pool: {}}, {linear: {out: $classes}}]
"""


def evaluate(*argv: str) -> int:
    return call(main, parse(Arguments, list(argv)))


@pytest.fixture
def small(tmp_path):
    """A network with random weights and data of three classes."""
    file = tmp_path / "small.yaml"
    file.write_text(NETWORK)
    space = read_space(file)
    weights.save(tmp_path / "w.safetensors", space, init(space, jax.random.key(0)))
    write_data(tmp_path / "data.npz")
    return tmp_path


def write_data(path, classes: int = 3, channels: int = 1, side: int = 6, count: int = 40):
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (count, side, side, channels), dtype=np.uint8)
    labels = np.arange(count) % classes
    np.savez(path, train_images=images, train_labels=labels, test_images=images[:31], test_labels=labels[:31])


def test_counts_equal_plain_counting(monkeypatch):
    """Against sorting the scores of each image; ties and a batch that does not divide the images included."""
    generator = np.random.default_rng(1)
    scores = generator.integers(0, 4, (50, 7)).astype(np.float32)
    labels = generator.integers(0, 7, 50).astype(np.int32)

    def answer(_, images, labels):
        chosen, labels = scores[np.asarray(images)[:, 0]], np.asarray(labels)
        order = np.argsort(-chosen, axis=1, kind="stable")
        rank = np.argmax(order == labels[:, None], axis=1)
        return Answers(order[:, 0], rank, np.isfinite(chosen).all(1))

    found = tally(answer, {}, np.arange(50)[:, None], labels, 7, batch=8)
    order = np.argsort(-scores, axis=1, kind="stable")
    assert found.top1 == sum(order[n, 0] == labels[n] for n in range(50))
    assert found.top5 == sum(labels[n] in order[n, :5] for n in range(50))
    slow = np.zeros((7, 7), int)
    for n in range(50):
        slow[labels[n], order[n, 0]] += 1
    np.testing.assert_array_equal(found.confusion, slow)
    assert found.images == 50 and found.confusion.sum() == 50


def test_the_program_ranks_as_sorting_does(small):
    """Rank and prediction of the compiled program against its own logits, sorted in numpy."""
    result, data = read_result(small / "small.yaml", small / "w.safetensors"), load(str(small / "data.npz"))
    from dnas.nn.gates import Layout, one_hot
    from dnas.nn.supernet import Supernet
    from dnas.runs.result import preprocessing_of

    preprocessing = preprocessing_of(result, data)
    variables = weights.load(small / "w.safetensors", result.network)
    found = program(result.network, preprocessing)(variables, data.test_images, data.test_labels)
    from dnas.data.preprocess import prepare

    x = prepare(data.test_images, preprocessing)
    logits = np.asarray(Supernet(result.network).apply(variables, x, one_hot(Layout(()), {}))[0])
    order = np.argsort(-logits, axis=1, kind="stable")
    np.testing.assert_array_equal(found.predicted, order[:, 0])
    np.testing.assert_array_equal(found.rank, np.argmax(order == data.test_labels[:, None], axis=1))


def test_numbers_that_are_not_finite_are_refused():
    def answer(_, images, labels):
        return Answers(labels, 0 * labels, np.arange(len(labels)) != 2)

    with pytest.raises(UserError, match="image 2 are not finite"):
        tally(answer, {}, np.zeros((4, 1)), np.zeros(4, int), 2, batch=4)


def test_prints_accuracy_split_images_and_confusion(small, capsys):
    argv = [str(small / "small.yaml"), "--weights", str(small / "w.safetensors"), "--data", str(small / "data.npz")]
    assert evaluate(*argv) == 0
    shown = capsys.readouterr().out
    assert "31 test images of data" in shown and "top-1" in shown and "right class" in shown
    assert evaluate(*argv, "--split", "train", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["split"] == "train" and report["images"] == 40 and report["top5"] is None
    assert np.sum(report["confusion"]) == 40 and report["top1"] == np.trace(report["confusion"]) / 40


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "tiny"
    argv = ["tiny", "--budget", "0.3MFLOPs", "--preset", "smoke", "--out", str(out)]
    assert call(search_main, parse(SearchArguments, argv)) == 0
    return out


@pytest.mark.slow
def test_a_found_network_repeats_the_accuracy_of_its_search(found, capsys):
    """Resolution, subsampling and channels are those that its weights were trained with."""
    document = json.loads((found / "architecture.json").read_text())
    result, data = read_result(found), load(None)
    assert document["preprocessing"]["side"] == 28
    assert result.network.resolution.value == document["search"]["proxy"]["resolution"]
    variables = weights.load(result.weights, result.network)
    seen = np.linspace(0, 999, 200).astype(int)  # spread over the test images, whose order is that of the classes
    counts = tally(
        program(result.network, result.preprocessing), variables, data.test_images[seen], data.test_labels[seen], 10, 50
    )  # fmt: skip
    assert counts.accuracy == document["search"]["inherited_accuracy"]["settled"]
    assert evaluate(str(found), "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["images"] == 1000
    delivered, counted = report["notes"]  # the space is of larger images in color
    assert "28 px x 1 channel," in delivered and "32 px x 3 channels," in counted
    assert sum(row[n] for n, row in enumerate(report["confusion"])) == round(report["top1"] * 1000)


@pytest.mark.slow
def test_other_classes_than_recorded_need_a_word(found, tmp_path, capsys):
    write_data(tmp_path / "other.npz", classes=10, side=28)
    argv = [str(found), "--data", str(tmp_path / "other.npz")]
    assert "'0' for 'T-shirt/top'" in refused(capsys, *argv)
    assert evaluate(*argv, "--new-classes", "--json") == 0
    notes = " ".join(json.loads(capsys.readouterr().out)["notes"])
    assert "other images" in notes and "'0' for 'T-shirt/top'" in notes
    write_data(tmp_path / "fewer.npz", classes=3, side=28)
    error = refused(capsys, str(found), "--data", str(tmp_path / "fewer.npz"), "--new-classes")
    assert "3 (0, 1, 2) instead of 10" in error


def refused(capsys, *argv: str) -> str:
    assert evaluate(*argv) == 2
    error = capsys.readouterr().err
    assert len(error.strip().splitlines()) == 1
    return error


def test_errors_are_one_line_naming_file_and_cause(small, capsys, tmp_path):
    arch, file, data = str(small / "small.yaml"), str(small / "w.safetensors"), str(small / "data.npz")
    assert "small.yaml: no weights beside it" in refused(capsys, arch, "--data", data)
    write_data(small / "five.npz", classes=5)
    error = refused(capsys, arch, "--weights", file, "--data", str(small / "five.npz"))
    assert "data five" in error and "5 instead of 3" in error and "small.yaml" in error
    write_data(small / "colour.npz", channels=3)
    error = refused(capsys, arch, "--weights", file, "--data", str(small / "colour.npz"))
    assert "data colour" in error and "3 channels for a network of 1" in error and "(accepted: 1 channel)" in error
    (small / "wider.yaml").write_text(NETWORK.replace("out: 4", "out: 5"))
    wider = read_space(small / "wider.yaml")
    weights.save(small / "wider.safetensors", wider, init(wider, jax.random.key(0)))
    error = refused(capsys, arch, "--weights", str(small / "wider.safetensors"), "--data", data)
    assert "weights of another architecture" in error and "wider.safetensors" in error
    (tmp_path / "empty").mkdir()
    assert "empty: no architecture.json" in refused(capsys, str(tmp_path / "empty"))
    assert "empty" in refused(capsys, arch, "--weights", file, "--data", str(tmp_path / "empty"))
    assert "space with" in refused(capsys, "fbnetv2", "--data", data)
    assert "nowhere" in refused(capsys, arch, "--weights", file, "--data", "nowhere")
    assert "no such file" in refused(capsys, arch, "--weights", "nowhere.safetensors", "--data", data)


def test_unreadable_images_are_named_and_counted(small, capsys, tmp_path):
    pillow = pytest.importorskip("PIL.Image")
    generator = np.random.default_rng(0)
    for split in ("train", "test"):
        for label in ("a", "b", "c"):
            folder = tmp_path / "images" / split / label
            folder.mkdir(parents=True)
            for n in range(2):
                pillow.fromarray(generator.integers(0, 256, (8, 8, 3), np.uint8)).save(folder / f"{n}.png")
    (tmp_path / "images" / "test" / "b" / "bad.png").write_bytes(b"not an image")
    file = small / "colour.yaml"
    file.write_text(NETWORK.replace("channels: 1", "channels: 3"))
    weights.save(small / "c.safetensors", read_space(file), init(read_space(file), jax.random.key(0)))
    argv = [str(file), "--weights", str(small / "c.safetensors"), "--data", str(tmp_path / "images")]
    error = refused(capsys, *argv)
    assert "1 of 13 images cannot be read: test/b/bad.png (cannot identify image file it)" in error
    assert "--skip-bad" in error
    assert evaluate(*argv, "--skip-bad") == 0
    shown = capsys.readouterr().out
    assert "left out: 1 image that cannot be read: test/b/bad.png" in shown and "6 test images" in shown


def test_a_damaged_record_is_named(small, capsys):
    document = {
        "name": "small", "input": {"channels": 1, "classes": 3, "resolution": 6},
        "trunk": [{"conv": {"kernel": 3, "out": 4, "act": "relu"}}], "head": [{"pool": {}}, {"linear": {"out": 3}}],
        "preprocessing": {
            "side": 6, "channels": 1, "mean": [0.5], "std": [0.2], "interpolation": "bilinear", "scale": 1 / 255
        },
    }  # fmt: skip
    file = small / "recorded.json"
    argv = [str(file), "--weights", str(small / "w.safetensors"), "--data", str(small / "data.npz")]
    file.write_text(json.dumps(document))
    assert evaluate(*argv) == 0
    capsys.readouterr()
    for change, said in (
        ({"labels": 3}, "labels: not a list"),
        ({"search": {"proxy": {"resolution": "x"}}}, "search.proxy.resolution"),
        ({"search": {"data": {"seed": -1}}}, "search.data.seed"),
        ({"search": []}, "search: not a mapping"),
        ({"preprocessing": {"side": 3}}, "preprocessing: field"),
    ):
        file.write_text(json.dumps(document | change))
        assert said in refused(capsys, *argv)
