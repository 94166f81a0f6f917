"""JSON schema of space files, for completion and checks in editors; generated from the registry of block kinds.

    python -m dnas.cli.schema        writes search_spaces/schema.json

A file names it in its first line: `# yaml-language-server: $schema=schema.json`. The schema is a help while typing;
`dnas.grammar.read` is what decides, and checks more (names of choices, formulas, widths).
"""

from __future__ import annotations

from typing import Any

import msgspec

from dnas.blocks import KINDS
from dnas.blocks.kind import Kind
from dnas.files import to_json, write_atomic
from dnas.grammar.read import TOP, WEIGHTS
from dnas.grammar.values import EXTRA
from dnas.search.strategies import ALL
from dnas.space.fields import MAX_OPTIONS, REQUIRED, Field, Formula
from dnas.space.quantized import LEAST_BITS, MOST_BITS
from dnas.train.recipe_fields import FIELDS as RECIPE

CHOICE = {"$ref": "#/$defs/choice"}
FORMULA = {"$ref": "#/$defs/formula"}


def schema() -> dict[str, Any]:
    """The whole schema (draft 2020-12)."""
    strict, open_ = {"$ref": "#/$defs/block"}, {"$ref": "#/$defs/block_or_template"}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "dnas search space or architecture",
        "type": "object",
        "required": ["input", "trunk"],
        "additionalProperties": False,
        "properties": _top(),
        # Without templates every name of a block must be a known kind; with them any name may be a template's.
        "if": {"required": ["templates"]},
        "then": {"properties": {"trunk": _items(open_), "head": _items(open_)}},
        "else": {"properties": {"trunk": _items(strict), "head": _items(strict)}},
        "$defs": {
            "choice": _choice(),
            "formula": {
                "type": "string",
                "description": "a formula: $name for a named choice, bare names for fields of the same block",
            },
            "block": _block(strict, templates=False),
            "block_or_template": _block(open_, templates=True),
            **{f"kind_{kind.name}": _kind(kind) for kind in KINDS.values()},
        },
    }


def _top() -> dict[str, Any]:
    positive = {"type": "integer", "minimum": 1}
    known: dict[str, Any] = {
        "name": {"type": "string"},
        "about": {"type": "string"},
        "strategy": {"enum": list(ALL), "description": "search algorithm where the command line names none"},
        "input": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "channels": positive | {"default": 3, "description": "image channels"},
                "classes": positive | {"default": 1000, "description": "number of classes"},
                "resolution": {
                    "anyOf": [positive | {"maximum": 4096}, CHOICE, FORMULA],
                    "default": 224,
                    "description": "side of the image",
                },
            },
        },
        "choices": {
            "type": "object",
            "additionalProperties": {"anyOf": [CHOICE, FORMULA, {"type": ["boolean", "number"]}]},
            "description": "named choices and values: one decision wherever $name stands",
        },
        "templates": {
            "type": "object",
            "additionalProperties": {"$ref": "#/$defs/block"},
            "description": "blocks under a name of their own; their arguments are $names inside",
        },
        "trunk": {"description": "blocks from the image to the last map"},
        "head": {"description": "blocks from the last map to the classes"},
        "where": {
            "type": "array",
            "items": {"anyOf": [{"type": "string"}, _order()]},
            "description": "what must hold, as formulas over names: '$w % 8 == 0', or as an order of options",
        },
        "keep": {
            "type": "object",
            "additionalProperties": {"type": "array", "items": {"type": "integer", "minimum": 0}},
            "description": "channels that operators of a pruned architecture have left, by path",
        },
        "keep_tokens": {
            "type": "object",
            "additionalProperties": {"type": "array", "items": {"type": "integer", "minimum": 0}},
            "description": "tokens that go on after blocks of a slimmed architecture, by path",
        },
        "quantization": {
            "type": "object",
            "additionalProperties": _quantized(),
            "description": "of how many bits the numbers of operators are, by path",
        },
        "gates": {
            "type": "array",
            "items": {"type": "string"},
            "uniqueItems": True,
            "description": "paths of operators behind which a learned factor a channel stands",
        },
        "recipe": {
            "type": "object",
            "additionalProperties": False,
            "properties": {name: _field(field, formulas=False) for name, field in RECIPE.items()},
            "description": "fields of the trainings that a joint search tries, each a value or a choice",
        },
    }
    assert tuple(known) == TOP
    return known | {key: {"description": "written by dnas into an exported architecture"} for key in EXTRA}


def _quantized() -> dict[str, Any]:
    bits = {"type": "integer", "minimum": LEAST_BITS, "maximum": MOST_BITS}
    return {
        "type": "object",
        "minProperties": 1,
        "additionalProperties": False,
        "properties": {
            "bits": bits | {"description": "of both factors of a product"},
            "weights": {"enum": list(WEIGHTS), "description": "what one step of quantised weights serves"},
            "result": bits | {"description": "of the result"},
        },
    }


def _order() -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["order", "of"],
        "additionalProperties": False,
        "properties": {
            "order": {"type": "array", "minItems": 2, "description": "options, the earlier first"},
            "of": {"type": "string", "description": "the choices this holds along, by name: trunk.7.*.one_of"},
        },
    }


def _items(item: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": item}


def _choice() -> dict[str, Any]:
    option = {"type": ["boolean", "number", "string"]}
    choices = {"type": "array", "items": option, "minItems": 1, "maxItems": MAX_OPTIONS, "uniqueItems": True}
    steps = {"type": "array", "items": {"type": "number"}, "minItems": 3, "maxItems": 3}
    return {
        "description": "a decision left to the search",
        "oneOf": [
            {"type": "object", "required": [key], "additionalProperties": False, "properties": {key: value}}
            for key, value in (
                ("choices", choices | {"description": "the options"}),
                ("range", steps | {"description": "[low, high, step], both ends included"}),
                ("log_range", steps | {"description": "[low, high, number]: so many, each in one ratio to the next"}),
            )
        ],
    }


def _repeat() -> dict[str, Any]:
    return {
        "anyOf": [{"type": "integer", "minimum": 0, "maximum": 200}, CHOICE, FORMULA],
        "description": "number of repetitions; a choice makes the depth one",
    }


def _block(item: dict[str, Any], *, templates: bool) -> dict[str, Any]:
    """One entry of a list: a kind with its fields, with `repeat` and `label` beside it."""
    properties: dict[str, Any] = {name: {"$ref": f"#/$defs/kind_{name}"} for name in KINDS}
    properties["one_of"] = _items(item) | {"minItems": 1, "description": "a choice between whole blocks"}
    properties["repeat"] = _repeat()
    about = "name of this option of a one_of"
    properties["label"] = {"type": "string", "pattern": r"^[\w-]+$", "description": about}
    other: Any = {"type": ["object", "null"], "description": "a template of this file"} if templates else False
    return {
        "type": "object",
        "minProperties": 1,
        "maxProperties": 3,
        "properties": properties,
        "additionalProperties": other,
    }


def _kind(kind: Kind) -> dict[str, Any]:
    fields = {name: _field(field) for name, field in kind.fields.items()}
    first = {
        "type": "object",
        "properties": fields,
        "additionalProperties": False,
        "description": "other values of fields for the first repetition",
    }
    result: dict[str, Any] = {
        "type": ["object", "null"],
        "description": kind.about,
        "properties": fields | {"repeat": _repeat(), "first": first, "each": _each(fields)},
        "additionalProperties": False,
    }
    required = [name for name, field in kind.fields.items() if field.default is REQUIRED]
    return result | ({"required": required} if required else {})


def _each(fields: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {name: {"type": "array"} for name in fields},
        "additionalProperties": False,
        "description": "fields with a list of values, one a repetition",
    }


def _field(field: Field, formulas: bool = True) -> dict[str, Any]:
    value = {"enum": list(field.names)} if field.names else msgspec.json.schema(field.type)
    formula = {"type": "string", "pattern": r"^\$", "description": "a named choice"} if field.names else FORMULA
    result: dict[str, Any] = {
        "anyOf": [value, *([CHOICE] if field.searchable else []), *([formula] if formulas else [])],
        "description": f"{field.about} ({field.accepts})",
    }
    if isinstance(field.default, Formula):
        result["description"] += f"; {field.default.text} if left out"
    elif field.default is not REQUIRED:
        result["default"] = field.default
    return result


if __name__ == "__main__":
    from dnas.grammar.catalogue import folder

    write_atomic(folder("search_spaces") / "schema.json", to_json(schema()))
