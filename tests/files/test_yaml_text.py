"""YAML that people read, read back."""

from __future__ import annotations

import pytest

from dnas.files import read_document
from dnas.files.yaml_text import yaml_text
from dnas.grammar.catalogue import load_space, published_names, space_names

ODD = {
    "a: b": ["x # y", "- z", "yes", None, 1.5, True, "1", {}, [], "two\nlines", "é", "a" * 200, {"k": [{"q": [1, 2]}]}],
    "tail": [["a" * 90, "b" * 90], [[1]]],
}


@pytest.mark.parametrize("name", [*space_names(), *published_names()])
def test_spaces_with_a_remark_at_every_choice(name, tmp_path):
    space = load_space(name)
    data = dict(space.document.data)
    remarks = {place: "why: # not" for place in space.places.values()}
    file = tmp_path / "space.yaml"
    file.write_text(yaml_text(data, remarks, ["head"]))
    assert read_document(file).data == data
    assert file.read_text().count("# why: # not") == len(remarks) and file.read_text().startswith("# head\n")


def test_odd_values(tmp_path):
    file = tmp_path / "odd.yaml"
    file.write_text(yaml_text(ODD, {("a: b", 12, "k", 0, "q"): "remark"}))
    assert read_document(file).data == ODD
    assert "q: [1, 2]  # remark\n" in file.read_text()
