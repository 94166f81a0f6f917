"""`python -m dnas.train` as a user runs it, on a small network and small data."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dnas.cli.entry import call, parse
from dnas.cli.evaluate import Arguments as EvaluateArguments
from dnas.cli.evaluate import main as evaluate_main
from dnas.cli.train import Arguments, main
from dnas.data.load import load
from dnas.data.preprocess import prepare
from dnas.errors import Diverged, UserError
from dnas.grammar.read import at_input, read_space
from dnas.learning import weights
from dnas.learning.checkpoint import Checkpoints
from dnas.learning.course import State
from dnas.learning.journal import Journal
from dnas.learning.losses import cross_entropy, soft_distillation, targets
from dnas.nn.gates import Layout, one_hot
from dnas.nn.supernet import Supernet, init
from dnas.runs.lineage import lineage
from dnas.runs.result import read_result
from dnas.train.recipe import read_recipe
from dnas.train.schedule import schedule
from dnas.train.setup import make_setup
from dnas.train.step import answers, augmented, moving_average, training
from dnas.train.trainer import Trainer

ROOT = Path(__file__).parents[2]
NETWORK = """
name: small
input: {channels: 1, classes: 3, resolution: 8}
trunk:
  - conv: {kernel: 3, stride: 2, out: 6, act: relu}
  - mbconv: {repeat: 2, out: 6, expand: 2, se: true}
head: [{pool: {}}, {linear: {out: $classes}}]
"""
RECIPE = """
epochs: 3
batch_size: 8
lr: 0.05
label_smoothing: 0.1
flip: true
drop_path: 0.1
ema: 0.9
validation: 0.2
"""
EVERYTHING = (
    RECIPE
    + """
mixup: 0.2
cutmix: 1.0
crop_padding: 1
rand_augment: 1
erase: 0.1
dropout: 0.1
"""
)
FILES = ("architecture.json", "weights.safetensors", "history.jsonl", "recipe.yaml", "preprocessor_config.json")


def train(*argv: str) -> int:
    return call(main, parse(Arguments, list(argv)))


def write_data(path: Path, classes: int = 3, channels: int = 1, count: int = 60) -> None:
    """Classes that differ in where they are bright."""
    generator = np.random.default_rng(0)
    labels = np.arange(count) % classes
    images = generator.integers(0, 120, (count, 8, 8, channels))
    for n, label in enumerate(labels):
        images[n, 2 * label : 2 * label + 2] += 120
    images = images.astype(np.uint8)
    np.savez(path, train_images=images[:45], train_labels=labels[:45], test_images=images[45:], test_labels=labels[45:])


@pytest.fixture
def home(tmp_path) -> Path:
    (tmp_path / "small.yaml").write_text(NETWORK)
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    (tmp_path / "everything.yaml").write_text(EVERYTHING)
    write_data(tmp_path / "data.npz")
    return tmp_path


def arguments(home: Path, out: str, *more: str, recipe: str = "recipe") -> list[str]:
    data, recipe = str(home / "data.npz"), str(home / f"{recipe}.yaml")
    return [str(home / "small.yaml"), "--data", data, "--recipe", recipe, "--out", str(home / out), *more]


def test_leaves_a_result_that_evaluate_reads(home, capsys):
    assert train(*arguments(home, "out")) == 0
    assert {p.name for p in (home / "out").iterdir()} == {*FILES, "provenance.json"}
    document = json.loads((home / "out" / "architecture.json").read_text())
    record = document["training"]
    assert record["start"] == "scratch" and record["images"] == {"train": 36, "validation": 9, "test": 15}
    history = [json.loads(line) for line in (home / "out" / "history.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in history] == [1, 2, 3]
    best = max(history, key=lambda line: line["validation_accuracy"])
    assert record["accuracy"]["validation"] == best["validation_accuracy"]
    assert record["best_epoch"] == best["epoch"]
    capsys.readouterr()
    argv = [str(home / "out"), "--data", str(home / "data.npz"), "--json"]
    assert call(evaluate_main, parse(EvaluateArguments, argv)) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["top1"] == pytest.approx(record["accuracy"]["test"], abs=1e-6) and report["notes"] == []
    assert read_recipe(home / "out" / "recipe.yaml").fixed().to_json() == record["recipe"]


def write_split_data(path: Path, classes: int = 3, names: str = "") -> None:
    """With a validation split; `names` has a letter a class."""
    write_data(path, classes)
    with np.load(path) as archive:
        arrays = dict(archive)
    arrays |= {"val_images": arrays["test_images"][:9], "val_labels": arrays["test_labels"][:9]}
    np.savez(path, **arrays, **({"class_names": np.array(list(names))} if names else {}))


def test_a_result_remembers_its_data_and_takes_no_other_classes_by_itself(home, capsys):
    """Validation images choose the epoch; new classes get a new classifier, and all else is kept."""
    write_split_data(home / "data.npz", names="abc")
    assert train(*arguments(home, "first", "--epochs", "1")) == 0
    record = json.loads((home / "first" / "architecture.json").read_text())["training"]
    assert record["images"] == {"train": 45, "validation": 9, "test": 15}
    assert record["data"]["path"] == str(home / "data.npz") and record["data"]["images"]["validation"] == 9
    plain = [str(home / "first"), "--recipe", str(home / "recipe.yaml"), "--epochs", "1", "--lr", "1e-9"]
    capsys.readouterr()
    assert train(*plain, "--out", str(home / "second")) == 0
    assert f"the data of this run: {home / 'data.npz'}" in capsys.readouterr().out.replace("\n", "")
    assert call(evaluate_main, parse(EvaluateArguments, [str(home / "second"), "--split", "validation", "--json"])) == 0
    assert json.loads(capsys.readouterr().out)["images"] == 9
    write_split_data(home / "five.npz", 5)
    anew = [*plain, "--data", str(home / "five.npz"), "--out", str(home / "third")]
    assert "5 (0, 1, 2, ...) instead of 3 (a, b, c)" in refused(capsys, *anew)
    assert train(*anew, "--new-classes") == 0
    record = json.loads((home / "third" / "architecture.json").read_text())
    assert record["training"]["classifier"] == "begun anew" and record["labels"] == list("01234")
    old, new = (
        weights.load(home / name / "weights.safetensors", read_space(home / name / "architecture.json"))["params"]
        for name in ("first", "third")
    )
    changed = [name for name in new if new[name].shape != old[name].shape]
    assert len(changed) == 2 and all(np.allclose(old[n], new[n], atol=1e-5) for n in new if n not in changed)
    (home / "data.npz").unlink()
    assert "are gone; give --data" in refused(capsys, *plain, "--out", str(home / "fourth"))


@pytest.mark.slow
def test_same_seed_same_bytes_and_another_seed_others(home):
    for out, seed in (("first", "3"), ("second", "3"), ("third", "4")):
        assert train(*arguments(home, out, "--seed", seed, recipe="everything")) == 0
    for name in FILES[:3]:
        assert (home / "first" / name).read_bytes() == (home / "second" / name).read_bytes(), name
        assert (home / "first" / name).read_bytes() != (home / "third" / name).read_bytes(), name


@pytest.mark.slow
def test_overfits_a_few_images(home, capsys):
    """With nothing in its way the network learns its training images by heart."""
    file = home / "plain.yaml"
    file.write_text("epochs: 60\nbatch_size: 12\nlr: 0.1\nweight_decay: 0\nvalidation: 0.2\nlr_floor: 0.01\n")
    argv = arguments(home, "out")
    argv[argv.index("--recipe") + 1] = str(file)
    assert train(*argv) == 0
    last = json.loads((home / "out" / "history.jsonl").read_text().splitlines()[-1])
    assert last["train_accuracy"] == 1 and last["loss"] < 0.05
    document = json.loads((home / "out" / "architecture.json").read_text())
    assert document["training"]["accuracy"]["test"] > 0.6  # chance is a third


@pytest.mark.slow
def test_inherited_weights_are_where_training_begins(home, capsys):
    assert train(*arguments(home, "first")) == 0
    second = [str(home / "first"), *arguments(home, "second")[1:], "--lr", "1e-9", "--epochs", "1"]
    assert train(*second) == 0
    assert "inherited weights" in capsys.readouterr().out
    a, b = (weights.load(home / n / "weights.safetensors", read_space(home / n / "architecture.json"))["params"]
            for n in ("first", "second"))  # fmt: skip
    assert all(np.allclose(a[name], b[name], atol=1e-5) for name in a)
    fresh = [str(home / "first"), *arguments(home, "fresh")[1:], "--init", "scratch", "--epochs", "1"]
    assert train(*fresh) == 0
    assert "fresh weights" in capsys.readouterr().out


def test_the_steps_before_a_training_stay_with_the_network(home):
    """A search, a training of what it found, a pruning, and another training, also of fresh weights."""
    assert train(*arguments(home, "found")) == 0
    file = home / "found" / "architecture.json"
    document = json.loads(file.read_text())
    del document["training"]
    accuracies = {"soft": 0.3, "derived": 0.4, "derived_before": 0.2, "settled": 0.6, "settled_before": 0.5}
    document["search"] = {"space": "small", "inherited_accuracy": accuracies,
                          "budgets": [{"budget": "9kFLOPs", "limit": 9000.0}],
                          "accuracy_split": "test, 15 images, of data that chose nothing"}  # fmt: skip
    file.write_text(json.dumps(document))
    for out, source, more in (("on", "found", ()), ("again", "on", ()), ("afresh", "on", ("--init", "scratch"))):
        assert train(str(home / source), *arguments(home, out)[1:], "--epochs", "1", *more) == 0
    steps = lineage(read_result(home / "on"))
    assert [(s.step, s.detail, s.accuracy, s.images) for s in steps[:1]] == [("search", "9kFLOPs", 0.6, 15)]
    assert [s.step for s in steps] == ["search", "train"]
    for out in ("again", "afresh"):
        assert [s.step for s in lineage(read_result(home / out))] == ["search", "train", "train"]


@pytest.mark.slow
def test_a_teacher_is_stored_and_changes_the_student(home):
    assert train(*arguments(home, "teacher")) == 0
    assert train(*arguments(home, "alone", "--seed", "1")) == 0
    for kind in ("soft", "hard"):
        (home / "recipe.yaml").write_text(RECIPE + f"distillation: {kind}\n")
        assert train(*arguments(home, kind, "--seed", "1", "--teacher", str(home / "teacher"))) == 0
    found = {name: (home / name / "weights.safetensors").read_bytes() for name in ("alone", "soft", "hard")}
    assert len(set(found.values())) == 3
    assert json.loads((home / "soft" / "architecture.json").read_text())["training"]["teacher"] == "small"


@pytest.mark.slow
def test_a_published_network_takes_the_classes_and_channels_of_the_data(home):
    argv = ["fbnetv2_f1", *arguments(home, "out", "--epochs", "1", "--side", "32")[1:]]
    assert train(*argv) == 0
    document = json.loads((home / "out" / "architecture.json").read_text())
    assert document["input"] == {"channels": 1, "classes": 3, "resolution": 32}
    assert (
        document["trunk"][0]["conv"]["out"]
        == read_space(ROOT / "search_spaces/published/fbnetv2_f1.yaml").nodes[0].fields["out"].value
    )  # type: ignore[union-attr]


# One step against independent arithmetic ------------------------------------------------------------------------------


def plain_recipe(**changes):
    none = dict(
        mixup=0.0, cutmix=0.0, crop_padding=0, flip=False, rand_augment=0, erase=0.0, dropout=0.0, drop_path=0.0,
        ema=0.0, label_smoothing=0.0, clip_norm=0.0, schedule="constant", warmup_epochs=0.0, nesterov=False, lr=0.1,
        momentum=0.9, weight_decay=0.01,
    )  # fmt: skip
    return replace(read_recipe("quick").fixed(), **(none | changes))


def one_training(home, recipe, teacher=None):
    setup = make_setup(
        read_result(home / "small.yaml"), load(str(home / "data.npz")), recipe, seed=0, teacher=teacher
    )  # fmt: skip
    made = training(setup.network, setup.preprocessing, recipe, schedule(recipe, 10, 5), setup.teacher)
    batch = setup.dataset.train_images[:16], setup.dataset.train_labels[:16]
    return setup, made, batch


def test_three_steps_are_torchs(home):
    """The same small network written in torch: SGD with momentum, decay of weights alone, batch norms in training."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    (home / "small.yaml").write_text("""
name: plain
input: {channels: 1, classes: 3, resolution: 8}
trunk: [{conv: {kernel: 3, stride: 2, out: 6, act: relu}}, {conv: {out: 5, act: hswish}}]
head: [{pool: {}}, {linear: {out: $classes}}]
""")
    recipe = plain_recipe(label_smoothing=0.1)
    setup, made, batch = one_training(home, recipe)

    def tensor(name):
        return torch.nn.Parameter(torch.tensor(np.asarray(setup.variables["params"][name])))

    names = sorted(setup.variables["params"])
    p = {name: tensor(name) for name in names}
    decayed = [p[n] for n in names if p[n].ndim > 1]
    rule = torch.optim.SGD(
        [{"params": decayed, "weight_decay": 0.01}, {"params": [p[n] for n in names if p[n].ndim == 1]}],
        lr=0.1, momentum=0.9,
    )  # fmt: skip
    assert len(decayed) == 3

    def layer(x, block, stride):
        w = p[f"{block}.conv.weight"].permute(3, 2, 0, 1)
        x = torch.nn.functional.conv2d(x, w, stride=stride, padding=w.shape[-1] // 2)
        scale, shift = p[f"{block}.norm.scale"], p[f"{block}.norm.shift"]
        return torch.nn.functional.batch_norm(x, None, None, scale, shift, training=True, eps=1e-5)

    images = torch.tensor(np.array(prepare(batch[0], setup.preprocessing))).permute(0, 3, 1, 2)
    labels = torch.tensor(np.asarray(batch[1]), dtype=torch.long)
    state, step = made.init(setup.variables), jax.jit(made.step)
    for _ in range(3):
        x = torch.relu(layer(images, "trunk.0", 2))
        x = torch.nn.functional.hardswish(layer(x, "trunk.1", 1)).mean((2, 3))
        logits = x @ p["head.1.linear.weight"] + p["head.1.linear.bias"]
        loss = torch.nn.functional.cross_entropy(logits, labels, label_smoothing=0.1)
        rule.zero_grad()
        loss.backward()
        rule.step()
        state, metrics = step(state, batch, jax.random.key(0), None)
        assert float(metrics["loss"]) == pytest.approx(loss.item(), rel=1e-5)
    found = made.packing.unpack(state.variables)["params"]
    for name in names:
        np.testing.assert_allclose(found[name], p[name].detach().numpy(), rtol=1e-4, atol=2e-6, err_msg=name)


@pytest.mark.parametrize(("kind", "weight"), [("soft", 0.3), ("hard", 0.5), ("soft", 1.0)])
def test_the_loss_with_a_teacher_is_the_stated_mix(home, kind, weight):
    result = read_result(home / "small.yaml")
    weights.save(home / "t.safetensors", result.network, init(result.network, jax.random.key(5)))
    recipe = plain_recipe(distillation=kind, distillation_weight=weight, distillation_temperature=2.0)
    teacher = read_result(home / "small.yaml", home / "t.safetensors")
    setup, made, (images, labels) = one_training(home, recipe, teacher)
    assert setup.teacher is not None
    _, metrics = made.step(made.init(setup.variables), (images, labels), jax.random.key(0), setup.teacher.variables)
    x, gates = prepare(images, setup.preprocessing), one_hot(Layout(()), {})
    student = Supernet(setup.network).apply(setup.variables, x, gates, momentum=0.9, mutable=["batch_stats"])[0][0]
    taught = Supernet(setup.network).apply(setup.teacher.variables, x, gates)[0]
    found = answers(setup.teacher, setup.teacher.variables, jnp.asarray(images))
    np.testing.assert_allclose(found.logits, taught, rtol=1e-5)
    p, logp = jax.nn.softmax(taught / 2), jax.nn.log_softmax(student / 2)
    term = 4 * np.mean(np.sum(p * (np.log(p) - logp), 1))
    if kind == "hard":
        guess = np.argmax(taught, 1)
        term = -np.mean(np.asarray(jax.nn.log_softmax(student))[np.arange(16), guess])
    own = -np.mean(np.asarray(jax.nn.log_softmax(student))[np.arange(16), labels])
    assert float(metrics["loss"]) == pytest.approx(float((1 - weight) * own + weight * term), rel=1e-4)


def test_a_teacher_of_another_size_sees_the_same_images(home):
    """Mixed pixels go through each network's own preprocessing."""
    teacher = at_input(read_space(home / "small.yaml"), side=6)
    weights.save(home / "t.safetensors", teacher, init(teacher, jax.random.key(5)))
    (home / "t.yaml").write_text(NETWORK.replace("resolution: 8", "resolution: 6"))
    setup, made, batch = one_training(
        home, plain_recipe(mixup=0.4), read_result(home / "t.yaml", home / "t.safetensors")
    )
    assert setup.teacher is not None and setup.teacher.preprocessing.side == 6
    _, metrics = made.step(made.init(setup.variables), batch, jax.random.key(0), setup.teacher.variables)
    assert np.isfinite(float(metrics["loss"]))


def test_the_average_of_weights_is_the_written_out_sum():
    generator = np.random.default_rng(0)
    values = generator.normal(size=(8, 3)).astype(np.float32)
    average = {"w": jnp.asarray(values[0])}
    wanted = values[0].astype(np.float64)
    for t, value in enumerate(values[1:]):
        average = moving_average(average, {"w": jnp.asarray(value)}, 0.6, jnp.asarray(t))
        memory = min(0.6, (1 + t) / (10 + t))
        wanted = memory * wanted + (1 - memory) * value
    np.testing.assert_allclose(average["w"], wanted, rtol=1e-5)


def test_averages_hold_weights_and_norm_statistics(home):
    setup, made, batch = one_training(home, plain_recipe(ema=0.9))
    state = made.init(setup.variables)
    after, _ = made.step(state, batch, jax.random.key(0), None)
    for group in ("params", "batch_stats"):
        for path, value in after.variables[group].items():
            wanted = 0.1 * state.variables[group][path] + 0.9 * value  # memory 1/10 in the first step
            np.testing.assert_allclose(after.averaged[group][path], wanted, rtol=1e-4, atol=1e-6)
    assert (
        made.init(setup.variables).averaged and not one_training(home, plain_recipe())[1].init(setup.variables).averaged
    )


def test_augmentation_off_gives_the_pixels_as_they_are(home):
    images = load(str(home / "data.npz")).train_images[:4]
    np.testing.assert_array_equal(augmented(images, jax.random.key(0), plain_recipe(), 8), images)
    moved = augmented(images, jax.random.key(0), plain_recipe(crop_padding=2, flip=True), 8)
    assert moved.shape == images.shape and not np.array_equal(moved, images)
    assert augmented(images, jax.random.key(0), plain_recipe(crop_area=0.5), 6).shape == (4, 6, 6, 1)


def test_one_compiled_step_serves_the_whole_run(home):
    import chex

    setup, made, _ = one_training(home, plain_recipe(ema=0.9))
    run = Trainer(setup)
    step = jax.jit(chex.assert_max_traces(n=1)(made.step), donate_argnums=0)
    state = made.init(setup.variables)
    for number in range(4):
        state, _ = step(state, run.batches.at(number), jax.random.key(0), None)
    assert int(state.step) == 4


def test_the_loss_at_the_start_is_that_of_an_unsure_network(home):
    """ln 3, for labels mixed and smoothed or not: fresh scores are small."""
    setup, made, batch = one_training(home, plain_recipe(mixup=0.2, label_smoothing=0.1))
    _, metrics = made.step(made.init(setup.variables), batch, jax.random.key(0), None)
    x = prepare(batch[0], setup.preprocessing)
    logits = Supernet(setup.network).apply(
        setup.variables, x, one_hot(Layout(()), {}), momentum=0.9, mutable=["batch_stats"]
    )[0][0]
    assert abs(float(metrics["loss"]) - float(cross_entropy(logits, targets(batch[1], 3)))) < 1.0
    assert float(soft_distillation(logits, logits, 1.0)) == pytest.approx(0, abs=1e-6)


# Errors ---------------------------------------------------------------------------------------------------------------


def refused(capsys, *argv: str) -> str:
    capsys.readouterr()
    assert train(*argv) == 2
    error = capsys.readouterr().err
    assert len(error.strip().splitlines()) == 1
    return error


def test_errors_are_one_line_naming_file_and_cause(home, capsys):
    plain = arguments(home, "out")

    def changed(option: str, value: str) -> list[str]:
        argv = list(plain)
        argv[argv.index(option) + 1] = value
        return argv

    assert "small.yaml: no weights to inherit" in refused(capsys, *plain, "--init", "inherited")
    assert "space with" in refused(capsys, "fbnetv2", *plain[1:])
    assert "did you mean 'quick'" in refused(capsys, *changed("--recipe", "quik"))
    assert "space of recipes" in refused(capsys, *changed("--recipe", "fbnetv3_search"))
    assert "nowhere" in refused(capsys, *changed("--data", "nowhere"))
    (home / "empty").mkdir()
    assert "empty" in refused(capsys, *changed("--data", str(home / "empty")))
    assert "--epochs" in refused(capsys, *plain, "--epochs", "-1")
    assert "--image-size" in refused(capsys, *plain, "--side", "0")
    assert "folder of the architecture itself" in refused(capsys, *changed("--out", str(home)))
    assert "a teacher without weights" in refused(capsys, *plain, "--teacher", str(home / "small.yaml"))
    assert not (home / "out").exists()


@pytest.mark.slow
def test_weights_that_do_not_fit_the_data_are_refused(home, capsys):
    space = read_space(home / "small.yaml")
    weights.save(home / "weights.safetensors", space, init(space, jax.random.key(0)))
    write_data(home / "four.npz", classes=4)
    write_data(home / "colour.npz", channels=3)
    inherit = ("--weights", str(home / "weights.safetensors"))
    argv = arguments(home, "out")
    for data, said in (("four", "4 classes for a network of 3"), ("colour", "3 channels for a network of 1")):
        argv[argv.index("--data") + 1] = str(home / f"{data}.npz")
        error = refused(capsys, *argv, *inherit)
        assert "weights.safetensors: the inherited weights do not fit" in error and said in error
        # A fresh network takes the sizes of the data.
        assert train(*argv, "--init", "scratch", "--epochs", "1", "--overwrite") == 0
    argv = arguments(home, "out", "--teacher", str(home / "small.yaml"), "--teacher-weights", inherit[1])
    argv[argv.index("--data") + 1] = str(home / "four.npz")
    assert "4 classes for a network of 3" in refused(capsys, *argv)
    (home / "small.yaml").write_text(NETWORK.replace("out: 6", "out: 7"))
    assert "weights of another architecture" in refused(capsys, *arguments(home, "out", *inherit))


def test_unreadable_images_stop_a_training_unless_they_are_to_be_skipped(home, capsys):
    pillow = pytest.importorskip("PIL.Image")
    generator = np.random.default_rng(0)
    for split, count in (("train", 6), ("test", 2)):
        for label in ("a", "b", "c"):
            folder = home / "images" / split / label
            folder.mkdir(parents=True)
            for n in range(count):
                pillow.fromarray(generator.integers(0, 256, (8, 8), np.uint8)).save(folder / f"{n}.png")
    for bad in ("train/a/x.png", "test/c/y.png"):
        (home / "images" / bad).write_bytes(b"not an image")
    argv = arguments(home, "out", "--epochs", "1")
    argv[argv.index("--data") + 1] = str(home / "images")
    error = refused(capsys, *argv)
    assert "2 of 26 images cannot be read" in error and "train/a/x.png" in error and "test/c/y.png" in error
    assert not (home / "out").exists()
    assert train(*argv, "--skip-bad") == 0
    assert "left out: 2 images that cannot be read" in capsys.readouterr().out


def test_a_training_that_diverges_says_so_and_exports_nothing(home, capsys):
    error = refused(capsys, *arguments(home, "out", "--lr", "1e9"))
    assert "diverged at step" in error and "--lr" in error
    assert not (home / "out" / "architecture.json").exists()


def test_one_that_diverges_in_the_last_step_of_an_epoch_says_the_same(home, monkeypatch, capsys):
    """The loss was a number; the weights after it are none, which the evaluation finds."""
    from dnas.learning.evaluator import NotFinite
    from dnas.train.trainer import Trainer

    def count_right(trainer, variables, split):
        raise NotFinite("the network's scores of image 0 are not finite numbers")

    monkeypatch.setattr(Trainer, "count_right", count_right)
    error = refused(capsys, *arguments(home, "out"))
    assert "diverged at step" in error and "image 0" in error and "--lr" in error


# Leaving and continuing -----------------------------------------------------------------------------------------------


def launched(home: Path, out: str, *more: str) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "DNAS_CACHE": str(home / "cache")}
    argv = arguments(home, out, "--checkpoint-every", "0", *more, recipe="everything")
    command = [sys.executable, "-m", "dnas.train", *argv]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def steps_saved(folder: Path) -> list[int]:
    names = [p.name for p in folder.glob("checkpoints/*")] if folder.exists() else []
    return sorted(int(name) for name in names if name.isdigit())


def wait_for(process: subprocess.Popen, folder: Path, step: int) -> None:
    while process.poll() is None and not any(s >= step for s in steps_saved(folder)):
        time.sleep(0.002)


def same_bytes(home: Path, a: str, b: str) -> None:
    for name in FILES[:3]:
        assert (home / a / name).read_bytes() == (home / b / name).read_bytes(), name


def test_continuing_after_a_signal_gives_the_same_bytes(home, capsys, monkeypatch):
    """SIGTERM in mid-run: saved, one line how to continue, exit code 143; then as if nothing had happened."""
    assert train(*arguments(home, "whole")) == 0
    stepped = Journal.save

    def save(self, state, step, measured, *, now=False):
        if step == 5 and not now:
            os.kill(os.getpid(), signal.SIGTERM)
        return stepped(self, state, step, measured, now=now)

    monkeypatch.setattr(Journal, "save", save)
    capsys.readouterr()
    assert train(*arguments(home, "parts", "--checkpoint-every", "0")) == 143
    said = capsys.readouterr().err
    assert "stopped after step" in said and "--resume" in said and len(said.strip().splitlines()) == 1
    assert not (home / "parts" / "architecture.json").exists()
    monkeypatch.undo()
    assert train(*arguments(home, "parts", "--resume")) == 0
    assert "continued after step" in capsys.readouterr().out
    same_bytes(home, "whole", "parts")


def test_a_training_that_ends_early_leaves_nothing_open(home, monkeypatch):
    """In a notebook the process goes on, and a training that is continued opens the folder anew."""
    closed: list[Checkpoints] = []

    def advance(trainer, journal: Journal, *rest, **options):
        assert journal.save(State({"sum": np.zeros(())}, {}), 1, {}, now=True)
        raise Diverged("the run diverged")

    close = Checkpoints.close
    monkeypatch.setattr(Checkpoints, "close", lambda self: (closed.append(self), close(self)))
    monkeypatch.setattr("dnas.train.run.advance", advance)
    assert train(*arguments(home, "early")) == 2
    assert len(closed) == 1


@pytest.mark.slow
def test_another_run_is_not_continued_unless_forced(home, capsys, monkeypatch):
    monkeypatch.setattr("dnas.train.run._write", stopping)
    assert train(*arguments(home, "out", "--checkpoint-every", "0")) == 2
    error = refused(capsys, *arguments(home, "out", "--resume", "--seed", "1"))
    assert "seed was 0, is 1" in error and "--force" in error
    error = refused(capsys, *arguments(home, "out", "--resume", "--lr", "0.01"))
    assert "recipe.lr was 0.05, is 0.01" in error
    monkeypatch.undo()
    assert train(*arguments(home, "out", "--resume", "--force", "--lr", "0.01")) == 0
    assert train(*arguments(home, "none", "--resume")) == 0
    assert "beginning at the first step" in capsys.readouterr().out
    written = (home / "none" / "provenance.json").stat().st_mtime_ns
    assert train(*arguments(home, "none", "--resume")) == 0
    assert "ended already" in capsys.readouterr().out
    assert (home / "none" / "provenance.json").stat().st_mtime_ns == written
    assert train(*arguments(home, "none")) == 0  # without --resume it is made anew
    assert (home / "none" / "provenance.json").stat().st_mtime_ns != written


def stopping(*_):
    raise UserError("the disk is full")


@pytest.mark.slow
def test_a_kill_at_any_moment_costs_no_bit(home):
    """SIGKILL at five moments of one run, each time continued."""
    assert launched(home, "whole").wait() == 0
    for n, moment in enumerate((0, 2, 5, 8, 11)):  # before the first checkpoint, inside epochs, about their ends
        process = launched(home, "parts", *(["--resume"] if n else []))
        if moment:
            wait_for(process, home / "parts", moment)
            time.sleep(0.01 * n)
        else:
            while process.poll() is None and not (home / "parts").exists():
                time.sleep(0.002)
        process.kill()
        process.communicate()
        assert not (home / "parts" / "provenance.json").exists()
    process = launched(home, "parts", "--resume")
    out, _ = process.communicate()
    assert process.returncode == 0 and "continued after step" in out
    same_bytes(home, "whole", "parts")


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_from_outside_saves_and_says_how_to_continue(home, number, code):
    process = launched(home, "out", "--epochs", "400")
    wait_for(process, home / "out", 3)
    process.send_signal(number)
    _, error = process.communicate(timeout=60)
    assert process.returncode == code and "the same command with --resume goes on" in error
    step = int(error.split("after step ")[1].split(";")[0])
    assert steps_saved(home / "out")[-1] == step
