"""Where the blocks of a network stand in timm: a layout for each family gives every block its prefix and its rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import NamedTuple

from dnas.errors import InputError
from dnas.graph import BlockUse
from dnas.graph.parts import Node, nodes_of
from dnas.space.entries import Cut
from dnas.timm import tables
from dnas.timm.rows import FORMS, Entry, Row


class Placed(NamedTuple):
    """A block, or a part of it, in timm."""

    use: BlockUse
    prefix: str
    rows: Sequence[Row]


@dataclass(frozen=True)
class Names:
    """Of every parameter and statistic of a network."""

    entries: tuple[Entry, ...]
    moved: dict[str, str]
    """Path of a bias that timm lacks -> of the mean of the norm behind it, from which it is taken away."""


def names_of(uses: Sequence[BlockUse], where: str) -> Names:
    """Timm's names of a network's tensors; raises `InputError` naming what has none there."""
    own = [use for use in uses if any(node.parameters for node in nodes_of(use.parts))]
    layout = next((layout for kind, layout in LAYOUTS.items() if any(use.kind == kind for use in own)), None)
    if layout is None:
        raise InputError(where, "timm has no network of such blocks", found=own[0].kind if own else "none")
    entries: list[Entry] = []
    moved: dict[str, str] = {}
    for placed in layout(own):
        entries += _entries(placed, where)
        moved |= _moved(placed)
    known = {path for entry in entries for path in entry.ours} | moved.keys()
    nameless = (path for use in own for node in nodes_of(use.parts) for path in node.parameters if path not in known)
    lost = next(nameless, None)
    if lost is not None:
        raise InputError(where, f"'{lost}' is not in timm's network of this family")
    return Names(tuple(entries), moved)


def _entries(placed: Placed, where: str) -> Iterator[Entry]:
    """The tensors of a block; of a row whose operators the block lacks there are none.

    Raises `InputError` where timm's tensor has heads in turn, and those of the block are not of one width.
    """
    for row in placed.rows:
        nodes = _nodes(placed.use, row)
        if not nodes:
            continue
        heads = placed.use.fields["heads"].value if row.by_head else 0
        if heads and (lost := next((node.path for node in nodes if not _even(node, heads)), None)):
            raise InputError(where, f"'{lost}' has heads of different widths, which timm's network lacks")
        for leaf in FORMS[row.form or nodes[0].operator.name]:
            ours = tuple(f"{node.path}.{leaf.ours}" for node in nodes)
            shapes = tuple(
                p.lengths for node, path in zip(nodes, ours, strict=True) if (p := node.parameters.get(path))
            )
            if shapes:
                name = ".".join(part for part in (placed.prefix, row.name, leaf.theirs) if part)
                yield Entry(name, ours, shapes, leaf.change, heads)


def _even(node: Node, heads: int) -> bool:
    """Whether each head has as many of an operator's channels."""
    size = node.output.channels
    if not isinstance(size, Cut):
        return True
    counts = Counter(entry // (size.full // heads) for entry in size.entries)
    return len(counts) == heads and len(set(counts.values())) == 1


def _moved(placed: Placed) -> dict[str, str]:
    biases = {
        f"{placed.use.path}.{row.ours[0]}.bias": f"{placed.use.path}.{row.norm}.mean" for row in placed.rows if row.norm
    }
    there = {path for node in nodes_of(placed.use.parts) for path in node.parameters}
    return {bias: mean for bias, mean in biases.items() if bias in there}


def _nodes(use: BlockUse, row: Row) -> list[Node]:
    """The operators that a row names, in its order; those that the block lacks are left out."""
    weighted = [node for node in nodes_of(use.parts) if node.parameters]
    patterns = [f"{use.path}.{ours}" for ours in row.ours]
    return [node for pattern in patterns for node in weighted if fnmatchcase(node.path, pattern)]


# Layouts ------------------------------------------------------------------------------------------------------------


def mobile(uses: Sequence[BlockUse]) -> Iterator[Placed]:
    """A stem, blocks in stages, a head: EfficientNet's before the pooling, MobileNetV3's also after it."""
    linear = [use for use in uses if use.kind == "linear"]
    stem, *body = [use for use in uses if use.kind != "linear"]
    yield Placed(stem, "", tables.MOBILE_STEM)
    pooled = [use for use in body if use.kind == "pool_head"]
    if body and not pooled and len(linear) < 2:
        yield Placed(body.pop(), "", tables.MOBILE_HEAD)
    for use, (stage, number) in zip(body, places(map(_stride, body)), strict=True):
        yield Placed(use, f"blocks.{stage}.{number}", _unit(use))
    for use in (*pooled, *linear[:-1]):
        yield Placed(use, "", tables.FEATURES)
    for use in linear[-1:]:
        yield Placed(use, "", tables.CLASSIFIER)


def places(strides: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Stage and place in it of every block: a stage begins with a stride."""
    stage, number = 0, -1
    for position, stride in enumerate(strides):
        stage, number = (stage + 1, 0) if stride > 1 and position else (stage, number + 1)
        yield stage, number


def _stride(use: BlockUse) -> int:
    return use.fields["stride"].value if "stride" in use.fields else 1


def _unit(use: BlockUse) -> Sequence[Row]:
    if use.kind == "mbconv":
        return tables.INVERTED if use.fields["expand_conv"].value else tables.SEPARABLE
    return tables.POOL_HEAD if use.kind == "pool_head" else tables.PLAIN


def efficientformer(uses: Sequence[BlockUse]) -> Iterator[Placed]:
    """Version 1: a stem of two convolutions, stages that begin with one, blocks on rows of tokens after a module that
    makes rows."""
    for use, place in _in_stages(uses):
        match use.kind:
            case "norm_head":
                yield Placed(use, "", tables.DISTILLED_HEAD)
            case "conv" if place.stage is None:
                yield Placed(use, "stem", [replace(row, name=f"{row.name}{place.number + 1}") for row in tables.CONV])
            case "conv":
                yield Placed(use, f"stages.{place.stage}.downsample", tables.CONV)
            case "mb3d":
                yield Placed(use, f"stages.{place.stage}.blocks.{place.number + 1}", tables.MB3D)
            case _:
                yield Placed(use, f"stages.{place.stage}.blocks.{place.number}", tables.MB4D)


def efficientformer_v2(uses: Sequence[BlockUse]) -> Iterator[Placed]:
    """Version 2: a stem of two convolutions, stages that begin with one or with attention."""
    for use, place in _in_stages(uses):
        match use.kind:
            case "norm_head":
                yield Placed(use, "", tables.DISTILLED_HEAD)
            case "conv" if place.stage is None:
                yield Placed(use, f"stem.conv{place.number + 1}", tables.CONV_BN)
            case "conv":
                yield Placed(use, f"stages.{place.stage}.downsample.conv", tables.CONV_BN)
            case "attention_down":
                yield Placed(use, f"stages.{place.stage}.downsample", tables.ATTENTION_DOWN)
            case _:
                yield Placed(use, f"stages.{place.stage}.blocks.{place.number}", tables.CONV_FFN)


class _Place(NamedTuple):
    """Of a block among those of its stage; None for the stem."""

    stage: int | None
    number: int


def _in_stages(uses: Sequence[BlockUse]) -> Iterator[tuple[BlockUse, _Place]]:
    """A stem of convolutions, then stages; all but the first begin with what halves the side."""
    stage, number = None, 0
    for use in uses:
        halving = use.kind in ("conv", "attention_down", "patch_merge")
        if stage is None and use.kind in ("conv", "patch_embed"):
            yield use, _Place(None, number)
            number += 1
        elif halving:
            stage, number = (stage or 0) + 1, 0
            yield use, _Place(stage, 0)
        else:
            stage, number = (0, 0) if stage is None else (stage, number)
            yield use, _Place(stage, number)
            number += 1


def deit(uses: Sequence[BlockUse]) -> Iterator[Placed]:
    """Patches, tokens, blocks, a head."""
    blocks = 0
    for use in uses:
        match use.kind:
            case "patch_embed":
                yield Placed(use, "patch_embed", tables.PATCHES)
            case "tokens":
                two = use.fields["count"].value == 2
                yield Placed(use, "", tables.DISTILLED_TOKENS if two else tables.TOKENS)
            case "token_head":
                yield Placed(use, "", tables.DISTILLED_HEAD)
            case _:
                yield Placed(use, f"blocks.{blocks}", tables.TRANSFORMER)
                blocks += 1


def swin(uses: Sequence[BlockUse]) -> Iterator[Placed]:
    """Patches, stages that begin by merging patches, a head."""
    for use, place in _in_stages(uses):
        match use.kind:
            case "patch_embed":
                yield Placed(use, "patch_embed", tables.PATCHES)
            case "patch_merge":
                yield Placed(use, f"layers.{place.stage}.downsample", tables.MERGE)
            case "norm_head":
                yield Placed(use, "", tables.SWIN_HEAD)
            case _:
                yield Placed(use, f"layers.{place.stage}.blocks.{place.number}", tables.TRANSFORMER)


def tnt(uses: Sequence[BlockUse]) -> Iterator[Placed]:
    """Words and patches, blocks, a head."""
    blocks = 0
    for use in uses:
        match use.kind:
            case "tnt_embed":
                yield Placed(use, "", tables.TNT_EMBED)
            case "token_head":
                yield Placed(use, "", tables.DISTILLED_HEAD)
            case _:
                yield Placed(use, f"blocks.{blocks}", tables.TNT)
                blocks += 1


LAYOUTS: dict[str, Callable[[Sequence[BlockUse]], Iterator[Placed]]] = {
    "tnt": tnt, "window_transformer": swin, "transformer": deit, "mb4d": efficientformer, "mb3d": efficientformer,
    "conv_ffn": efficientformer_v2, "mbconv": mobile, "skip": mobile,
}  # fmt: skip
"""By the kind of block that tells the family."""
