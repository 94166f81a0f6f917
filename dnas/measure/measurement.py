"""What has been measured so far: written whole every few seconds, so that a stopped measurement goes on."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import msgspec

from dnas.errors import InputError
from dnas.files import MAX_JSON, parse_json, read_bytes, write_atomic
from dnas.measure.protocol import Timing
from dnas.space.space import Space

SCHEMA = "dnas-measuring-1"


class Measurement(msgspec.Struct, forbid_unknown_fields=True):
    """A measurement under way. `conditions` must be the same when it goes on."""

    conditions: dict[str, Any]
    started: str
    plan: list[str]
    """Keys of the blocks, in order."""
    results: dict[str, dict[str, Any]]
    """Key -> the fields of `Timing`."""
    elapsed_s: float = 0.0
    load: float = 0.0
    """The largest load average met."""
    schema: str = SCHEMA

    def timing(self, key: str) -> Timing:
        return Timing(**self.results[key])

    def add(self, key: str, timing: Timing) -> None:
        self.results[key] = dataclasses.asdict(timing)


def partial_path(out: Path) -> Path:
    """Where a measurement under way is kept, beside the table that it becomes."""
    return out.with_name(out.name + ".partial")


def save(path: Path, so_far: Measurement) -> None:
    """Writes it whole, or not at all."""
    write_atomic(path, msgspec.json.encode(so_far))


def load(path: Path, conditions: dict[str, Any]) -> Measurement:
    """A stopped measurement; raises `InputError` where it was made under other conditions."""
    data = parse_json(read_bytes(path, MAX_JSON).decode("utf-8", "replace"), str(path))
    try:
        so_far = msgspec.convert(data, Measurement)
        for key in so_far.results:
            so_far.timing(key)
    except (msgspec.ValidationError, TypeError, ValueError) as error:
        raise InputError(str(path), f"not a stopped measurement: {error}") from error
    for name, value in conditions.items():
        if so_far.conditions.get(name) != value:
            raise InputError(
                str(path), f"was measured under another {name}", found=so_far.conditions.get(name),
                accepted=f"{value!r}, or start anew without --resume after removing the file",
            )  # fmt: skip
    return so_far


def space_hash(space: Space) -> str:
    """A hash of a space's file."""
    text = json.dumps(space.document.data, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
