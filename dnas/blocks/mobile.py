"""Inverted residuals of the mobile families: MobileNetV2/V3, FBNet V1, V2, V3."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dnas.blocks.basic import ACTIVATIONS, SWITCHABLE
from dnas.blocks.forms import MAP
from dnas.blocks.kind import Fields, block
from dnas.blocks.shortcuts import SHORTCUTS, augmented
from dnas.errors import UserError
from dnas.ops import (
    Activation,
    BatchNorm,
    ChannelShuffle,
    Conv,
    Depthwise,
    Excite,
    GlobalPool,
    Linear,
    Pointwise,
    Residual,
    Tensor,
)  # fmt: skip
from dnas.ops.tensor import ROWS
from dnas.space.fields import Formula, flag, integer, name, odd, ratio
from dnas.space.quantity import Quantity

if TYPE_CHECKING:
    from dnas.graph import Builder


@block(
    "mbconv",
    MAP,
    out=integer("output channels"),
    kernel=odd("side of the depthwise kernel", 3),
    stride=integer("stride of the depthwise convolution", 1, searchable=False),
    padding=integer("zeros added on each side before the depthwise convolution", Formula("kernel // 2"), least=0),
    expand=ratio("hidden width over input width; `hidden` wins where both stand", 1, written="never"),
    hidden=integer(
        "hidden width", Formula("expand_conv * round8(in * expand) + (not expand_conv) * in"), written="always"
    ),
    expand_conv=flag("whether the first 1x1 convolution exists", True, searchable=False),
    groups=integer("groups of both 1x1 convolutions, channels shuffled between them", 1, searchable=False),
    second_depthwise=flag("a second 3x3 depthwise convolution (Caffe2 FBNet)", False, searchable=False),
    act=name("activation", ACTIVATIONS, "relu"),
    se=flag("squeeze-excite", False),
    se_hidden=integer("hidden width of squeeze-excite", Formula("round8(hidden / 4)"), written="always", part_of="se"),
    se_act=name("activation inside squeeze-excite", ACTIVATIONS, Formula("act"), part_of="se"),
    bias=flag("whether the convolutions have biases", False, searchable=False),
    residual=flag("identity added where stride is 1 and the widths agree", True, searchable=False),
    switchable=SWITCHABLE,
    **SHORTCUTS,
)
def mbconv(net: Builder, x: Tensor, f: Fields) -> Tensor:
    """1x1 expansion, depthwise convolution, squeeze-excite, 1x1 projection, residual (Sandler et al. 2018)."""
    groups, bias, stride, own = (f.fixed(name) for name in ("groups", "bias", "stride", "switchable"))

    def activated(part: str, y: Tensor) -> Tensor:
        y = net.add(f"{part}_norm", BatchNorm(switchable=own), y)
        return net.add(f"{part}_act", Activation(f.act), y)

    y = x
    if not f.fixed("expand_conv"):
        _check_unexpanded(x, f)
    else:
        y = activated("expand", net.add("expand", Conv(f.hidden, groups=groups, bias=bias), y))
    if groups > 1:
        y = net.add("shuffle", ChannelShuffle(groups), y)
    y = activated("depthwise", net.add("depthwise", Depthwise(f.kernel, stride, f.padding, bias), y))
    if f.fixed("second_depthwise"):
        y = activated("depthwise2", net.add("depthwise2", Depthwise(Quantity.constant(3), bias=bias), y))
    y = squeeze_excite(net, "se", y, f.se_hidden, f.se_act, Quantity.combine(int, f.se))
    y = net.add("project", Conv(f.out, groups=groups, bias=bias), y)
    # A small first scale: the depth of soft blocks would otherwise blow up the first gradients.
    y = net.masked(net.add("project_norm", BatchNorm(masked=True, start=0.1, switchable=own), y))
    if f.fixed("residual") and stride == 1:
        _check_added(x, y)
        y = net.add("add", Residual(), x, y)
    return augmented(net, "", y, x, f)


def _check_unexpanded(x: Tensor, f: Fields) -> None:
    """Raises `UserError` for a hidden width that nothing makes."""
    without = "without 'expand_conv' the hidden width is that of the input"
    if not f.hidden.equals(x.channels).min():
        raise UserError(f"{without} (found hidden {f.hidden.values()}, accepted: {x.channels.values()})")
    if f.expand.values() != [1]:
        raise UserError(f"{without} (found expand {f.expand.values()}, accepted: 1)")


def _check_added(x: Tensor, y: Tensor) -> None:
    """Raises `UserError` where an input would be added to a result on a map of another side."""
    before, after = x[ROWS].size, y[ROWS].size
    if Residual().agree(x, y).max() and not before.same_as(after):
        raise UserError(
            f"the input is added to a result of another side (found {before.values()} and {after.values()}; accepted: "
            "the padding that keeps the side, or 'residual: false')"
        )


def squeeze_excite(net: Builder, name: str, x: Tensor, hidden: Quantity, act: Quantity, on: Quantity) -> Tensor:
    """x * hsigmoid(W2 act(W1 mean(x))), where it is `on` (Hu et al. 2018; the gate of MobileNetV3)."""
    if not on.max():
        return x
    with net.given(on):
        y = net.add(f"{name}.pool", GlobalPool("squeeze", keep=True), x)
        y = net.add(f"{name}.act", Activation(act), net.add(f"{name}.reduce", Pointwise(hidden), y))
        y = net.add(
            f"{name}.gate",
            Activation(Quantity.constant("hsigmoid")),
            net.add(f"{name}.expand", Pointwise(x.channels), y),
        )
        return net.add(f"{name}.scale", Excite(on), x, y)


@block(
    "pool_head",
    MAP,
    hidden=integer("width of the convolution before the pooling"),
    out=integer("features given to the classifier"),
    act=name("activation", ACTIVATIONS, "hswish"),
    switchable=SWITCHABLE,
)
def pool_head(net: Builder, x: Tensor, f: Fields) -> Tensor:
    """1x1 convolution and norm, global pooling, linear layer without norm (the head of FBNetV2 and V3)."""
    y = net.add("expand_norm", BatchNorm(switchable=f.fixed("switchable")), net.add("expand", Conv(f.hidden), x))
    y = net.add("pool", GlobalPool(), net.add("expand_act", Activation(f.act), y))
    y = net.add("project", Linear(f.out, bias=False), y)
    return net.masked(net.add("project_act", Activation(f.act), y))
