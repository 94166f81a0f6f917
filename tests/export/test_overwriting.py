"""An export replaces nothing that it would not write itself, unless it is asked to."""

from __future__ import annotations

from pathlib import Path

import pytest

from dnas.errors import UserError
from dnas.export.write import export

NETWORK = """
name: small
input: {channels: 1, classes: 3, resolution: 8}
trunk: [{conv: {out: 4, kernel: 3, stride: 2, act: relu}}]
head: [{pool: {}}, {linear: {out: $classes}}]
"""


@pytest.fixture
def network(tmp_path) -> str:
    (tmp_path / "small.yaml").write_text(NETWORK)
    return str(tmp_path / "small.yaml")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_another_networks_export_stays(network, tmp_path):
    out = tmp_path / "out" / "net.py"
    export(network, "flax", out=out)
    before = contents(out.parent)
    export(network, "flax", out=out)  # the same again
    with pytest.raises(UserError, match=r"net\..*: is there already, and is another one .*--overwrite"):
        export(network, "flax", out=out, seed=1)
    assert contents(out.parent) == before
    export(network, "flax", out=out, seed=1, overwrite=True)
    assert contents(out.parent).keys() == before.keys() and contents(out.parent) != before


def test_weights_beside_a_file_of_another_name_stay(network, tmp_path):
    """`--out weights.py` in a run's folder would take the place of its own weights."""
    (tmp_path / "weights.safetensors").write_bytes(b"of the run")
    before = contents(tmp_path)
    with pytest.raises(UserError, match=r"weights\.safetensors: is there already"):
        export(network, "flax", out=tmp_path / "weights.py")
    assert contents(tmp_path) == before


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_in_the_place_of_one_of_its_files_is_named_before_any_is_replaced(network, overwrite, tmp_path):
    (tmp_path / "net.safetensors").mkdir()
    with pytest.raises(UserError, match=r"net\.safetensors"):
        export(network, "flax", out=tmp_path / "net.py", overwrite=overwrite)
    assert {path.name for path in tmp_path.iterdir()} == {"small.yaml", "net.safetensors"}
