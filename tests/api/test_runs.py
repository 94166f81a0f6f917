"""Searches, trainings and evaluations from Python: what the commands do, without their edges."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

import dnas
from dnas.cli.search import Arguments, main
from dnas.errors import InputError
from dnas.learning.terms import Taps, Term
from tests.api.small import NETWORK, SETTINGS, SPACE, arrays

RUN = {"budgets": "1kparams", "preset": "smoke", "quiet": True, **SETTINGS}


@pytest.fixture(scope="module")
def run() -> dnas.SearchResult:
    before = dict(os.environ), [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
    data = arrays()
    found = dnas.run_search(SPACE, data=(data["images"], data["labels"]), **RUN)
    assert before == (dict(os.environ), [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)])
    return found


@pytest.fixture(scope="module")
def trained(run) -> dnas.TrainingResult:
    return dnas.run_training(run, epochs=2, batch_size=np.int64(16), quiet=True)


def test_a_search_says_what_it_found(run):
    assert run.architecture.is_architecture and run.architecture.costs["params"] <= 1000
    assert run.architecture.costs == {k: run.document["costs"][k] for k in ("macs", "params")}
    assert {len(column) for column in run.history.values()} == {len(run.history["step"])}
    assert any(isinstance(loss, float) for loss in run.history["loss"])
    assert 0 <= run.accuracy["derived"] <= 1 and run.budgets[0]["share"] <= 1
    assert run.labels == ["0", "1", "2"] and set(run.choices) == {c.name for c in dnas.load(SPACE).choices}


def test_a_search_is_that_of_the_command(run, tmp_path, capsys):
    np.savez(tmp_path / "data.npz", **arrays())
    (tmp_path / "small.json").write_text(json.dumps(SPACE))
    more = {name: SETTINGS[name] for name in ("epochs", "batch_size")}
    main(
        Arguments(
            str(tmp_path / "small.json"), ("1kparams",), preset="smoke", data=str(tmp_path / "data.npz"),
            out=tmp_path / "out", **more,
        )
    )  # fmt: skip
    document = json.loads((tmp_path / "out/architecture.json").read_text())
    for found in (document, own := json.loads(json.dumps(run.document))):
        del found["search"]["data"], found["search"]["by_proxy"], found["labels"]
    assert own == document
    theirs = (tmp_path / "out/weights.safetensors").read_bytes()
    assert (run.folder / "weights.safetensors").read_bytes() == theirs


def test_quiet_runs_print_nothing_and_others_name_no_folder(run, tmp_path, capfd):
    dnas.run_evaluation(run, quiet=True)
    assert capfd.readouterr() == ("", "")
    dnas.run_training(run, epochs=1, out=tmp_path / "net")
    out = capfd.readouterr().out
    assert "test top-1" in out and "python -m" not in out and str(tmp_path) not in out


def test_a_result_is_saved_opened_and_stands_for_its_folder(run, tmp_path):
    saved = run.save(tmp_path / "net")
    assert saved == tmp_path / "net" and run.save(saved) == saved
    again = dnas.open_run(saved)
    assert isinstance(again, dnas.SearchResult)
    assert again.document == run.document and again.history == run.history
    assert os.fspath(again) == str(saved) and Path(again) == saved
    other = dnas.run_training(NETWORK, data=arrays(), epochs=1, quiet=True)
    with pytest.raises(dnas.UserError, match="another run .*--overwrite"):
        other.save(saved)
    other.save(saved, overwrite=True)
    assert dnas.open_run(saved).accuracy == other.accuracy


def test_a_temporary_folder_goes_with_its_result():
    found = dnas.run_training(NETWORK, data=arrays(), epochs=1, quiet=True)
    folder = found.folder
    assert folder.is_dir()
    del found
    assert not folder.exists()


def test_a_training_begins_with_the_weights_and_data_of_the_search(run, trained):
    assert trained.document["training"]["start"] == "inherited"
    assert trained.document["training"]["data"]["sha256"] == run.document["search"]["data"]["sha256"]
    assert len(trained.history["validation_accuracy"]) == 2
    report = dnas.run_evaluation(trained, quiet=True)
    assert round(report["top1"], 6) == trained.accuracy["test"] and np.array(report["confusion"]).shape == (3, 3)


def test_built_networks_are_those_that_were_evaluated(trained):
    from dnas.data.load import scan
    from dnas.data.preprocess import prepare
    from dnas.runs.result import preprocessing_of, result_of

    module, variables = dnas.build(trained)
    result = result_of(trained.architecture)
    dataset = scan(arrays(), seed=result.data_seed()).load()
    images = prepare(dataset.test_images, preprocessing_of(result, dataset))
    right = np.asarray(module.apply(variables, images)).argmax(1) == dataset.test_labels
    assert round(float(right.mean()), 6) == trained.accuracy["test"]


def test_results_are_handed_over(run, trained, tmp_path):
    lines = dnas.run_export(trained, "flax", tmp_path / "net.py")
    assert (tmp_path / "net.py").is_file() and any("checked in flax" in line for line in lines)
    dnas.write_report(run, trained, out=tmp_path / "page.html")
    assert "<html" in (tmp_path / "page.html").read_text()[:200]


@pytest.mark.parametrize(
    "wrong, said",
    [
        (lambda run, there: dnas.run_search(NETWORK), "an architecture, with nothing to search"),
        (lambda run, there: dnas.run_search(SPACE, epocs=2), "--epocs: unknown setting, did you mean 'epochs'?"),
        (lambda run, there: dnas.run_search(SPACE, epochs="2"), "--epochs: not accepted here"),
        (lambda run, there: dnas.run_search(SPACE, budgets=["200M"]), "--budget: not a budget"),
        (lambda run, there: dnas.run_search(SPACE, budgets=5), "budgets: not a text"),
        (lambda run, there: dnas.run_search(SPACE, preset="fast"), "--preset: unknown"),
        (lambda run, there: dnas.run_search(SPACE, strategy="dmask"), "--strategy: unknown, did you mean"),
        (lambda run, there: dnas.run_search(SPACE, data=np.zeros((5, 8, 8))), "data: not a kind of data"),
        (lambda run, there: dnas.run_search(SPACE, data={"pictures": [1]}), "data: no known array names"),
        (lambda run, there: dnas.run_search(SPACE, data=([[1], [1, 2]], [0, 1])), "data: 'images' is no array"),
        (lambda run, there: dnas.run_search(SPACE, data=arrays(), budgets="1params"), "1params"),
        (lambda run, there: dnas.run_search(SPACE, data=arrays(), out=there, **RUN), "not a folder|cannot write"),
        (lambda run, there: dnas.run_training(run, lerning=1), "--lerning: unknown field"),
        (lambda run, there: dnas.run_training(run, init="fresh"), "--init: unknown"),
        (lambda run, there: dnas.run_training(run, out=run), "the folder of the architecture itself"),
        (lambda run, there: dnas.run_evaluation(NETWORK), "no weights beside it"),
        (lambda run, there: dnas.run_evaluation(run, split="all"), "--split: unknown"),
        (lambda run, there: dnas.run_export(run, "onx", there), "to: unknown target, did you mean 'onnx'"),
        (lambda run, there: dnas.open_run(there), "no such folder"),
        (lambda run, there: dnas.open_run(there.parent), "no architecture.json"),
    ],
)
def test_mistakes_are_one_line(run, tmp_path, wrong, said):
    there = tmp_path / "file"
    there.write_text("mine")
    with pytest.raises(dnas.UserError, match=said) as caught:
        wrong(run, there)
    assert "\n" not in str(caught.value) and there.read_text() == "mine"


def test_a_run_that_is_stopped_says_how_to_go_on(tmp_path, monkeypatch):
    def stopped(*_, **__):
        raise dnas.Stopped("stopped after step 3; the same command with --resume goes on", signal.SIGINT)

    monkeypatch.setattr("dnas.search.run.run_search", stopped)
    with pytest.raises(dnas.Stopped, match="^stopped after step 3; the same call with resume=True goes on$"):
        dnas.run_search(SPACE, data=arrays(), out=tmp_path / "a", quiet=True)
    with pytest.raises(dnas.Stopped, match="nothing of it is kept"):
        dnas.run_search(SPACE, data=arrays(), quiet=True)


def test_float64_is_refused():
    import jax

    with jax.enable_x64(True), pytest.raises(dnas.UserError, match="jax_enable_x64 is on"):
        dnas.run_evaluation(NETWORK)


def test_a_search_with_a_term_of_its_own_reports_it():
    data = arrays()
    few = Term("few gates", 0.5, Taps(), lambda p: jnp.sum(jnp.abs(p.gates.values)))
    found = dnas.run_search(SPACE, data=(data["images"], data["labels"]), terms=[few], **RUN)
    assert all(terms["few gates"] == 2 for terms in found.history["terms"] if terms)
    dnas.write_report(found, out=found.folder / "report.html")
    text = (found.folder / "report.html").read_text()
    assert "Terms of the loss" in text and "few gates" in text
    wrong = Term("wrong", 1.0, Taps(), lambda p: jnp.log(-jnp.sum(p.gates.values)))
    with pytest.raises(dnas.UserError, match="loss, terms, theta_loss not finite"):
        dnas.run_search(SPACE, data=(data["images"], data["labels"]), terms=[wrong], **RUN)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: dnas.open_run(5), "folder: not accepted here (found '5'; accepted: a path)"),
        (lambda: dnas.open_run(None), "folder: not accepted here (found 'None'; accepted: a path)"),
        (lambda: dnas.run_search("tiny", out=5), "out: not accepted here (found '5'; accepted: a path or None)"),
        (lambda: dnas.build("fbnet_c", weights=5), "weights: not accepted here"),
        (lambda: dnas.write_report("runs", out=None), "out: not accepted here"),
    ],
)
def test_a_path_that_is_none_is_one_line(call, told):
    with pytest.raises(InputError) as caught:
        call()
    assert told in str(caught.value)
