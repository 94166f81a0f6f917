"""Spoilt files: good ones with bytes flipped, parts cut, moved or doubled, values replaced, and known nasty documents.

Every function is pure in its generator, so a case is found again by its seed.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from typing import Any

TOKENS = (
    b"{", b"}", b"[", b"]", b":", b",", b'"', b"'", b"\n", b"  ", b"\t", b"\0", b"\xff", b"\xed\xa0\x80", b"- ", b"? ",
    b"&a", b"*a", b"!!python/object/apply:os.system ['touch pwned']", b"<<: ", b"|", b"%", b"@", b"null", b"true",
    b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1", b"0", b"1e308", b"9" * 30, b"9" * 5000, b"0x1F", b"1_000",
    b"2001-01-01", b".inf", b".nan", b"$out", b"$", b"../../../etc/passwd", b"/etc/passwd", b"~", b"\\u0000",
    b"\\ud800",
)  # fmt: skip
NUMBERS = (
    0, 1, -1, 2, 3, 7, 31, 1000, 10**6, 10**6 + 1, 2**31, 2**53, 2**63, 10**30, 0.0, 0.5, -0.5, 1e-300, 1e300,
)  # fmt: skip
TEXTS = (
    "", "a", "$w", "$out", "in * 2", "side", "kernel // 0", "round8(in", "9**9**9", "2 * " * 60 + "1", "x" * 10_000,
    "../../x", "/etc/passwd", "\0", "\ud800", "\x1b[31m", "none", "relu",
)  # fmt: skip
PARTS: tuple[Any, ...] = (
    [], {}, [[]], [1, 2], {"choices": []}, {"choices": [1, 1]}, {"choices": [3, "a", True]},
    {"choices": list(range(600))}, {"choices": [1.5, 1e300]}, {"choices": [8, 16, 24]}, {"range": [1, 10**9, 1]},
    {"range": [1, 500, 1]}, {"range": [0, 0, 0]}, {"range": [8, 16, 4]}, {"range": [-1, 1, 1]}, {"mbconv": {"out": 8}},
    {"skip": {"out": 8}}, {"one_of": [{"pool": {}}, {"conv": {"out": 8}}]},
)  # fmt: skip
VALUES: tuple[Any, ...] = (None, True, False, *NUMBERS, *TEXTS, *PARTS)
KEYS = (
    "out", "kernel", "stride", "repeat", "first", "choices", "range", "one_of", "name", "input", "trunk", "entries", "",
    "\0", "x" * 3000, "__class__", "$out",
)  # fmt: skip


def flipped(data: bytes, draw: random.Random) -> bytes:
    """Up to 8 bytes changed."""
    spoilt = bytearray(data)
    for _ in range(draw.randint(1, 8)):
        if spoilt:
            spoilt[draw.randrange(len(spoilt))] ^= (
                1 << draw.randrange(8) if draw.random() < 0.5 else draw.randrange(256)
            )
    return bytes(spoilt)


def cut(data: bytes, draw: random.Random) -> bytes:
    start, end = sorted(draw.randrange(len(data) + 1) for _ in range(2))
    return data[:start] if draw.random() < 0.4 else data[:start] + data[end:]


def doubled(data: bytes, draw: random.Random) -> bytes:
    start, end = sorted(draw.randrange(len(data) + 1) for _ in range(2))
    at = draw.randrange(len(data) + 1)
    return data[:at] + data[start : min(end, start + 4000)] * draw.randint(1, 4) + data[at:]


def inserted(data: bytes, draw: random.Random) -> bytes:
    for _ in range(draw.randint(1, 3)):
        at = draw.randrange(len(data) + 1)
        data = data[:at] + draw.choice(TOKENS) + data[at:]
    return data


def lines_moved(data: bytes, draw: random.Random) -> bytes:
    lines = data.split(b"\n")
    for _ in range(draw.randint(1, 3)):
        a, b = draw.randrange(len(lines)), draw.randrange(len(lines))
        lines[a], lines[b] = lines[b], lines[a]
        if draw.random() < 0.5:
            lines.insert(a, b"  " * draw.randint(0, 4) + lines[b].lstrip())
    return b"\n".join(lines)


BYTES: tuple[Callable[[bytes, random.Random], bytes], ...] = (flipped, cut, doubled, inserted, lines_moved)


def value_replaced(data: Any, draw: random.Random) -> Any:
    """Plain data with one to three places replaced, removed, renamed, or exchanged for another part of it."""
    data = json.loads(json.dumps(data))
    for _ in range(draw.randint(1, 3)):
        places = list(_places(data))
        if not places:
            break
        holder, key = draw.choice(places)
        match draw.randrange(6):
            case 0 | 1 | 2:
                holder[key] = copy.deepcopy(draw.choice(VALUES))
            case 3:
                other, at = draw.choice(places)
                try:
                    holder[key] = json.loads(json.dumps(other[at]))
                except (LookupError, RecursionError):  # a part of itself, or gone by now
                    holder[key] = copy.deepcopy(draw.choice(VALUES))
            case 4:
                if isinstance(holder, dict):
                    holder[draw.choice(KEYS)] = holder.pop(key)
                else:
                    holder.insert(key, holder[key])
            case 5:
                del holder[key]
    return data


def _places(value: Any) -> Any:
    if isinstance(value, dict):
        for key in list(value):
            yield value, key
            yield from _places(value[key])
    elif isinstance(value, list):
        for n, part in enumerate(value):
            yield value, n
            yield from _places(part)


def _deep(draw: random.Random) -> int:
    return draw.choice((60, 65, 1000, 100_000))


NASTY: tuple[Callable[[random.Random], bytes], ...] = (
    lambda draw: (lambda n: b"[" * n + b"]" * n)(_deep(draw)),
    lambda draw: (lambda n: b'{"a":' * n + b"1" + b"}" * n)(_deep(draw)),
    lambda draw: b"[" * _deep(draw),
    lambda draw: b"- " * _deep(draw) + b"1",
    lambda draw: b"".join(b" " * n + b"a:\n" for n in range(min(_deep(draw), 1000))),
    lambda draw: b"a: &a [*a, *a]\ntrunk: *a\n",
    lambda draw: b"a: &a {b: *a}\n",
    lambda draw: b"x0: &x0 [1,1]\n" + b"".join(b"x%d: &x%d [*x%d,*x%d]\n" % (n, n, n - 1, n - 1) for n in range(1, 40)),
    lambda draw: b"input: {resolution: 32}\n<<: {trunk: []}\ntrunk: []\n",
    lambda draw: b"!!python/object/apply:os.system ['touch pwned']",
    lambda draw: b"trunk: !!binary aGVsbG8=\ninput: !!set {a, b}\n",
    lambda draw: b"# " + b"x" * draw.choice((1000, (1 << 20) - 2, 1 << 20, (1 << 20) + 1)),
    lambda draw: b'"' + b"\\" * 100_001,
    lambda draw: b'{"name": "' + b"a" * 3_000_000 + b'"}',
    lambda draw: b"",
    lambda draw: b"\xff\xfe" + "{}".encode("utf-16-le"),
    lambda draw: b"\xef\xbb\xbf{}",
    lambda draw: b"--- {}\n--- {}\n",
    lambda draw: b"input: {}\ntrunk:\n" + b"  - conv: {out: 8}\n" * draw.choice((10, 1999, 2001)),
    lambda draw: b"input: {}\ntrunk: [{conv: {out: 8, kernel: {range: [1, 31, 2]}}, repeat: 200}]\n",
    lambda draw: (
        b"choices: {" + b", ".join(b"c%d: {range: [1, 500, 1]}" % n for n in range(4)) + b", d: $c0 * $c1 * $c2}\n"
        b"input: {}\ntrunk: []\n"
    ),
    lambda draw: (
        b"choices: {a: {range: [1, 300, 1]}, b: {range: [1, 300, 1]}, c: {range: [1, 40, 1]}, d: $a * $b + $c}\n"
        b"input: {}\ntrunk: []\n"
    ),
    lambda draw: b'{"step": 1}\n' * draw.choice((2, 1000)),
    lambda draw: bytes(draw.randrange(256) for _ in range(draw.randrange(3000))),
)
"""Documents known to hurt parsers: deep, cyclic, over-long, tagged, in other encodings, of too many combinations."""


def nasty(draw: random.Random) -> bytes:
    return draw.choice(NASTY)(draw)
