"""An operator is declared once: sizes, parameters, costs, memory, and the mathematics on arrays.

Every reader of a network (forward pass, ledger, memory, names of parameters, exports, ...) asks operators through the
methods below; none of them lists operators.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple, Protocol, TypeVar, dataclass_transform, runtime_checkable

from dnas.ops.tensor import Axis, Tensor, Value
from dnas.space.quantity import Assignment, Product, Quantity
from dnas.space.quantized import Quantized

NOTHING = Product(0)
WEIGHT = "weight"
"""Name of weights whose last axis are output channels."""


class Parameter(NamedTuple):
    """An array that is learned, or (`statistic`) followed by the forward pass."""

    shape: tuple[Quantity | int, ...]
    start: float | None = None
    """None: drawn from a normal distribution of variance `gain / fan`."""
    statistic: bool = False
    fan: int | None = None
    """How many products an entry of the result sums; None where that is the product of all axes but the last."""
    gain: float = 2.0
    """2 for He et al. 2015."""
    table: bool = False
    """Whether its entries are learned for positions, distances or tokens, and multiply no input: weight decay leaves
    it alone, as it does norms and biases."""

    @property
    def deviation(self) -> float:
        """Standard deviation of the numbers that are drawn."""
        return (self.gain / (self.fan or math.prod(self.lengths[:-1]))) ** 0.5

    @property
    def decays(self) -> bool:
        """Whether weight decay pulls it to zero: weights, but not norms and biases, which have one axis, nor tables."""
        return len(self.shape) > 1 and not self.table

    @property
    def lengths(self) -> tuple[int, ...]:
        """Of the array, which holds every option of each size."""
        return tuple(size.length if isinstance(size, Quantity) else size for size in self.shape)

    @property
    def length(self) -> int:
        """Numbers of the array."""
        return math.prod(self.lengths)

    def cut(self, array: Any, assignment: Assignment) -> Any:
        """The entries that an assignment keeps, of an array with those of every option."""
        for axis, size in enumerate(self.shape):
            if isinstance(size, Quantity) and size.masked:
                kept = size.entries_at(assignment)
                taken = slice(len(kept)) if size.nested else kept
                array = array[(slice(None),) * axis + (taken,)]
        return array


@dataclass(frozen=True, eq=False)
class Work:
    """What one operator costs. Every number is a product of quantities; `dnas.cost` makes costs of them.

    `taken` is 1 where the work is done, beside the condition under which the operator exists.
    """

    kind: str
    taken: Quantity | None = None
    macs: Product = NOTHING
    weights: Product = NOTHING
    biases: Product = NOTHING
    affine: Product = NOTHING
    inputs: Product = NOTHING
    """Elements that a norm, an activation or a pooling reads, for the conventions that count them
    (`dnas.cost.conventions`); of windows that overlap, each reads its own."""
    outputs: Product = NOTHING
    """Elements that a pooling or an enlargement writes."""
    line: Product = NOTHING
    """Elements in one line of the map that an activation reads: channels times side."""
    fan_of_bias: Product = NOTHING
    """Input channels of a group of a convolution that has a bias."""
    detail: str = ""
    """Which activation."""

    @property
    def convolves(self) -> bool:
        """Whether it is written as a convolution."""
        return self.kind == "conv"


class Segment(NamedTuple):
    """Numbers of floats that a part of a pass holds (`dnas.nn.memory`)."""

    kept: int
    """From the forward pass on until its own gradient, an image."""
    working: int
    """What its gradient needs beside that, an image."""
    copies: int = 0
    """Kept as well, however many images there are: weights with a mask in them."""


@runtime_checkable
class Pass(Protocol):
    """What a memory estimate is of."""

    @property
    def resolution_paths(self) -> int | None:
        """So many resolutions are evaluated, of those of the largest gates (None: all)."""
        ...

    @property
    def backward(self) -> bool:
        """Whether there is a gradient."""
        ...


@runtime_checkable
class Reads(Protocol):
    """Notes what a forward pass will read from its gates."""

    def mean(self, quantity: Quantity) -> None: ...
    def mask(self, axis: Axis) -> None: ...
    def shares(self, quantity: Quantity) -> None: ...


@runtime_checkable
class Env(Protocol):
    """What operators read under the gates of one forward pass, beside their inputs and parameters."""

    def mean(self, quantity: Quantity) -> Any:
        """The mean of a quantity, []."""
        ...

    def mask(self, axis: Axis) -> Any:
        """sum_i g_i 1_i, [axis]: each entry the probability that the axis is longer than that (FBNetV2, eq. 4 to 6)."""
        ...

    def pending(self, axis: Axis) -> Any:
        """The mask where it is still to be applied, else None."""
        ...

    def shares(self, quantity: Quantity) -> Any:
        """The probability of each of a quantity's values in ascending order, [values]."""
        ...

    def pixels(self, x: Tensor) -> Any:
        """Weights of a mean over a map that mixes resolutions, [rows, columns]; None where it has one."""
        ...

    def grids(self, x: Tensor, y: Tensor) -> Any:
        """The grids of resolutions (`dnas.maths.mixing.Grids`) on which an operator from x to y acts; None for one."""
        ...

    def product(self, held: Held, form: Callable[[Any, Any], Any], x: Any, w: Any) -> Any:
        """form(x, w), which is linear in both: every convolution, linear layer and product of attention goes through
        here, so that a pass may act on its factors (quantisation) or see them (statistics)."""
        ...

    def moments(self, held: Held, of_batch: Callable[[], tuple[Any, Any]]) -> tuple[Any, Any]:
        """Mean and variance with which a norm normalises: the batch's, or the running ones; leaves new running ones."""
        ...


class Held(dict[str, Any]):
    """The parameters and statistics of the operator at `path`, by name; it leaves new statistics in `after`."""

    def __init__(self, values: Mapping[str, Any], path: str = "", quantized: Quantized | None = None):
        super().__init__(values)
        self.path, self.quantized = path, quantized
        self.after: dict[str, Any] = {}


@dataclass(frozen=True, eq=False)
class Operator:
    """Attributes are fields of the dataclass: quantities, or plain values that are never searched.

    In every method `x` are the inputs and `y` the output.
    """

    name: ClassVar[str]
    about: ClassVar[str]
    resident: ClassVar[bool] = True
    """Whether its result lies in memory; else it is computed where it is read."""
    operands: ClassVar[int] = 0
    """So many of its first inputs are read from memory by its gradient, wherever they come from."""
    word: ClassVar[str | None] = None
    """What a description of a block says for it: None for its name there, nothing for an empty text."""
    second: ClassVar[str | None] = None
    """Of a product of two arrays (`Env.product`), the parameter that is the second one; empty where it is another input
    or made of several parameters, None where there is no product."""
    branch: ClassVar[int | None] = None
    """Which input is a residual branch, which a training may leave out."""
    proportional: ClassVar[int | None] = None
    """To which input the result is proportional, channel by channel: a factor of one is that of the other."""
    subtracted: ClassVar[str | None] = None
    """Its statistic that is taken off every channel of the input."""
    of_attention: ClassVar[str | None] = None
    """What its result is of an attention: `scores` of keys, or the `map` that they make."""
    across: ClassVar[bool] = False
    """Whether each channel of the result follows from all channels, though there are as many."""
    exact: ClassVar[bool] = False
    """Whether it computes in float32 whatever activations are kept in: it reduces many numbers, or exponentiates."""
    sums_channels: ClassVar[bool] = False
    """Whether its weights, whose last axis but one are the channels of the first input, sum all of them up."""

    def output(self, *x: Tensor) -> Tensor:
        """Sizes of the result; raises `UserError` for inputs that do not fit. By default those of the first input."""
        return Tensor(x[0].axes)

    def wants_masked(self, *x: Tensor) -> bool:
        """Whether it reads its inputs with their masks applied."""
        return False

    def passes(self, *x: Tensor) -> Tensor | None:
        """The input that is the result where there is nothing to do, else None."""
        return None

    def parameters(self, *x: Tensor) -> dict[str, Parameter]:
        """By name, in the order in which they are kept."""
        return {}

    def inherited(self, stored: Mapping[str, Any], assignment: Assignment, *x: Tensor) -> dict[str, Any]:
        """Parameters by name of the operator with choices decided, cut from the stored ones of every option."""
        return {name: p.cut(stored[name], assignment) for name, p in self.parameters(*x).items()}

    def work(self, y: Tensor, *x: Tensor) -> Iterator[Work]:
        """Entries of the ledger."""
        yield from ()

    def reads(self, gates: Reads, y: Tensor, *x: Tensor) -> None:
        """Notes what `apply` asks of its `env`."""

    def apply(self, env: Env, held: Held, y: Tensor, *x: Value) -> Any:
        """The array of the result: the reference form, which a backend may replace by the operator's name."""
        raise NotImplementedError

    def memory(self, of: Pass, y: Tensor, *x: Tensor) -> Iterator[Segment]:
        """What a forward and a backward pass hold. By default the result is kept, and its cotangent and that of the
        first input are there while the gradient is computed."""
        yield Segment(y.length, y.length + x[0].length)

    def program(self) -> tuple[Any, int]:
        """Attributes as a hashable value, equal where the same program serves both, and the size of the kernels: the
        program of larger ones serves smaller ones."""
        return tuple(getattr(self, f.name) for f in fields(self)), 0

    def attributes(self) -> dict[str, Any]:
        """Plain values of all attributes, of an operator without choices."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: v.value if isinstance(v, Quantity) else v for name, v in values.items()}

    def keeping(self, size: Quantity) -> Operator | None:
        """The operator with another size of the axis that it makes, which may be masked (`dnas.space.entries`); None
        where it has no width of its own, because its result is as wide as what it reads."""
        return None

    def changed(self, change: Callable[[Quantity], Quantity]) -> Operator:
        """The operator with other quantities."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{name: change(v) for name, v in values.items() if isinstance(v, Quantity)})


_REGISTRY: dict[str, type[Operator]] = {}
OPERATORS: Mapping[str, type[Operator]] = MappingProxyType(_REGISTRY)
"""Every operator by name."""
Class = TypeVar("Class", bound=type[Operator])


@dataclass_transform(eq_default=False, frozen_default=True)
def operator(name: str) -> Callable[[Class], Class]:
    """Registers a subclass of `Operator` under a name, and makes it a frozen dataclass."""

    def register(cls: Class) -> Class:
        assert name not in _REGISTRY, name
        made = dataclass(frozen=True, eq=False)(cls)
        made.name, made.about = name, inspect.cleandoc(cls.__doc__ or "")
        _REGISTRY[name] = made
        return made

    return register


def options(value: Quantity) -> dict[Any, Quantity]:
    """Each value of a quantity, with 1 where it is taken."""
    return {v: value.equals(v) for v in value.values()}


def taken(conditions: Sequence[Quantity], parts: Sequence[Quantity]) -> Quantity:
    """The part whose condition is 1."""
    if all(part is parts[0] for part in parts):
        return parts[0]
    count = len(parts)

    def pick(*values: Any) -> Any:
        return next(v for c, v in zip(values[:count], values[count:], strict=True) if c)

    return Quantity.combine(pick, *conditions, *parts)
