"""Choices, and quantities that depend on them.

A `Choice` is one decision of a search space. A `Quantity` is anything that follows from choices - a width, a
kernel size, an activation's name, a count of multiply-adds - held as a table over the options of the choices it
depends on. Sizes, masks, costs and constraints are all quantities, which is why one rule covers them: under gates
(a distribution over each choice's options) a quantity becomes its mean, the contraction of its table with the
gates. The mean is multilinear, so at one-hot gates it is the exact value, and at independent probabilities it is
the exact expectation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dnas.errors import UserError

Option = bool | int | float | str
Assignment = Mapping[str, int]
"""Choice name -> index of the option taken."""
Gates = Mapping[str, Any]
"""Choice name -> array [options]: one weight an option (numpy or jax)."""

MAX_TABLE = 4_000_000
MAX_LOOP = 400_000
"""Entries of a table that is computed one by one: less than a second."""
MOST = 1 << 62
"""Whole numbers of a table are at most as large: beyond, sums and products of 64 bits would come out wrong."""
_DTYPES = {bool: np.bool_, int: np.int64, float: np.float64}


@dataclass(frozen=True)
class Choice:
    """One decision: its canonical name and its options, in the order of the file."""

    name: str
    options: tuple[Option, ...]

    def __len__(self) -> int:
        return len(self.options)


@dataclass(frozen=True, eq=False)
class Quantity:
    """A value for every joint option of the choices in `over`; `table.shape` is their numbers of options."""

    over: tuple[Choice, ...]
    table: np.ndarray

    @staticmethod
    def constant(value: Any) -> Quantity:
        dtype = _DTYPES.get(type(value))
        if dtype is not None:
            return Quantity((), np.array(value, dtype=dtype))
        table = np.empty((), dtype=object)
        table[()] = value
        return Quantity((), table)

    @staticmethod
    def of(choice: Choice) -> Quantity:
        """The option taken, as a quantity."""
        return Quantity((choice,), _compact(np.array(choice.options, dtype=object)))

    @staticmethod
    def combine(function: Callable[..., Any], *parts: Quantity | Any) -> Quantity:
        """`function` of the parts at every joint option; axes on which the result does not depend are dropped."""
        quantities = [part if isinstance(part, Quantity) else Quantity.constant(part) for part in parts]
        over = union(quantities)
        if not over:
            # Architectures consist of constants, and tables of one entry would be most of the time of counting them.
            values = [q.table.item() for q in quantities]
            _check_sizes(function, values)
            value = function(*values)
            return Quantity.constant(value.item() if isinstance(value, np.generic) else value)
        tables = [np.broadcast_to(q.table_over(over), shape_of(over)) for q in quantities]
        if isinstance(function, np.ufunc) and all(t.dtype != object for t in tables):
            _check_sizes(function, tables)
            return Quantity(over, np.asarray(function(*tables))).simplify()
        result = np.empty(shape_of(over, MAX_LOOP), dtype=object)
        flat = result.reshape(-1)
        for index, values in enumerate(zip(*(t.reshape(-1) for t in tables), strict=True)):
            flat[index] = function(*(v.item() if isinstance(v, np.generic) else v for v in values))
        return Quantity(over, _compact(result)).simplify()

    def table_over(self, over: tuple[Choice, ...]) -> np.ndarray:
        """The table with its axes in the order of `over`, of length 1 where the quantity does not depend on one."""
        order = sorted(range(len(self.over)), key=lambda axis: over.index(self.over[axis]))
        table = self.table.transpose(order)
        mine = set(self.over)
        return table.reshape([len(c) if c in mine else 1 for c in over])

    def simplify(self) -> Quantity:
        """The same quantity without the choices that make no difference to it."""
        over, table = list(self.over), self.table
        for axis in reversed(range(len(over))):
            first = table.take([0], axis=axis)
            if np.all(table == first):
                table = first.squeeze(axis)
                del over[axis]
        return Quantity(tuple(over), np.asarray(table))

    @property
    def is_constant(self) -> bool:
        return not self.over

    @property
    def value(self) -> Any:
        """The Python value of a constant."""
        if self.over:
            raise ValueError(f"depends on {[c.name for c in self.over]}")
        return self.table.item()

    def values(self) -> list[Any]:
        """Every value it can take, as Python objects."""
        return list(dict.fromkeys(self.table.reshape(-1).tolist()))

    @property
    def length(self) -> int:
        """As the size of an axis (`dnas.space.entries`): entries of an array that holds every option."""
        return self.max()

    @property
    def masked(self) -> bool:
        """As the size of an axis: whether an option has fewer entries than the array."""
        return not self.is_constant

    def entries_at(self, assignment: Assignment) -> np.ndarray:
        """As the size of an axis: indices of the entries that are kept, [kept]."""
        return np.arange(self.at(assignment))

    def members(self) -> np.ndarray:
        """As the size of an axis: whether an entry is kept, [joint options, length]."""
        return self.table.reshape(-1, 1) > np.arange(self.length)

    @property
    def nested(self) -> bool:
        """As the size of an axis: whether each option keeps the first entries, so that larger ones hold smaller."""
        return True

    @property
    def identity(self) -> tuple:
        """Hashable; equal for quantities that are the same table over the same choices."""
        return self.over, self.table.dtype.str, self.table.tobytes()

    def max(self) -> Any:
        return max(self.values())

    def min(self) -> Any:
        return min(self.values())

    def at(self, assignment: Assignment) -> Any:
        """The Python value where each choice takes the option of the given index."""
        item = self.table[tuple(assignment[c.name] for c in self.over)]
        return item.item() if isinstance(item, np.generic | np.ndarray) else item

    def fix(self, assignment: Assignment) -> Quantity:
        """The quantity with the choices named in `assignment` decided."""
        index = tuple(assignment.get(c.name, slice(None)) for c in self.over)
        left = tuple(c for c in self.over if c.name not in assignment)
        if not left:
            return Quantity.constant(self.at(assignment))
        return Quantity(left, np.asarray(self.table[index]))

    def mean(self, gates: Gates) -> Any:
        """Contraction with the gates of its choices: sum over joint options of the product of gates times value.

        Works on numpy and on jax gates alike, in the gates' own precision.
        """
        if not self.over:
            return self.table.item()
        result: Any = self.table
        for choice in reversed(self.over):
            gate = gates[choice.name]
            if isinstance(result, np.ndarray):
                result = result.astype(gate.dtype)
            result = result @ gate
        return result

    def __add__(self, other: Quantity | float) -> Quantity:
        return Quantity.combine(np.add, self, other)

    def __mul__(self, other: Quantity | float) -> Quantity:
        return Quantity.combine(np.multiply, self, other)

    __radd__ = __add__
    __rmul__ = __mul__

    def __sub__(self, other: Quantity | float) -> Quantity:
        return Quantity.combine(np.subtract, self, other)

    def __rsub__(self, other: float) -> Quantity:
        return Quantity.combine(np.subtract, other, self)

    def __floordiv__(self, other: Quantity | int) -> Quantity:
        return Quantity.combine(np.floor_divide, self, other)

    def equals(self, other: Quantity | Any) -> Quantity:
        """1 where both have the same value, else 0."""
        return Quantity.combine(lambda a, b: int(a == b), self, other)

    def same_as(self, other: Quantity) -> bool:
        """Whether both are equal for every joint option."""
        return set(self.over) == set(other.over) and bool(np.all(self.table == other.table_over(self.over)))


def union(quantities: Iterable[Quantity]) -> tuple[Choice, ...]:
    """All choices of the quantities, in order of first appearance."""
    return tuple(dict.fromkeys(choice for q in quantities for choice in q.over))


def shape_of(over: Iterable[Choice], most: int = MAX_TABLE) -> tuple[int, ...]:
    """Numbers of options; raises `UserError` where the joint table would be too large to hold."""
    over = tuple(over)
    shape = tuple(len(c) for c in over)
    if math.prod(shape) > most:
        names = ", ".join(c.name for c in over)
        raise UserError(
            f"a quantity depends jointly on too many choices ({math.prod(shape):,} combinations of {names}); "
            "tie some of them (one named choice in several fields) or give them fewer options"
        )
    return shape


def select(choice: Choice, parts: list[Quantity]) -> Quantity:
    """The part that belongs to the option taken (one part an option)."""
    position = Quantity((choice,), np.arange(len(choice)))
    return Quantity.combine(lambda index, *values: values[index], position, *parts)


def indicator(choice: Choice, accept: Callable[[int], bool]) -> Quantity:
    """1 at the options whose index is accepted, else 0."""
    return Quantity((choice,), np.array([int(accept(i)) for i in range(len(choice))]))


def where(condition: Quantity, yes: Quantity, no: Quantity) -> Quantity:
    """`yes` where the condition holds (non-zero), else `no`."""
    return Quantity.combine(lambda c, a, b: a if c else b, condition, yes, no)


class Product:
    """A product of quantities whose factors share no choice: those that do are multiplied into one joint table.

    Keeping the rest apart keeps tables small; joining the shared ones keeps the mean multilinear, so that a choice
    that enters twice (height and width, a tied width) counts sum_i g_i f_i^2 and never (sum_i g_i f_i)^2.
    """

    def __init__(self, *parts: Quantity | float):
        self.parts = tuple(p if isinstance(p, Quantity) else Quantity.constant(p) for p in parts)
        self.factors = _disjoint(self.parts)

    def __mul__(self, other: Product | Quantity | float) -> Product:
        return Product(*self.parts, *(other.parts if isinstance(other, Product) else (other,)))

    def mean(self, gates: Gates) -> Any:
        """Exact mean under independent gates."""
        return math.prod(q.mean(gates) for q in self.factors)

    def mean_of_sizes(self, gates: Gates) -> Any:
        """Product of the mean of each part: effective sizes, as FBNetV2 has them (Wan et al. 2020, eq. 5 to 10)."""
        return math.prod(q.mean(gates) for q in self.parts)

    def at(self, assignment: Assignment) -> Any:
        return math.prod(q.at(assignment) for q in self.factors)

    @property
    def over(self) -> tuple[Choice, ...]:
        return union(self.factors)

    def joint(self) -> Quantity:
        """The whole product as one table."""
        if not self.factors:
            return Quantity.constant(1)
        result = self.factors[0]
        for factor in self.factors[1:]:
            result = result * factor
        return result


def _disjoint(parts: Iterable[Quantity]) -> tuple[Quantity, ...]:
    groups: list[Quantity] = []
    for part in parts:
        joined = part
        for group in [g for g in groups if set(g.over) & set(part.over)]:
            groups.remove(group)
            joined = group * joined
        groups.append(joined)
    return tuple(groups)


def _check_sizes(function: Callable[..., Any], values: Sequence[Any]) -> None:
    """Raises `UserError` where whole numbers could be beyond what is counted: arrays would wrap around."""
    kinds = [v.dtype.kind if isinstance(v, np.ndarray) else np.dtype(type(v)).kind for v in values]
    if function not in (np.add, np.subtract, np.multiply) or set(kinds) != {"i"}:
        return
    largest = [int(np.abs(v).max()) if isinstance(v, np.ndarray) else abs(v) for v in values]
    most = math.prod(largest) if function is np.multiply else sum(largest)
    if most > MOST:
        raise UserError(f"sizes of up to {most:.3g} together are too large to be counted (at most {MOST:.3g})")


def _compact(table: np.ndarray) -> np.ndarray:
    """Numeric tables as int64 or float64 (booleans stay boolean), all others as objects."""
    kinds = {type(v) for v in table.reshape(-1).tolist()}
    if kinds == {bool}:
        return table.astype(bool)
    if kinds == {int}:
        return table.astype(np.int64)
    if kinds and kinds <= {int, float}:
        return table.astype(np.float64)
    return table
