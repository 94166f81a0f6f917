"""Imported weights as a result folder: what it says, and that every reader of runs takes it."""

from __future__ import annotations

import json
import shutil

import pytest

import dnas
from dnas.api.spaces import result_for
from dnas.errors import UserError
from dnas.export import parity
from dnas.grammar.catalogue import load_space
from dnas.learning import weights
from dnas.learning.importing import import_weights
from dnas.report.write import write_report
from dnas.runs.folder import Claiming
from dnas.runs.lineage import lineage
from dnas.runs.result import read_result
from dnas.timm.identify import identified
from dnas.timm.models import MODELS, architecture_of

from .networks import checkpoint, drawn, network, saved


@pytest.fixture
def file(tmp_path):
    """Of another number of classes."""
    other = network("deit", classes=7)
    return saved(tmp_path / "w.safetensors", checkpoint(other, drawn(other)))


def imported(file, **claiming):
    said: list[str] = []
    return import_weights(network("deit"), file, file.parent / "out", Claiming(**claiming), said.append), said


def test_the_folder_is_a_result(file):
    folder, said = imported(file)
    assert said == ["note: preprocessing not known: taken to be that of ImageNet"]
    result, own = read_result(folder), network("deit", classes=7)
    assert result.network.classes == 7 and result.labels == () and result.preprocessing is not None
    images, found = parity.images(own), weights.load(result.weights, result.network)
    logits = parity.reference(result.network, found, images)
    assert parity.difference(logits, parity.reference(own, weights.load(file, own), images)) == 0
    told = json.loads((folder / "architecture.json").read_text())["imported"]
    assert told["names"] == "timm" and told["file"] == "w.safetensors" and len(told["sha256"]) == 64
    assert (folder / "preprocessor_config.json").is_file()


def test_the_same_again_is_the_same_and_another_is_refused(file):
    folder, _ = imported(file)
    first = (folder / "weights.safetensors").read_bytes()
    imported(file)
    assert (folder / "weights.safetensors").read_bytes() == first
    other = network("deit")
    saved(file, checkpoint(other, drawn(other, seed=1)))
    with pytest.raises(UserError, match="holds the result of another run"):
        imported(file)
    assert (folder / "weights.safetensors").read_bytes() == first
    imported(file, overwrite=True)
    assert read_result(folder).network.classes == 5


def test_nothing_is_written_of_what_does_not_fit(file):
    tensors = checkpoint(network("deit"), drawn(network("deit")))
    saved(file, {name: value for name, value in tensors.items() if name != "norm.bias"})
    with pytest.raises(UserError, match=r"'norm\.bias' is missing"):
        imported(file)
    assert not (file.parent / "out").exists()


def test_reports_and_python_take_it(file):
    pytest.importorskip("vl_convert", reason="pages need dnas[report]")
    folder, _ = imported(file)
    assert write_report([folder], folder / "page.html")
    page = (folder / "page.html").read_text()
    assert "Imported weights" in page and "w.safetensors" in page
    run = dnas.open_run(folder)
    assert isinstance(run, dnas.ImportedResult) and run.accuracy == {} and len(run.warnings) == 1
    assert str(run.save(folder / "copy")) == str(folder / "copy")
    assert read_result(folder / "copy").network.classes == 7


def test_the_file_beside_it_tells_classes_and_pictures(file):
    labels = [f"class {n}" for n in range(7)]
    config = {"architecture": "mine", "num_classes": 7, "label_names": labels, "pretrained_cfg": {
        "mean": [0.1, 0.2, 0.3], "std": [1, 1, 0.5], "crop_pct": 0.875, "interpolation": "bicubic"}}  # fmt: skip
    beside = file.with_name("config.json")
    beside.write_text(json.dumps(config))
    folder, said = imported(file)
    assert "shortest edge of 18 px (bicubic) and takes the 16 px" in said[0]
    result = read_result(folder)
    assert result.labels == tuple(labels) and result.preprocessing.mean == (0.1, 0.2, 0.3)
    config["pretrained_cfg"]["mean"] = [0, 0, 0]
    beside.write_text(json.dumps(config))
    assert read_result_of(file).preprocessing.mean == (0, 0, 0)
    for mean, std in (([0.5], [0.2]), (0.5, [0.2, 0.2, 0.2]), ([0.5, 0.5, 0.5], 0.2)):
        config["pretrained_cfg"] |= {"mean": mean, "std": std}
        beside.write_text(json.dumps(config))
        taken = read_result_of(file).preprocessing
        assert (taken.mean, taken.std) == ((0.5, 0.5, 0.5), (0.2, 0.2, 0.2))
    config["label_names"] = labels[:5]
    beside.write_text(json.dumps(config))
    shutil.rmtree(folder)
    folder, said = imported(file)
    assert said[0] == f"note: classes have no names: {beside} names 5 classes, the network has 7"
    assert read_result(folder).labels == ()
    beside.write_text(json.dumps({"model_type": "other"}))
    assert read_result_of(file).labels == ()
    config["pretrained_cfg"]["mean"] = "grey"
    beside.write_text(json.dumps(config))
    with pytest.raises(UserError, match=r"config\.json: pretrained_cfg\.mean: not as timm writes it"):
        read_result_of(file)


def test_a_file_of_a_models_name_is_that_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert architecture_of("efficientformer_l1") == "efficientformer_l1"
    assert architecture_of("deit_tiny_patch16_224.fb_in1k") == "deit_ti"
    for name in ("deit_tiny_patch16_224.yaml", "deit_tiny_patch16_224.mine.json"):
        assert architecture_of(name) == name


def read_result_of(file):
    return result_for(network("deit"), file)


def test_what_it_fits_is_named(tmp_path):
    space = load_space("efficientformerv2_s0")
    file = saved(tmp_path / "w.safetensors", checkpoint(space, drawn(space)))
    with pytest.raises(UserError, match="is missing; it fits efficientformerv2_s0"):
        import_weights(load_space("deit_ti"), file, tmp_path / "out", Claiming(), print)


def test_it_is_the_first_step_of_what_follows(file):
    (step,) = lineage(read_result(imported(file)[0]))
    assert (step.step, step.detail, step.accuracy) == ("import", "timm: w.safetensors", None)


def test_from_python(file):
    run = dnas.import_weights(network("deit"), file, quiet=True)
    assert run.architecture.classes == 7 and run.document["imported"]["names"] == "timm"


def test_weights_of_a_file_bring_their_classes_and_preprocessing(file):
    result = result_for(network("deit"), file)
    assert result.network.classes == 7 and result.preprocessing.mean == pytest.approx((0.485, 0.456, 0.406))


def test_own_weights_are_imported_too(file):
    space = network("deit")
    weights.save(file, space, drawn(space))
    folder, said = imported(file)
    assert said == [] and read_result(folder).preprocessing is None
    assert identified(file).fits == ["deit"] and identified(file).names == "dnas"


def test_names_of_timm_are_names_of_the_catalogue():
    assert architecture_of("deit_tiny_patch16_224.fb_in1k") == "deit_ti" and architecture_of("mine.yaml") == "mine.yaml"
    assert all(load_space(model.architecture).is_architecture for model in MODELS.values())


def test_a_file_says_what_it_fits(tmp_path):
    space = load_space("efficientformerv2_s0")
    found = identified(saved(tmp_path / "w.safetensors", checkpoint(space, drawn(space))))
    assert found.fits == ["efficientformerv2_s0"] and found.types == ["F32"] and found.numbers > 3_600_256
