"""Inverted residuals of the mobile families: MobileNetV2/V3, FBNet V1, V2, V3."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dnas.blocks.basic import ACTIVATIONS, SWITCHABLE
from dnas.blocks.kind import Fields, block
from dnas.space.fields import Formula, flag, integer, name, odd, ratio

if TYPE_CHECKING:
    from dnas.network import Feature, Network


@block(
    "mbconv",
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
)
def mbconv(net: Network, x: Feature, f: Fields) -> Feature:
    """1x1 expansion, depthwise convolution, squeeze-excite, 1x1 projection, residual (Sandler et al. 2018)."""
    groups, bias, stride, own = (f.fixed(name) for name in ("groups", "bias", "stride", "switchable"))
    y = x
    if f.fixed("expand_conv"):
        y = net.conv("expand", y, f.hidden, groups=groups, bias=bias)
        y = net.activation(net.batch_norm("expand_norm", y, switchable=own), f.act)
    if groups > 1:
        y = net.channel_shuffle(y, groups)
    y = net.depthwise("depthwise", y, f.kernel, stride, f.padding, bias=bias)
    y = net.activation(net.batch_norm("depthwise_norm", y, switchable=own), f.act)
    if f.fixed("second_depthwise"):
        y = net.depthwise("depthwise2", y, 3, 1, 1, bias=bias)
        y = net.activation(net.batch_norm("depthwise2_norm", y, switchable=own), f.act)
    y = net.squeeze_excite("se", y, f.se_hidden, f.se_act, on=f.se)
    y = net.conv("project", y, f.out, groups=groups, bias=bias)
    # A small first scale: the depth of soft blocks would otherwise blow up the first gradients.
    y = net.masked(net.batch_norm("project_norm", y, masked=True, start=0.1, switchable=own))
    return net.residual(x, y) if f.fixed("residual") and stride == 1 else y


@block(
    "pool_head",
    hidden=integer("width of the convolution before the pooling"),
    out=integer("features given to the classifier"),
    act=name("activation", ACTIVATIONS, "hswish"),
    switchable=SWITCHABLE,
)
def pool_head(net: Network, x: Feature, f: Fields) -> Feature:
    """1x1 convolution and norm, global pooling, linear layer without norm (the head of FBNetV2 and V3)."""
    y = net.batch_norm("expand_norm", net.conv("expand", x, f.hidden), switchable=f.fixed("switchable"))
    y = net.activation(y, f.act)
    y = net.linear("project", net.global_pool(y), f.out, bias=False)
    return net.masked(net.activation(y, f.act))
