"""Blocks of TNT, a transformer in a transformer (Han et al. 2021): words within patches beside the patches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dnas.blocks.forms import MAP, PATCHES_AND_WORDS
from dnas.blocks.kind import Fields, block
from dnas.blocks.shortcuts import SHORTCUTS, augmented
from dnas.blocks.transformer import attend, mlp, queries_keys_values
from dnas.errors import UserError
from dnas.ops import (
    ClassToken,
    JoinTokens,
    LayerNorm,
    LeadingZeros,
    Linear,
    Positions,
    Residual,
    Select,
    Tensor,
    WordEmbed,
)  # fmt: skip
from dnas.ops.tensor import PATCHES, TOKENS
from dnas.space.entries import past, whole
from dnas.space.fields import Formula, integer, ratio
from dnas.space.quantity import Quantity

if TYPE_CHECKING:
    from dnas.graph import Builder

Streams = tuple[Tensor, Tensor]
"""Patches with a class token before them, and the words of each patch."""


@block(
    "tnt_embed",
    MAP,
    out=integer("width of patches"),
    inner=integer("width of words"),
    patch=integer("side of a patch", 16, searchable=False),
    kernel=integer("kernel of the convolution within a patch that makes words", 7, searchable=False),
    stride=integer("pixels from one word to the next", 4, searchable=False),
    padding=integer("zeros around each patch", 3, least=0, searchable=False),
)
def tnt_embed(net: Builder, x: Tensor, f: Fields) -> Streams:
    """Words of each patch by a convolution within it, a patch of its words; a class token, positions of both."""
    embed = WordEmbed(f.inner, f.fixed("patch"), f.fixed("kernel"), f.fixed("stride"), f.fixed("padding"))
    words = net.masked(net.add("word_positions", Positions(inner=True), net.add("words", embed, x)))
    y = net.add("join_norm", LayerNorm(), net.add("join", JoinTokens(), words))
    y = net.add("patch_norm", LayerNorm(), net.add("patches", Linear(f.out), y))
    y = net.add("positions", Positions(), net.add("class_token", ClassToken(), y))
    return net.masked(y), words


@block(
    "tnt",
    PATCHES_AND_WORDS,
    heads=integer("attention heads of patches"),
    head_width=integer("channels of a head of patches", 64, searchable=False),
    inner_heads=integer("attention heads of words"),
    inner_head_width=integer("channels of a head of words", searchable=False),
    expand=ratio("hidden width over width of patches; `hidden` wins where both stand", 4, written="never"),
    hidden=integer("hidden width of the MLP of patches", Formula("int(in * expand)"), written="always"),
    inner_expand=ratio("hidden width over width of words", 4),
    **SHORTCUTS,
)
def tnt(net: Builder, x: Streams, f: Fields) -> Streams:
    """Attention and MLP on the words of each patch, which are added to the patch; then attention and MLP on patches."""
    patches, words = x
    if not words[PATCHES].length:
        raise UserError("no patch is left whose words it could read; keep one in the blocks before")
    hidden = Quantity.combine(lambda c, e: int(c * e), words.channels, f.inner_expand)
    words = net.masked(_transformed(net, f, "inner_", words, f.inner_heads, f.inner_head_width, hidden))
    y = net.add("join_norm", LayerNorm(), net.add("join", JoinTokens(), words))
    y = net.add("fuse_norm", LayerNorm(), net.add("fuse", Linear(patches.channels, bias=False), y))
    kept, before = net.kept_tokens(patches), whole(patches[TOKENS].size) - whole(words[PATCHES].size)
    patches = net.add("fuse_add", Residual(), patches, net.add("beside_class", LeadingZeros(), net.masked(y)))
    words = net.add("words_kept", Select(past(kept, before), PATCHES), words)
    return net.masked(_transformed(net, f, "", patches, f.heads, f.head_width, f.hidden, kept)), words


def _transformed(
    net: Builder,
    f: Fields,
    prefix: str,
    x: Tensor,
    heads: Quantity,
    width: Quantity,
    hidden: Quantity,
    kept: Quantity | None = None,
) -> Tensor:
    """Attention without biases of queries, keys and values, then an MLP, each added to its input, of the tokens that
    are kept."""
    y = net.add(f"{prefix}attention_norm", LayerNorm(), x)
    stay = Select(kept or x[TOKENS].size, TOKENS)
    x, rows = net.add(f"{prefix}kept_tokens", stay, x), net.add(f"{prefix}kept_rows", stay, y)
    q, k, v = queries_keys_values(net, prefix, rows, y, heads * width, False)
    branch = net.add(f"{prefix}attention_project", Linear(x.channels), attend(net, prefix, q, k, v, heads))
    x = augmented(net, f"{prefix}attention_", net.add(f"{prefix}attention_add", Residual(), x, branch), rows, f)
    y = net.add(f"{prefix}mlp_norm", LayerNorm(), x)
    branch = mlp(net, prefix, y, hidden, Quantity.constant("gelu"))
    return augmented(net, f"{prefix}mlp_", net.add(f"{prefix}mlp_add", Residual(), x, branch), y, f)


@block("tnt_out", PATCHES_AND_WORDS)
def tnt_out(net: Builder, x: Streams, f: Fields) -> Tensor:
    """The patches alone."""
    return x[0]
