"""What blocks read: one tensor or several, told apart by the names of their axes."""

from __future__ import annotations

from dataclasses import dataclass

from dnas.ops.tensor import CHANNELS, COLUMNS, HEADS, KEYS, PATCHES, QUERIES, ROWS, TOKENS, Feature, leaves


@dataclass(frozen=True)
class Form:
    """Tensors with these axes; `name` is what messages and documentation call them."""

    name: str
    axes: tuple[tuple[str, ...], ...]

    def fits(self, x: Feature) -> bool:
        """Whether the tensors of x have these axes."""
        return self.axes == axes_of(x)


MAP = Form("a map", ((ROWS, COLUMNS, CHANNELS),))
VECTOR = Form("a vector", ((CHANNELS,),))
SEQUENCE = Form("tokens", ((TOKENS, CHANNELS),))
PATCHES_AND_WORDS = Form("patches and words", ((TOKENS, CHANNELS), (PATCHES, TOKENS, CHANNELS)))
MAP_AND_BIAS = Form("a map and a bias", ((ROWS, COLUMNS, CHANNELS), (HEADS, QUERIES, KEYS)))
FORMS = (MAP, VECTOR, SEQUENCE, PATCHES_AND_WORDS, MAP_AND_BIAS)

BETWEEN = {
    (MAP, VECTOR): "pool", (MAP, SEQUENCE): "tokens", (MAP, PATCHES_AND_WORDS): "tnt_embed",
    (MAP, MAP_AND_BIAS): "cmt_bias", (SEQUENCE, VECTOR): "token_head", (PATCHES_AND_WORDS, SEQUENCE): "tnt_out",
    (MAP_AND_BIAS, MAP): "cmt_out",
}  # fmt: skip
"""The kind of block that makes the second form of the first."""


def axes_of(x: Feature) -> tuple[tuple[str, ...], ...]:
    """Names of the axes of each tensor."""
    return tuple(tensor.names for tensor in leaves(x))


def form_of(x: Feature) -> Form:
    """The form of x; one that no block of dnas gives is called by its axes."""
    known = next((form for form in FORMS if form.fits(x)), None)
    return known or Form(" and ".join(f"[{', '.join(names)}]" for names in axes_of(x)), axes_of(x))
