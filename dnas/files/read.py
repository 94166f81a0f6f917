"""Files read within bounds of size, depth and numbers; nothing in them is executed."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import yaml

from dnas.errors import InputError
from dnas.files.sets import current

MAX_YAML = 1 << 20
MAX_JSON = 16 << 20
MAX_DEPTH = 64
MAX_INTEGER = 1 << 62
TEXT = "utf-8-sig"
"""UTF-8, without the mark that some editors and spreadsheets write before it."""
_BRACKETS = re.compile(r'"(?:[^"\\]++|\\.)*+"|[\[\]{}]', re.DOTALL)


def read_bytes(path: Path, limit: int) -> bytes:
    """The file's bytes; raises `InputError` where it is missing, not a file, or longer than `limit`."""
    try:
        file = current(path)
        if not file.is_file():
            raise InputError(str(path), "not a file" if file.exists() else "no such file")
        if file.stat().st_size > limit:
            raise InputError(str(path), f"{file.stat().st_size:,} bytes", accepted=f"at most {limit:,}")
        return file.read_bytes()
    except OSError as error:
        raise InputError(str(path), f"cannot read: {error.strerror or error}") from error


_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""What would move the cursor of a terminal, or worse, where a text is shown."""
_MAYBE_CONTROL = re.compile(r"\\(?:u00|[bfr])|[\x7f-\x9f]")
"""How JSON spells these; other things as well."""


class Document:
    """A parsed YAML or JSON file: plain data, and the line of every place in it (YAML only)."""

    def __init__(self, path: str, data: Any, lines: dict[tuple, int]):
        self.path, self.data, self._lines = path, data, lines

    def where(self, place: tuple) -> str:
        """`file:line: a.b.3.c`, for messages."""
        line = next((self._lines[place[:n]] for n in range(len(place), -1, -1) if place[:n] in self._lines), None)
        name = self.path if line is None else f"{self.path}:{line}"
        return f"{name}: {'.'.join(map(str, place))}" if place else name


def read_document(path: Path) -> Document:
    """Reads a space or architecture file by its ending (`.json`, else YAML). Nothing in it is executed.

    Raises `InputError` for syntax errors, aliases, duplicate keys, nesting beyond 64, control characters and oversized
    files.
    """
    shown = str(path)
    is_json = path.suffix == ".json"
    raw = read_bytes(path, MAX_JSON if is_json else MAX_YAML)
    try:
        text = raw.decode(TEXT)
    except UnicodeDecodeError as error:
        raise InputError(shown, f"not UTF-8 text: {error.reason} at byte {error.start}") from error
    if is_json:
        document = Document(shown, parse_json(text, shown), {})
        if _MAYBE_CONTROL.search(text):
            _refuse_control(document, document.data, ())
        return document
    lines: dict[tuple, int] = {}
    try:
        _refuse_aliases_and_depth(text, shown)
        node = yaml.compose(text, Loader=yaml.CSafeLoader if hasattr(yaml, "CSafeLoader") else yaml.SafeLoader)
        data = None if node is None else _plain(node, (), lines, shown)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{shown}:{mark.line + 1}" if mark else shown
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        if "nesting depth" in problem:  # the parser's own limit, of newer versions, which it meets while reading ahead
            raise InputError(place, f"nested deeper than {MAX_DEPTH}") from error
        raise InputError(place, f"not YAML: {problem}") from error
    document = Document(shown, data, lines)
    _refuse_control(document, data, ())
    return document


def _refuse_control(document: Document, value: Any, place: tuple) -> None:
    """Raises `InputError` for a text, or a key, with control characters."""
    if isinstance(value, dict):
        for key, inner in value.items():
            _refuse_control(document, key, place)
            _refuse_control(document, inner, (*place, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            _refuse_control(document, inner, (*place, index))
    elif isinstance(value, str) and (found := _CONTROL.search(value)):
        raise InputError(document.where(place), "a control character in a text", found=f"U+{ord(found[0]):04X}")


def parse_json(text: str, shown: str, line: int | None = None) -> Any:
    """JSON text as plain data, within the bounds of depth and size of numbers; raises `InputError`.

    Args:
        line: where the text stands in its file, for files of one object a line.
    """
    where = shown if line is None else f"{shown}:{line}"

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key, value in pairs:
            if key in result:
                raise InputError(where, f"the key '{key}' stands twice")
            result[key] = value
        return result

    def refuse(constant: str) -> None:
        raise InputError(where, "not a JSON number", found=constant)

    def number(text: str) -> float | int:
        value = float(text)
        if not math.isfinite(value):
            raise InputError(where, "not a finite number", found=text)
        if abs(value) > MAX_INTEGER and text.lstrip("-").isdigit():
            raise InputError(where, "too large an integer", found=text)
        return int(text) if text.lstrip("-").isdigit() else value

    depth = deepest = 0
    for token in _BRACKETS.finditer(text):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(token[0], 0)
        deepest = max(depth, deepest)
    if deepest > MAX_DEPTH:
        raise InputError(where, f"nested {deepest} deep", accepted=f"at most {MAX_DEPTH}")
    try:
        value = json.loads(text, object_pairs_hook=unique, parse_constant=refuse, parse_float=number, parse_int=number)
        if r"\ud" in text.lower():
            json.dumps(value, ensure_ascii=False).encode()
        return value
    except json.JSONDecodeError as error:
        at = f"{shown}:{error.lineno if line is None else line}"
        raise InputError(at, f"not JSON: {error.msg}") from error
    except UnicodeEncodeError as error:
        raise InputError(where, "half a character (an unpaired surrogate)") from error
    except (ValueError, RecursionError) as error:
        raise InputError(where, f"not JSON: {error}") from error


def _refuse_aliases_and_depth(text: str, shown: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=yaml.CSafeLoader if hasattr(yaml, "CSafeLoader") else yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            line = event.start_mark.line + 1
            raise InputError(
                f"{shown}:{line}", "anchors and aliases are not accepted; use a named choice or a template"
            )
        if isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise InputError(f"{shown}:{event.start_mark.line + 1}", f"nested deeper than {MAX_DEPTH}")
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            depth -= 1


_SCALARS = yaml.SafeLoader("")
_OCTAL = re.compile(r"[-+]?0[0-7_]*[0-7]")
"""What people take for decimal, and YAML 1.1 does not: 016 is 14 there (and 1:30 is 90)."""


def _plain(node: yaml.Node, place: tuple, lines: dict[tuple, int], shown: str) -> Any:
    line = node.start_mark.line + 1
    lines[place] = line
    if not isinstance(node, yaml.ScalarNode) and node.tag not in ("tag:yaml.org,2002:seq", "tag:yaml.org,2002:map"):
        raise InputError(f"{shown}:{line}", "not plain data", found=node.tag.split(":", 1)[-1])
    if isinstance(node, yaml.SequenceNode):
        return [_plain(child, (*place, index), lines, shown) for index, child in enumerate(node.value)]
    if isinstance(node, yaml.MappingNode):
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = _scalar(key_node, shown)
            if not isinstance(key, str):
                raise InputError(f"{shown}:{key_node.start_mark.line + 1}", "a key that is not text", found=key)
            if key in result:
                raise InputError(f"{shown}:{key_node.start_mark.line + 1}", f"the key '{key}' stands twice")
            result[key] = _plain(value_node, (*place, key), lines, shown)
        return result
    return _scalar(node, shown)


def _scalar(node: yaml.Node, shown: str) -> Any:
    allowed = {f"tag:yaml.org,2002:{t}" for t in ("str", "int", "float", "bool", "null")}
    if not isinstance(node, yaml.ScalarNode) or node.tag not in allowed:
        raise InputError(f"{shown}:{node.start_mark.line + 1}", "not a plain value", found=node.tag.split(":")[-1])
    where = f"{shown}:{node.start_mark.line + 1}"
    kind = node.tag.rpartition(":")[2]
    if (kind == "int" and _OCTAL.match(node.value)) or (kind in ("int", "float") and ":" in node.value):
        accepted = "a number without a leading 0 and without colons; text in quotes"
        raise InputError(where, "YAML reads this as a number of base 8 or 60", found=node.value, accepted=accepted)
    try:
        value = _SCALARS.construct_object(node, deep=True)
    except (ValueError, yaml.YAMLError) as error:
        raise InputError(where, f"not a value: {error}", found=node.value) from error
    if isinstance(value, int) and abs(value) > MAX_INTEGER:
        raise InputError(where, "too large an integer", found=node.value)
    return value
