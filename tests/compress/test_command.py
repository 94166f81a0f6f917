"""`python -m dnas.compress` as a user runs it, on a small network and small data."""

from __future__ import annotations

import json
import math
import os
import signal
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

import dnas
from dnas.cli.compress import Arguments
from dnas.cli.compress import main as compress_main
from dnas.cli.entry import call, parse
from dnas.cli.evaluate import Arguments as EvaluateArguments
from dnas.cli.evaluate import main as evaluate_main
from dnas.cli.train import Arguments as TrainArguments
from dnas.cli.train import main as train_main
from dnas.cli.weights import Import, import_
from dnas.compress import run
from dnas.compress.asked import Asked
from dnas.compress.document import words
from dnas.compress.points import Point
from dnas.compress.vtp import _Costs, _removed
from dnas.cost.count import count
from dnas.errors import InputError
from dnas.files import write_json
from dnas.grammar.catalogue import load_space
from dnas.learning.journal import Journal
from dnas.runs.lineage import lineage
from dnas.runs.read import read_run
from dnas.runs.result import read_result
from tests.compress.networks import convolutional, dataset_file, transformer

FILES = ("architecture.json", "weights.safetensors", "history.jsonl", "recipe.yaml", "compression.md")


def compress(*argv: str) -> int:
    return call(compress_main, parse(Arguments, list(argv)))


def refused(capsys, *argv: str) -> str:
    """The one line that a mistake ends in."""
    assert compress(*argv) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line]
    assert len(lines) == 1, lines
    return lines[0]


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """Data, and a trained transformer and a trained convolutional network beside them."""
    folder = tmp_path_factory.mktemp("compress")
    data = dataset_file(folder)
    for space in (transformer(), convolutional()):
        file = folder / f"{space.name}.json"
        write_json(file, space.document.data)
        argv = [str(file), "--data", str(data), "--recipe", "finetune", "--epochs", "2", "--batch-size", "16"]
        assert call(train_main, parse(TrainArguments, [*argv, "--out", str(folder / f"{space.name}-run")])) == 0
    return folder


def arguments(home: Path, out: str, *more: str, network: str = "vit") -> list[str]:
    usual = ["--method", "vtp", "--epochs", "1", "--batch-size", "16"]
    return [str(home / f"{network}-run"), *usual, "--out", str(home / out), *more]


@pytest.mark.parametrize("network", ["vit", "mobile"])
def test_a_budget_is_kept_and_what_was_done_is_told(home, capsys, network):
    whole = count(read_result(home / f"{network}-run").network)
    limit = int(0.75 * whole["macs"])
    out = f"{network}-small"
    assert compress(*arguments(home, out, "--budget", f"{limit}FLOPs", network=network)) == 0
    said = capsys.readouterr().out
    assert "before" in said and "trained on" in said and "next:" in said
    assert f"--budget {limit}FLOPs: the network has " in said and "as it is trained, at " in said
    assert "keeps the budget already" not in said
    small = count(load_space(home / out))
    assert 0.5 * limit < small["macs"] <= limit
    document = json.loads((home / out / "architecture.json").read_text())
    stages = document["compression"]["stages"]
    assert [stage["stage"] for stage in stages] == ["before", "vtp", "trained on"]
    assert stages[-1]["macs"] == small["macs"] == document["costs"]["macs"]
    assert document["compression"]["budgets"] == [{"budget": f"{limit}FLOPs", "limit": limit, "cost": small["macs"]}]
    assert [step.step for step in lineage(read_result(home / out))] == ["train", "vtp"]
    assert "| before |" in (home / out / "compression.md").read_text()
    assert call(evaluate_main, parse(EvaluateArguments, [str(home / out), "--json"])) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["top1"] == pytest.approx(stages[-1]["test_accuracy"], abs=1e-6)


def test_what_was_made_smaller_is_made_smaller_again(home):
    assert compress(*arguments(home, "once", "--rate", "0.2")) == 0
    argv = [str(home / "once"), "--method", "vtp", "--rate", "0.3", "--epochs", "1", "--batch-size", "16"]
    assert compress(*argv, "--out", str(home / "twice"), "--no-train-on") == 0
    steps = lineage(read_result(home / "twice"))
    assert [(step.step, step.detail) for step in steps] == [
        ("train", "finetune"), ("vtp", "--rate 0.2"), ("vtp", "--rate 0.3"),
    ]  # fmt: skip
    macs = [step.macs for step in steps]
    assert macs == sorted(macs, reverse=True) and len(set(macs)) == 3


def test_nothing_goes_at_a_rate_of_zero(home):
    assert compress(*arguments(home, "all", "--rate", "0", "--penalty", "0", "--no-train-on")) == 0
    before, after = (read_result(home / name) for name in ("vit-run", "all"))
    from dnas.learning import weights

    old, new = (weights.load(r.weights, r.network) for r in (before, after))
    assert {g: set(old[g]) for g in old} == {g: set(new[g]) for g in new}
    for group, values in old.items():
        for path, value in values.items():
            np.testing.assert_array_equal(new[group][path], value)


def test_stopped_and_continued_ends_in_the_same_bytes(home, monkeypatch, capsys):
    """SIGTERM in the learning of gates and again in the training on."""
    argv = ("--rate", "0.4", "--checkpoint-every", "0")
    assert compress(*arguments(home, "whole", *argv)) == 0
    for at in (2, 4):
        step = Journal.save

        def save(self, state, number, *rest, at=at, step=step, **more):
            found = step(self, state, number, *rest, **more)
            save.count += 1
            if save.count == at:
                os.kill(os.getpid(), signal.SIGTERM)
            return found

        save.count = 0
        monkeypatch.setattr(Journal, "save", save)
        assert compress(*arguments(home, "parts", *argv, *(["--resume"] if at > 2 else []))) == 143
        monkeypatch.undo()
        assert "--resume" in capsys.readouterr().err
    assert compress(*arguments(home, "parts", *argv, "--resume")) == 0
    for name in FILES[:3]:
        assert (home / "parts" / name).read_bytes() == (home / "whole" / name).read_bytes(), name
    assert not (home / "parts" / "checkpoints").exists()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ([], "--budget 700MFLOPs, or --rate 0.4"),
        (["--rate", "1"], "--rate"),
        (["--rate", "0.1", "--budget", "1kFLOPs"], "one of --rate and --budget"),
        (["--budget", "10FLOPs"], "out of reach"),
        (["--budget", "1ms@cpu_2core_ort_fbnetv2"], "--budget"),
        (["--rate", "0.1", "--penalty", "-1"], "--penalty"),
        (["--rate", "0.1", "--recipe", "none"], "none"),
        (["--rate", "0.1", "--epochs", "0"], "--epochs"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(home, capsys, more, said):
    assert said in refused(capsys, *arguments(home, "mistake", *more))
    assert not (home / "mistake").exists()


@pytest.mark.parametrize("penalty", [math.nan, math.inf])
def test_options_from_python_are_finite_numbers(home, penalty):
    with pytest.raises(InputError, match="--penalty: not accepted here"):
        dnas.run_compression(home / "vit-run", "vtp", rate=0.1, penalty=penalty, out=home / "mistake", quiet=True)
    assert not (home / "mistake").exists()


@pytest.mark.parametrize(
    ("network", "method", "more", "said"),
    [
        ("mobile", "patch_slimming", [], "mobile-run/architecture.json: no block works on tokens"),
        ("vit", "patch_slimming", ["--budget", "1kparams"], "saves multiply-adds alone"),
        ("vit", "vtp", ["--budget", "10FLOPs"], "out of reach"),
        ("vit", "vtp", ["--rate", "2"], "--rate"),
        ("vit", "vtp", ["--rate", "0.999"], "stays at every place (found 0.999; accepted: at most 0.888 here)"),
        ("vit", "ptq", ["--bits", "1"], "--bits"),
    ],
)
def test_what_cannot_be_done_is_said_before_data_are_read(home, capsys, network, method, more, said):
    argv = [str(home / f"{network}-run"), "--method", method, *more, "--data", str(home / "nowhere")]
    assert said in refused(capsys, *argv, "--out", str(home / "mistake"))


def test_data_that_do_not_fit_are_refused_with_what_this_command_can_do(home, tmp_path, capsys):
    """Where no names of classes are recorded, as of an imported checkpoint."""
    made = dict(np.load(home / "made.npz"))
    argv = [str(home / "vit.json"), "--weights", str(home / "vit-run" / "weights.safetensors"), "--method", "ptq"]
    argv += ["--data", str(tmp_path / "other.npz"), "--out", str(home / "mistake")]
    np.savez(
        tmp_path / "other.npz",
        **made | {"train_labels": made["train_labels"] % 2, "test_labels": made["test_labels"] % 2},
    )
    said = refused(capsys, *argv)
    assert "2 instead of 3" in said and "python -m dnas.train with --new-classes first" in said
    wide = {name: np.repeat(made[name], 2, axis=3)[..., :3] for name in ("train_images", "test_images")}
    np.savez(tmp_path / "other.npz", **made | wide)
    said = refused(capsys, *argv)
    assert "images of 3 channels for a network of 2" in said and "--init" not in said


def test_a_share_is_counted_as_it_is_written():
    """0.29 of 100 is 28.999... in floats."""
    places = [Point(name, name, 50, ()) for name in "ab"]
    assert _removed(_Costs(cast(Any, None), ()), places, {}, 0.29) == 29


def test_a_training_leaves_the_folders_of_weights_and_teacher_alone(home, capsys):
    before = (home / "vit-run" / "weights.safetensors").read_bytes()
    usual = [str(home / "vit.json"), "--data", str(home / "made.npz"), "--out", str(home / "vit-run"), "--overwrite"]
    for more in (["--init", str(home / "vit-run" / "weights.safetensors")], ["--teacher", str(home / "vit-run")]):
        assert call(train_main, parse(TrainArguments, [*usual, "--epochs", "1", *more])) == 2
        assert "name another one" in capsys.readouterr().err
    assert (home / "vit-run" / "weights.safetensors").read_bytes() == before


def test_a_network_without_weights_is_refused(home, capsys):
    line = refused(capsys, str(home / "vit.json"), "--method", "vtp", "--rate", "0.1", "--out", str(home / "none"))
    assert "no weights" in line and not (home / "none").exists()


def test_the_folder_of_another_run_is_left_alone(home, capsys):
    before = (home / "mobile-run" / "architecture.json").read_bytes()
    assert "another" in refused(capsys, *arguments(home, "mobile-run", "--rate", "0.1"))
    assert (home / "mobile-run" / "architecture.json").read_bytes() == before


def test_the_folder_of_the_weights_is_left_alone_too(home, capsys):
    before = (home / "vit-run" / "weights.safetensors").read_bytes()
    argv = [str(home / "vit.json"), "--weights", str(home / "vit-run" / "weights.safetensors"), "--overwrite"]
    argv += ["--data", str(home / "made.npz"), "--method", "ptq", "--out", str(home / "vit-run")]
    assert "the folder of the network itself" in refused(capsys, *argv)
    assert (home / "vit-run" / "weights.safetensors").read_bytes() == before


def test_checkpoints_of_another_run_are_not_gone_on_from(home, capsys):
    """No method reads them, and all went when it had ended."""
    other = home / "other"
    (other / "checkpoints" / "3").mkdir(parents=True)
    write_json(other / "run.json", {"run": "train", "identity": {"x": 1}})
    argv = [str(home / "vit-run"), "--method", "ptq", "--out", str(other), "--resume"]
    assert "holds another run's checkpoints" in refused(capsys, *argv)
    assert (other / "checkpoints" / "3").is_dir()


@pytest.mark.parametrize(
    "more", [["--epochs", "3"], ["--recipe", "quick"], ["--precision", "float32"], ["--no-train-on"]]
)
def test_what_trains_is_no_option_of_quantising(home, capsys, more):
    said = refused(capsys, str(home / "vit-run"), "--method", "ptq", *more, "--out", str(home / "none"))
    assert f"{more[0]}: does nothing with ptq" in said and not (home / "none").exists()


@pytest.mark.parametrize("method", [["vtp"], 3])
def test_a_method_from_python_is_a_text(home, method):
    with pytest.raises(InputError, match="method: not accepted here"):
        dnas.run_compression(home / "vit-run", method, quiet=True)


@pytest.mark.parametrize("method", [["ptq", "--bits", "8"], ["vtp", "--rate", "0.2"]])
def test_a_signal_before_the_first_step_ends_it(home, method, monkeypatch):
    counts = run.counts

    def counted(*given, **named):
        os.kill(os.getpid(), signal.SIGTERM)
        return counts(*given, **named)

    monkeypatch.setattr(run, "counts", counted)
    assert compress(str(home / "vit-run"), "--method", *method, "--out", str(home / "left")) == 143


@pytest.mark.slow
def test_tokens_are_dropped_and_then_channels(home, capsys):
    """The method `patch_slimming`, its picture, and another method on what it wrote."""
    limit = int(0.8 * count(read_result(home / "vit-run").network)["macs"])
    usual = ["--epochs", "1", "--batch-size", "16"]
    argv = [str(home / "vit-run"), "--method", "patch_slimming", *usual, "--images", "64"]
    assert compress(*argv, "--budget", f"{limit}FLOPs", "--out", str(home / "slimmed")) == 0
    slimmed = load_space(home / "slimmed")
    assert slimmed.keep_tokens and count(slimmed)["macs"] <= limit
    assert (home / "slimmed" / "patches.png").read_bytes()[:4] == b"\x89PNG"
    blocks = json.loads((home / "slimmed" / "architecture.json").read_text())["compression"]["blocks"]
    assert [block["kept"] for block in blocks][-1] == [0]
    argv = [str(home / "slimmed"), "--method", "vtp", *usual, "--rate", "0.2", "--out", str(home / "both")]
    assert compress(*argv) == 0
    both = load_space(home / "both")
    assert both.keep and both.keep_tokens == slimmed.keep_tokens and count(both)["macs"] < count(slimmed)["macs"]
    assert [step.step for step in lineage(read_result(home / "both"))] == ["train", "patch_slimming", "vtp"]


@pytest.mark.parametrize(
    ("method", "option", "accepted"),
    [("patch_slimming", ["--rate", "0.2"], "--budget, --error, --images"), ("vtp", ["--error", "0.1"], "--rate")],
)
def test_an_option_of_another_method_is_refused(home, capsys, method, option, accepted):
    said = refused(capsys, str(home / "vit-run"), "--method", method, *option, "--out", str(home / "none"))
    assert option[0] in said and f"not an option of {method}" in said and accepted in said
    assert not (home / "none").exists()


def test_a_report_shows_the_steps_and_python_the_stages(home, capsys):
    pytest.importorskip("vl_convert", reason="pages need dnas[report]")
    small = dnas.run_compression(
        home / "vit-run", "vtp", rate=0.3, train_on=False, penalty=0, epochs=1, out=home / "from-python", quiet=True
    )  # fmt: skip
    assert [stage["stage"] for stage in small.stages] == ["before", "vtp"] and small.history == {}
    assert small.architecture.costs["macs"] == small.stages[-1]["macs"] < small.stages[0]["macs"]
    assert isinstance(dnas.open_run(home / "from-python"), dnas.CompressionResult)
    page = home / "page.html"
    dnas.write_report(small, out=page)
    text = page.read_text()
    assert "How it became small" in text and "vtp --rate 0.3" in text and "From step to step: MACs" in text


@pytest.mark.parametrize("damage", [{"lineage": {}}, {"lineage": [{"step": 1}]}, {"compression": {"stages": [1]}}])
def test_a_damaged_record_is_one_line(home, tmp_path, damage):
    document = json.loads((home / "vit-run" / "architecture.json").read_text()) | damage
    for name in ("weights.safetensors", "history.jsonl", "provenance.json"):
        (tmp_path / name).write_bytes((home / "vit-run" / name).read_bytes())
    write_json(tmp_path / "architecture.json", document)
    with pytest.raises(InputError) as caught:
        read_run(tmp_path)
    assert "architecture.json" in str(caught.value) and "\n" not in str(caught.value)


PTQ = ("--method", "ptq", "--images", "8", "--scales", "min-max")


def test_data_that_name_the_classes_otherwise(home, tmp_path, capsys):
    """The line named an option that the command did not have."""
    named = tmp_path / "named.npz"
    with np.load(home / "made.npz") as arrays:
        names = np.array([f"class {n}" for n in range(int(arrays["train_labels"].max()) + 1)])
        np.savez(named, **arrays, class_names=names)
    argv = [str(home / "vit-run"), *PTQ, "--data", str(named), "--out", str(tmp_path / "out")]
    assert "accepted: --new-classes" in refused(capsys, *argv)
    assert compress(*argv, "--new-classes") == 0
    assert read_result(tmp_path / "out").labels == tuple(names.tolist())


def test_a_step_has_no_accuracy_of_other_weights(home, tmp_path):
    """With `--weights` the training beside the architecture says nothing of what is made smaller."""
    other = tmp_path / "other.safetensors"
    other.write_bytes((home / "vit-run" / "weights.safetensors").read_bytes())
    for given, known in (((), True), (("--weights", str(other)), False)):
        out = tmp_path / f"out-{known}"
        assert compress(str(home / "vit-run"), *PTQ, *given, "--out", str(out)) == 0
        first, own = lineage(read_result(out))
        assert (first.step, own.step) == ("train", "ptq") and own.accuracy is not None
        assert (first.accuracy is not None) == (first.images is not None) == known


def test_an_import_keeps_the_steps_of_its_architecture(home, tmp_path):
    assert compress(*arguments(home, "thin", "--rate", "0.3", "--no-train-on")) == 0
    wanted = Import(str(home / "thin"), home / "thin" / "weights.safetensors", tmp_path / "imported")
    assert call(import_, wanted) == 0
    steps = lineage(read_result(tmp_path / "imported"))
    assert [step.step for step in steps] == ["train", "vtp", "import"] and steps[1].accuracy is not None


def test_a_damaged_history_is_told_before_anything_is_read(home, tmp_path, capsys):
    document = json.loads((home / "vit-run" / "architecture.json").read_text())
    (tmp_path / "weights.safetensors").write_bytes((home / "vit-run" / "weights.safetensors").read_bytes())
    write_json(tmp_path / "architecture.json", document | {"lineage": [{"step": 1}]})
    said = refused(capsys, str(tmp_path), *PTQ, "--data", "nowhere", "--out", str(tmp_path / "out"))
    assert "architecture.json" in said and "lineage.0.step" in said
    assert call(train_main, parse(TrainArguments, [str(tmp_path), "--data", "nowhere"])) == 2
    assert "lineage.0.step" in capsys.readouterr().err


def test_what_was_asked_is_told_as_it_is_written():
    assert words(Asked("ptq", bits=6.0, mixed=True)) == "--bits 6 --mixed"
    assert words(Asked("vtp", rate=0.25)) == "--rate 0.25"


def test_what_quantisation_cannot_do_is_told_at_once(home, capsys):
    network = str(home / "vit-run")
    said = refused(capsys, network, "--method", "ptq", "--budget", "0.001MB", "--data", "nowhere")
    assert "found '0.001MB'" in said and "accepted: at least" in said
    said = refused(capsys, network, "--method", "ptq", "--bits", "32", "--mixed", "--data", "nowhere")
    assert said.startswith("error: --mixed: ")
