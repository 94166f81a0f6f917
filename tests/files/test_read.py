"""Files as editors and spreadsheets write them."""

from __future__ import annotations

import codecs

import pytest

from dnas.cost.latency_table import read_table
from dnas.cost.measurements import read_measurements
from dnas.cost.table_import import import_table
from dnas.files import read_document
from dnas.grammar.catalogue import find_table, load_space

FACTS = '{"unit": "ms", "ops": {"Skip_H8_W8_Cin4_Cout4_stride1": 0}}'
CSV = f"arch,a\n{'0' * 22},2\n"
READERS = {
    "a.yaml": (lambda path: read_document(path).data, b"name: a\ntrunk: []\n"),
    "a.json": (lambda path: read_document(path).data, b'{"name": "a"}'),
    "table.json": (read_table, find_table("pixel3").read_bytes()),
    "facts.json": (import_table, FACTS.encode()),
    "a.csv": (lambda path: read_measurements(path, load_space("fbnetv1_32")).ms.tolist(), CSV.encode()),
}


@pytest.mark.parametrize("name", READERS)
def test_a_byte_order_mark_is_no_part_of_the_text(name, tmp_path):
    read, content = READERS[name]
    (tmp_path / name).write_bytes(content)
    plain = read(tmp_path / name)
    (tmp_path / name).write_bytes(codecs.BOM_UTF8 + content)
    assert read(tmp_path / name) == plain
