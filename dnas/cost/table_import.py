"""Public latency tables into ours: the facts files of `shared/data/lut`, one function a format.

Every source names its operators in its own way; what a name means is stated in the function that reads it, and in the
file's own `meaning`. Several entries of one block (a source that measured each layer of equal shape) become their
median, with their standard deviation as the spread.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np

from dnas.cost.keys import canonical
from dnas.cost.latency_table import Entry, LatencyTable, Measured, Source, check_signs
from dnas.errors import InputError
from dnas.files import MAX_JSON, TEXT, parse_json, read_bytes

Rows = Iterator[tuple[str, float]]
"""Key in our grammar, time in the file's unit."""
AROUND = ("conv", "pool", "linear")
"""Stem and head: the kinds that a source's base stands for, or that it does not count."""
_UNITS = {"ms": 1.0, "us": 1e-3, "s": 1e3}
_STAGES_FBNET = ((16, 1), (24, 4), (32, 4), (64, 4), (112, 4), (184, 4), (352, 1))


class Facts(msgspec.Struct, frozen=True):
    """What a facts file says beside its times; anything else that it says is left aside."""

    unit: Literal["ms", "us", "s"]
    name: str | None = None
    device: str = "unknown"
    batch_size: int | None = None
    meaning: str | None = None
    base: Any = 0.0
    variance: dict[str, Any] | None = None
    source_repo: str | None = None
    source_commit: str | None = None
    source_files: tuple[str, ...] = ()
    licence: str | None = None
    origin: str | None = None


def import_table(path: str | Path, name: str | None = None) -> LatencyTable:
    """Reads a facts file; `name` replaces the file's. Raises `InputError` for what is not one of the known formats."""
    shown = str(path)
    raw = read_bytes(Path(path), MAX_JSON)
    try:
        data = parse_json(raw.decode(TEXT), shown)
    except UnicodeDecodeError as error:
        raise InputError(shown, f"not UTF-8 text: {error.reason} at byte {error.start}") from error
    tables = data.get("tables") if isinstance(data, dict) else None
    ops = data.get("ops") if isinstance(data, dict) else None
    if isinstance(tables, dict):
        ops = _joined([part for part in tables.values() if isinstance(part, dict)], shown)
    if not isinstance(ops, dict) or not ops:
        raise InputError(shown, "no 'ops' or 'tables'", accepted="a facts file: " + ", ".join(FORMATS))
    said = _said(data, shown)
    found = next((f for f, (pattern, _, _) in FORMATS.items() if re.match(pattern, next(iter(ops)))), None)
    if found is None:
        raise InputError(
            f"{shown}: ops", "operator names of no known format", found=next(iter(ops)), accepted=", ".join(FORMATS)
        )
    _, read, more = FORMATS[found]
    try:
        rows = list(read(ops, data))
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, ArithmeticError) as error:
        raise InputError(f"{shown}: ops", f"not as the format {found} has it: {error!r}") from error
    entries = _entries(rows, _spreads(ops, said, shown), _UNITS[said.unit], shown)
    base = _number(said.base, f"{shown}: base") * _UNITS[said.unit] + 0.0
    table = LatencyTable(
        name=name or said.name or Path(path).stem,
        device=said.device,
        runtime=_runtime(said.device),
        unit="ms",
        entries=entries,
        about=more.get("about", ""),
        measured=Measured(batch=said.batch_size, note=said.meaning or None),
        base=base,
        in_base=more.get("in_base", AROUND),
        relative_to_skip=more.get("relative", False),
        space=more.get("space"),
        source=Source(
            repository=said.source_repo, commit=said.source_commit, files=said.source_files,
            licence=said.licence, how=said.origin,
        ),
    )  # fmt: skip
    check_signs(table, shown)
    return table


def _joined(tables: list[dict[str, Any]], shown: str) -> dict[str, Any]:
    """The times of all parts of a file."""
    ops: dict[str, Any] = {}
    for part in tables:
        for key, value in part.items():
            if ops.setdefault(key, value) != value:
                raise InputError(f"{shown}: tables", f"'{key}' has two times", found=[ops[key], value])
    return ops


def _said(data: dict, shown: str) -> Facts:
    """What a facts file says beside its times."""
    try:
        return msgspec.convert(data, Facts)
    except msgspec.ValidationError as error:
        problem, _, place = str(error).partition(" - at `$.")
        raise InputError(f"{shown}: {place.rstrip('`')}" if place else shown, problem) from None


def _spreads(ops: dict, said: Facts, shown: str) -> list[float]:
    """The standard deviation of each operator, in the file's unit; empty where the file has none."""
    found: list[float] = []
    given = said.variance or {}
    for name in ops if given else ():
        variance = _number(given.get(name, 0), f"{shown}: variance: {name}")
        if variance < 0:
            raise InputError(f"{shown}: variance: {name}", "negative", found=variance)
        found.append(variance**0.5)
    return found


def _entries(rows: list[tuple[str, float]], spreads: list[float], scale: float, shown: str) -> dict[str, float | Entry]:
    keys = canonical([key for key, _ in rows], f"{shown}: ops")
    lots: dict[str, list[float]] = {}
    for key, (_, value) in zip(keys, rows, strict=True):
        lots.setdefault(key, []).append(_number(value, f"{shown}: ops: {key}") * scale)
    result: dict[str, float | Entry] = {}
    for n, (key, values) in enumerate(lots.items()):
        ms = _rounded(float(np.median(values)))
        if len(values) > 1:
            result[key] = Entry(ms, spread=_rounded(float(np.std(values))), repeats=len(values))
        elif len(spreads) == len(lots):
            result[key] = Entry(ms, spread=_rounded(spreads[n] * scale))
        else:
            result[key] = ms
    return result


def _rounded(value: float) -> float:
    """Without the tail that scaling leaves (4.0 * 1e-3); 12 digits are more than any clock has."""
    return float(f"{value:.12g}") + 0.0


def _number(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e15:
        raise InputError(where, "not a number", found=value)
    return float(value)


def _runtime(device: str) -> str:
    return "PyTorch" + device.split("PyTorch", 1)[1].split(",")[0] if "PyTorch" in device else "not stated"


def _hwnasbench(ops: dict[str, Any], data: dict) -> Rows:
    """`ConvBlock_H32_W32_Cin16_Cout24_exp3_kernel3_stride1_group1` and `Skip_H32_W32_Cin16_Cout24_stride1`."""
    for name, value in ops.items():
        kind, *parts = name.split("_")
        n = {m[1]: int(m[2]) for m in (re.fullmatch(r"([A-Za-z]+)(\d+)", p) for p in parts) if m}
        place = f"side={n['H']} in={n['Cin']} out={n['Cout']} stride={n['stride']}"
        if n["H"] != n["W"] or kind not in ("Skip", "ConvBlock"):
            raise ValueError(name)
        if kind == "Skip":
            yield f"skip {place}", value
        else:
            fields = f"kernel={n['kernel']} hidden={n['Cin'] * n['exp']} groups={n['group']}"
            yield f"mbconv {place} {fields}", value


def _proxyless(ops: dict[str, Any], data: dict) -> Rows:
    """`expanded_conv-input:14x14x80-output:14x14x80-expand:3-kernel:5-stride:1-idskip:1`; ReLU6 throughout.

    Expansion 1 has no expansion convolution. `Conv` is the 3x3 stem, `Conv_1` the 1x1 before the pooling, `Logits`
    the pooling and the linear layer together.
    """
    for name, value in ops.items():
        kind, *parts = name.split("-")
        part = dict(p.split(":") for p in parts)
        side, width, channels = map(int, part["input"].split("x"))
        out = [int(v) for v in part["output"].split("x")]
        if side != width:
            raise ValueError(name)
        if kind == "Logits":
            yield f"linear in={channels} out={out[-1]}", value
        elif kind == "Conv":
            yield f"conv side={side} in={channels} out={out[2]} kernel=3 stride={side // out[0]} act=relu6", value
        elif kind == "Conv_1":
            yield f"conv side={side} in={channels} out={out[2]} act=relu6", value
        else:
            expand, stride = int(part["expand"]), int(part["stride"])
            key = f"mbconv side={side} in={channels} out={out[2]} hidden={channels * expand} act=relu6"
            key += f" kernel={part['kernel']} stride={stride}" + (" expand_conv=0" if expand == 1 else "")
            alone = part["idskip"] == "0" and stride == 1 and channels == out[2]
            yield key + (" residual=0" if alone else ""), value


def _tfnas(ops: dict[str, Any], data: dict) -> Rows:
    """`MBInvertedResBlock_28_40_80_80_k5_s2_swish`: side, in, squeeze-excite width, out; list item m - 1 is width m.

    The zero and negative times of the narrowest blocks are clipped at 0, as the facts' README says to.
    """
    for name, values in ops.items():
        kind, side, channels, se, out, kernel, stride, act = name.split("_")
        if kind != "MBInvertedResBlock" or kernel[0] != "k" or stride[0] != "s":
            raise ValueError(name)
        key = f"mbconv side={side} in={channels} out={out} kernel={kernel[1:]} stride={stride[1:]} act={act}"
        key += f" se=1 se_hidden={se}" if int(se) else ""
        for hidden, value in enumerate(values, 1):
            yield f"{key} hidden={hidden}", max(0.0, _number(value, name))


def _singlepath(ops: dict[str, Any], data: dict) -> Rows:
    """`layer5/k3_e6`: five stages of four layers at 112 (stride 2), 56, 28, 14, 14; a skipped layer counts `skip`.

    Layers 0 and 21 are fixed in that space and inside `base`: their options are not blocks one can choose.
    """
    side, channels = 112, 16
    for stage, (out, stride) in enumerate(((24, 2), (40, 2), (80, 2), (96, 1), (192, 2))):
        for layer in range(4):
            step = stride if layer == 0 else 1
            for option in ("k3_e3", "k3_e6", "k5_e3", "k5_e6"):
                hidden = channels * int(option[-1])
                key = f"mbconv side={side} in={channels} out={out} kernel={option[1]} stride={step} hidden={hidden}"
                yield key, ops[f"layer{1 + 4 * stage + layer}/{option}"]
            if layer:
                yield f"skip side={side} in={channels} out={out}", data["skip"]
            side, channels = side // step, out


def _annaaraslanova(ops: dict[str, Any], data: dict) -> Rows:
    """`layer5/ir_k3_s2` is the 3x3 block with two groups; 22 layers of FBNet at 224, first stride of a stage 2."""
    side, channels, layer = 112, 16, 0
    strides = {24: 2, 32: 2, 64: 2, 184: 2}
    for out, repeat in _STAGES_FBNET:
        for n in range(repeat):
            stride = strides.get(out, 1) if n == 0 else 1
            place = f"side={side} in={channels} out={out} stride={stride}"
            for kernel in (3, 5):
                for option, expand, groups in (("e1", 1, 1), ("s2", 1, 2), ("e3", 3, 1), ("e6", 6, 1)):
                    value = ops[f"layer{layer}/ir_k{kernel}_{option}"]
                    yield f"mbconv {place} kernel={kernel} hidden={channels * expand} groups={groups}", value
            yield f"skip {place}", ops[f"layer{layer}/skip"]
            side, channels, layer = side // stride, out, layer + 1


FORMATS: dict[str, tuple[str, Callable[[dict[str, Any], dict], Rows], dict[str, Any]]] = {
    "hwnasbench": (
        r"(ConvBlock|Skip)_H\d+", _hwnasbench,
        {"relative": True, "space": "fbnetv1_32", "about": "FBNet space at 32x32, times over a skip of the same shape"},
    ),
    "proxyless": (
        r"\w+-input:\d+x\d+x\d+-output:", _proxyless,
        {"in_base": ("pool",), "about": "ProxylessNAS blocks; pooling is part of the linear layer's entry"},
    ),
    "tfnas": (r"MBInvertedResBlock_", _tfnas, {"about": "TF-NAS blocks of free width; base has stem and head"}),
    "singlepathnas": (
        r"layer\d+/k[35]_e[36]", _singlepath, {"about": "MnasNet-like blocks; base has stem, head, first, last block"},
    ),
    "annaaraslanova": (
        r"layer\d+/(ir_k[35]_|skip)", _annaaraslanova,
        {"space": "fbnetv1", "about": "the 22 searched layers of FBNet; stem and head are not counted"},
    ),
}  # fmt: skip


def checks(path: str | Path) -> list[dict[str, Any]]:
    """The totals that a facts file states for some architectures: `[{arch, total}]`, empty where it has none."""
    return json.loads(read_bytes(Path(path), MAX_JSON)).get("check", [])
