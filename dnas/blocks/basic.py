"""Plain layers: convolution, skip, pooling, linear classifier."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dnas.blocks.kind import Fields, block
from dnas.errors import UserError
from dnas.space.fields import Formula, flag, integer, name, odd

if TYPE_CHECKING:
    from dnas.network import Feature, Network

SWITCHABLE = flag(
    "batch norms with a scale and a shift for each width that is a choice", False, searchable=False, written="never"
)
"""Only a supernet's: a network has one of each (Yu et al. 2019, "Slimmable neural networks", section 3.3)."""
ACTIVATIONS = ("none", "relu", "relu6", "hswish", "swish", "gelu", "hsigmoid", "sigmoid")


@block(
    "conv",
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
def conv(net: Network, x: Feature, f: Fields) -> Feature:
    """Convolution, batch norm, activation."""
    y = net.conv(
        "conv", x, f.out, f.kernel, f.fixed("stride"), f.padding, groups=f.fixed("groups"), bias=f.fixed("bias")
    )
    if f.fixed("norm"):
        y = net.batch_norm("norm", y, switchable=f.fixed("switchable"))
    return net.masked(net.activation(y, f.act))


@block("skip", out=integer("output channels"), stride=integer("stride", 1, searchable=False))
def skip(net: Network, x: Feature, f: Fields) -> Feature:
    """Identity; where it changes width or side, 1x1 convolution, batch norm and ReLU (the skip of FBNet)."""
    same = x.channels.equals(f.out) if f.fixed("stride") == 1 else net.never

    def convolution() -> Feature:
        y = net.conv("conv", x, f.out, stride=f.fixed("stride"))
        return net.masked(net.activation(net.batch_norm("norm", y), "relu"))

    return net.mixture([(1 - same, convolution), (same, lambda: x)])


@block("pool")
def pool(net: Network, x: Feature, f: Fields) -> Feature:
    """Global average pooling; a pooled input stays as it is."""
    return net.global_pool(x)


@block(
    "linear",
    out=integer("outputs"),
    bias=flag("whether it has a bias", True, searchable=False),
    act=name("activation", ACTIVATIONS, "none"),
)
def linear(net: Network, x: Feature, f: Fields) -> Feature:
    """Linear layer on a pooled feature."""
    if x.side is not None:
        raise UserError("a linear layer needs a pooled input; put a 'pool' block before it")
    return net.masked(net.activation(net.linear("linear", x, f.out, bias=f.fixed("bias")), f.act))
