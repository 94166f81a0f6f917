"""Event files, read back by their own definition: length, checksum, event, checksum."""

from __future__ import annotations

import importlib
import json
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from dnas.errors import MissingExtra
from dnas.learning.events import EventWriter, scalars

HISTORY = Path(__file__).parents[1] / "report" / "runs" / "tiny-0" / "history.jsonl"


def crc32c(data: bytes) -> int:
    """Castagnoli's checksum, bit by bit (RFC 3720, appendix B.4)."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(data: bytes) -> int:
    crc = crc32c(data)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def records(data: bytes) -> Iterator[bytes]:
    """The records of a file (TensorFlow's TFRecord format), each checked."""
    at = 0
    while at < len(data):
        head = data[at : at + 8]
        (length,) = struct.unpack("<Q", head)
        assert struct.unpack("<I", data[at + 8 : at + 12])[0] == masked(head)
        body = data[at + 12 : at + 12 + length]
        assert len(body) == length
        assert struct.unpack("<I", data[at + 12 + length : at + 16 + length])[0] == masked(body)
        yield body
        at += 16 + length


def fields(message: bytes) -> Iterator[tuple[int, bytes | int]]:
    """Field numbers and values of a protocol buffer."""
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(message):
        tag = varint()
        match tag & 7:
            case 0:
                yield tag >> 3, varint()
                continue
            case 1:
                size = 8
            case 2:
                size = varint()
            case 5:
                size = 4
            case other:
                raise AssertionError(other)
        yield tag >> 3, message[at : at + size]
        at += size


def read(folder: Path) -> dict[tuple[str, int], float]:
    """(tag, step) -> value: Event{step = 2, summary = 5{value = 1{tag = 1, simple_value = 2}}}."""
    found = {}
    for file in folder.iterdir():
        for event in records(file.read_bytes()):
            parts = dict(fields(event))
            if 5 not in parts:
                continue
            for _, value in fields(parts[5]):  # type: ignore[arg-type]
                named = dict(fields(value))  # type: ignore[arg-type]
                (number,) = struct.unpack("<f", named[2])  # type: ignore[arg-type]
                found[named[1].decode(), parts.get(2, 0)] = number  # type: ignore[union-attr]
    return found


def test_checksum_by_its_published_values():
    assert crc32c(b"123456789") == 0xE3069283 and crc32c(bytes(32)) == 0x8A9136AA


def test_every_number_of_a_history_is_found_again(tmp_path):
    pytest.importorskip("tensorboardX")
    rows = [json.loads(line) for line in HISTORY.read_text().splitlines()]
    rows[-1] |= {"probabilities": {"trunk.1.0.out": [0.25, 0.75]}, "phase": "settle", "skip_share": 0.5}
    writer = EventWriter(tmp_path)
    for row in rows:
        writer.write(row)
    found = read(tmp_path)  # before it is closed: a killed run leaves what it wrote
    writer.close()
    wanted = {(tag, row["step"]): value for row in rows for tag, value in scalars(row)}
    assert found.keys() == wanted.keys() and len(found) > 150
    assert all(found[key] == pytest.approx(value, rel=1e-6) for key, value in wanted.items())
    last = rows[-1]["step"]
    assert found["probabilities/probabilities/trunk.1.0.out/1", last] == 0.75
    assert found["weights/loss", rows[0]["step"]] == pytest.approx(rows[0]["loss"], rel=1e-6)


def test_what_is_no_number_is_left_out():
    row = {"step": 3, "phase": "search", "flag": True, "loss": float("nan"), "multipliers": [1.0, float("inf"), 2]}
    assert dict(scalars(row)) == {"budgets/multipliers/0": 1.0, "budgets/multipliers/2": 2.0}


def test_without_the_package_it_names_itself(tmp_path, monkeypatch):
    def missing(name: str):
        raise ModuleNotFoundError(f"No module named '{name}'")

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(MissingExtra, match=r"pip install 'dnas\[log\]'"):
        EventWriter(tmp_path)
