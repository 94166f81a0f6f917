"""The registry of block kinds: a name, its fields and the one function that says what the block does.

The function adds operators (`dnas.ops`) to a `dnas.graph.Builder`. What the operators say of themselves is all that any
reader of a network knows, so a kind is defined in one place and nothing else in the project names it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dnas.space.fields import Field
from dnas.space.quantity import Quantity

if TYPE_CHECKING:
    from dnas.graph import Builder


@dataclass(frozen=True)
class Kind:
    """One kind of block: what a file may write (`fields`) and what it means (`build`)."""

    name: str
    fields: dict[str, Field]
    build: Callable[[Builder, Any, Fields], Any]
    """`(net, x, fields) -> y` for features x and y (`dnas.ops.tensor.Feature`)."""
    about: str


class Fields:
    """The fields of one block as quantities: `f.kernel`; `f.fixed("stride")` is the value of one never searched."""

    def __init__(self, values: dict[str, Quantity]):
        self.values = values

    def __getattr__(self, name: str) -> Quantity:
        try:
            return self.values[name]
        except KeyError:
            raise AttributeError(name) from None

    def fixed(self, name: str) -> Any:
        return self.values[name].value


KINDS: dict[str, Kind] = {}


def block(name: str, **fields: Field) -> Callable[[Callable], Callable]:
    """Registers a function `(net, x, fields) -> y` as the block kind `name`."""

    def register(build: Callable) -> Callable:
        assert name not in KINDS, name
        KINDS[name] = Kind(name, fields, build, (build.__doc__ or "").strip())
        return build

    return register
