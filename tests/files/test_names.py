"""Names that are not plain text, in what is written and read back."""

import json
import os

import pytest

from dnas.files import parse_json, plain, text_of, to_json, write_atomic

NAMES = {
    os.fsdecode(b"caf\xe9"): r"caf\xe9",
    "two\nlines": r"two\x0alines",
    "\x1b[31mred": r"\x1b[31mred",
    "end\u2028": r"end\u2028",
    "\ud800": r"\ud800",
    "café 🐈 [bold] no": "café 🐈 [bold] no",
}


@pytest.mark.parametrize("name", NAMES)
def test_a_name_becomes_text_that_every_format_holds(name):
    text = text_of(name)
    assert text == NAMES[name]
    assert text_of(text) == text
    text.encode("utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_json_of_any_name_is_read_back(name):
    value = {name: [name, {"deep": name}]}
    read = parse_json(to_json(value), "here")
    assert read == plain(value) == plain(plain(value))
    json.dumps(read, ensure_ascii=False).encode()


def test_text_of_any_name_is_written_as_utf_8(tmp_path):
    file = tmp_path / "page.html"
    write_atomic(file, "".join(NAMES))
    assert r"caf\xe9" in file.read_text(encoding="utf-8")
