"""The oracle file of the two families, and their networks built from its configurations."""

from __future__ import annotations

import json
from typing import Any

from dnas.grammar.catalogue import folder
from dnas.grammar.read import space_from_data
from dnas.space.space import Space

FILE = folder("search_spaces").parent.parent / "shared" / "oracles" / "efficientformer.json"
ABSENT = f"no {FILE}"


def entries(part: str) -> list[dict[str, Any]]:
    """The entries of one part of the file; none where it is absent."""
    return json.loads(FILE.read_text())[part] if FILE.is_file() else []


def network(config: dict[str, Any], side: int, *, distilled: bool = True) -> Space:
    """The network of a configuration, block by block in the grammar."""
    first = config["family"] == "v1"
    act = "relu" if first else "gelu"
    widths = config["embed_dims"]
    trunk = [_conv(widths[0] // 2, act), _conv(widths[0], act)]
    for stage, (depth, width) in enumerate(zip(config["depths"], widths, strict=True)):
        if stage:
            trunk.append(_conv(width) if first or stage < 3 else {"attention_down": {"out": width}})
        for block in range(depth):
            late = block >= depth - config["num_vit"]
            trunk.append(_v1(stage, late) if first else _v2(stage, late, config["expansion_ratios"][stage][block]))
    head = {"out": "$classes", "norm": "layer" if first else "batch", "distilled": distilled}
    size = {"classes": config["num_classes"], "resolution": side}
    return space_from_data({"name": "net", "input": size, "trunk": trunk, "head": [{"norm_head": head}]}, "net")


def _conv(out: int, act: str = "none") -> dict[str, Any]:
    return {"conv": {"kernel": 3, "stride": 2, "out": out, "bias": True, "act": act}}


def _v1(stage: int, late: bool) -> dict[str, Any]:
    return {"mb3d": {}} if stage == 3 and late else {"mb4d": {}}


def _v2(stage: int, late: bool, expand: float) -> dict[str, Any]:
    fields: dict[str, Any] = {"expand": expand}
    if stage > 1 and late:
        fields |= {"attention": True} | ({"attention_stride": 2} if stage == 2 else {})
    return {"conv_ffn": fields}


BLOCKS = {
    "MB4D": lambda b: {"mb4d": {"expand": b["expansion"]}},
    "MB3D": lambda b: {"mb3d": {"expand": b["expansion"]}},
    "FFN": lambda b: {"conv_ffn": {"expand": b["expansion"]}},
    "AttnFFN": lambda b: {
        "conv_ffn": {"expand": b["expansion"], "attention": True, "attention_stride": b["stride"] or 1}
    },
    "DualPathDown": lambda b: {"attention_down": {"out": b["out_dim"]}},
    "ConvDown": lambda b: _conv(b["out_dim"]),
}


def single(entry: dict[str, Any]) -> Space:
    """One block of the oracle file by itself, on an input of its own size."""
    if entry["block"] == "StemV1":
        trunk, channels = [_conv(entry["dim"] // 2, "relu"), _conv(entry["dim"], "relu")], 3
    else:
        trunk, channels = [BLOCKS[entry["block"]](entry)], entry["dim"]
    data = {"name": "block", "input": {"channels": channels, "resolution": entry["res"]}, "trunk": trunk}
    return space_from_data(data, "block")
