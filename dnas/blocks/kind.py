"""The registry of block kinds: a name, its fields and the one function that says what the block does.

The function adds operators (`dnas.ops`) to a `dnas.graph.Builder`. What the operators say of themselves is all that any
reader of a network knows, so a kind is defined in one place and nothing else in the project names it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dnas.blocks.forms import BETWEEN, Form, form_of
from dnas.errors import UserError
from dnas.ops.tensor import Feature
from dnas.space.fields import Field
from dnas.space.quantity import Quantity

if TYPE_CHECKING:
    from dnas.graph import Builder


@dataclass(frozen=True)
class Kind:
    """One kind of block: what a file may write (`fields`) and what it means (`build`)."""

    name: str
    reads: tuple[Form, ...]
    """What it may be given: any one of them."""
    fields: dict[str, Field]
    build: Callable[[Builder, Any, Fields], Any]
    """`(net, x, fields) -> y` for features x and y (`dnas.ops.tensor.Feature`)."""
    about: str

    def check(self, x: Feature) -> None:
        """Raises `UserError` where x is none of what the kind reads."""
        if any(form.fits(x) for form in self.reads):
            return
        found = form_of(x)
        makers = [BETWEEN[found, form] for form in self.reads if (found, form) in BETWEEN]
        advice = f"; put a '{makers[0]}' block before it" if makers else ""
        needed = " or ".join(form.name for form in self.reads)
        raise UserError(f"'{self.name}' reads {needed}, and is given {found.name}{advice}")


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


def block(name: str, *reads: Form, **fields: Field) -> Callable[[Callable], Callable]:
    """Registers a function `(net, x, fields) -> y` as the block kind `name`, which reads one of the forms."""

    def register(build: Callable) -> Callable:
        assert name not in KINDS and reads, name
        KINDS[name] = Kind(name, reads, fields, build, inspect.cleandoc(build.__doc__ or ""))
        return build

    return register
