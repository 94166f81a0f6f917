"""Names that are not UTF-8, or hold what no line may hold, as text."""

from __future__ import annotations

import re

_UNPRINTED = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def text_of(name: str) -> str:
    r"""The name of a file, folder or class as text that every format holds and every reader gives back.

    Bytes that are not UTF-8 (lone surrogates in Python), control characters and ends of line become escapes: the byte
    E9 is written `\xe9`. Other names stay as they are.
    """
    return _UNPRINTED.sub(escaped, name)


def escaped(found: re.Match[str]) -> str:
    """One such character as an escape."""
    code = ord(found[0])
    if 0xDC80 <= code <= 0xDCFF:  # how Python keeps a byte of a name that is not UTF-8
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
