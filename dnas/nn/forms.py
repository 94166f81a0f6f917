"""Forms of operators that a backend has in the place of their own mathematics, by the operators' names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from jaxtyping import Array

from dnas.ops.operator import Segment


class Form(NamedTuple):
    """Called as the operator's own methods are, with the operator first."""

    apply: Callable[..., Array]
    memory: Callable[..., Iterator[Segment]] | None = None
    """None: that of the operator's own form."""


Forms = Mapping[str, Form]
