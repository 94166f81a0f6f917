"""Plain layers: convolution, skip, pooling, linear classifier."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dnas.blocks.forms import MAP, SEQUENCE, VECTOR
from dnas.blocks.kind import Fields, block
from dnas.ops import Activation, BatchNorm, Conv, GlobalPool, Linear, Tensor
from dnas.ops.activation import NAMES as ACTIVATIONS
from dnas.space.fields import Formula, flag, integer, name, odd
from dnas.space.quantity import Quantity

if TYPE_CHECKING:
    from dnas.graph import Builder

SWITCHABLE = flag(
    "batch norms with a scale and a shift for each width that is a choice", False, searchable=False, written="never"
)
"""Only a supernet's: a network has one of each (Yu et al. 2019, "Slimmable neural networks", section 3.3)."""


@block(
    "conv",
    MAP,
    out=integer("output channels"),
    kernel=odd("kernel side", 1),
    stride=integer("stride", 1, searchable=False),
    padding=integer("zeros added on each side", Formula("kernel // 2"), least=0),
    groups=integer("groups", 1, searchable=False),
    bias=flag("whether the convolution has a bias", False, searchable=False),
    norm=flag("whether batch norm follows", True, searchable=False),
    act=name("activation", ACTIVATIONS, "none"),
    switchable=SWITCHABLE,
)
def conv(net: Builder, x: Tensor, f: Fields) -> Tensor:
    """Convolution, batch norm, activation."""
    own = Conv(f.out, f.kernel, f.fixed("stride"), f.padding, f.fixed("groups"), f.fixed("bias"))
    y = net.add("conv", own, x)
    if f.fixed("norm"):
        y = net.add("norm", BatchNorm(switchable=f.fixed("switchable")), y)
    return net.masked(net.add("act", Activation(f.act), y))


@block("skip", MAP, VECTOR, SEQUENCE, out=integer("output channels"), stride=integer("stride", 1, searchable=False))
def skip(net: Builder, x: Tensor, f: Fields) -> Tensor:
    """Identity; where it changes width or side, 1x1 convolution, batch norm and ReLU (the skip of FBNet)."""
    stride = f.fixed("stride")
    same = x.channels.equals(f.out) if stride == 1 else Quantity.constant(0)

    def convolution() -> Tensor:
        y = net.add("norm", BatchNorm(), net.add("conv", Conv(f.out, stride=stride), x))
        return net.masked(net.add("act", Activation(Quantity.constant("relu")), y))

    return net.mixture((1 - same, convolution), (same, lambda: x))


@block("pool", MAP, VECTOR)
def pool(net: Builder, x: Tensor, f: Fields) -> Tensor:
    """Global average pooling; a pooled input stays as it is."""
    return net.add("pool", GlobalPool(), x)


@block(
    "linear",
    VECTOR,
    out=integer("outputs"),
    bias=flag("whether it has a bias", True, searchable=False),
    act=name("activation", ACTIVATIONS, "none"),
)
def linear(net: Builder, x: Tensor, f: Fields) -> Tensor:
    """Linear layer on a vector."""
    y = net.add("linear", Linear(f.out, f.fixed("bias")), x)
    return net.masked(net.add("act", Activation(f.act), y))
