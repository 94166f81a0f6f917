"""Files: read within bounds, written whole or not at all, one by one or as a set, under a lock."""

from dnas.files.names import text_of
from dnas.files.read import MAX_INTEGER, MAX_JSON, TEXT, Document, parse_json, read_bytes, read_document
from dnas.files.write import holds_other, json_lines, plain, to_json, write_atomic, write_json, write_together

__all__ = [
    "MAX_INTEGER", "MAX_JSON", "TEXT", "Document", "holds_other", "json_lines", "parse_json", "plain", "read_bytes",
    "read_document", "text_of", "to_json", "write_atomic", "write_json", "write_together",
]  # fmt: skip
