"""Who reads a network knows no operator and no block kind by name: an operator says of itself what readers ask."""

import ast
from pathlib import Path

from dnas.blocks import KINDS
from dnas.ops import OPERATORS

SOURCE = Path(__file__).parents[2] / "dnas"
BY_NAME = ("ops", "blocks", "maths", "cpu", "export/onnx_writers.py", "export/onnx_tokens.py", "export/flax_writers.py",
           "export/torch_writers.py", "export/timm.py", "cost/conventions.py", "cost/table_import.py",
           "export/onnx_quantize.py", "learning/resized.py", "timm")  # fmt: skip
"""Declarations, forms and writers by an operator's name, and other programs' words for the same."""
OTHER_WORDS = {
    "skip": "an option's label", "mask": "a path's end", "activation": "a kind of work", "select": "Vega-Lite's field",
}  # fmt: skip


def test_readers_hold_no_names_of_operators_or_kinds():
    names = (set(OPERATORS) | set(KINDS)) - set(OTHER_WORDS)
    found = {}
    for file in sorted(SOURCE.rglob("*.py")):
        place = file.relative_to(SOURCE).as_posix()
        if not place.startswith(BY_NAME):
            nodes = ast.walk(ast.parse(file.read_text()))
            texts = {n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str)}
            found |= {place: texts & names} if texts & names else {}
    assert not found
