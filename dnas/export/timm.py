"""timm: block strings for its EfficientNet and MobileNetV3 classes, where those can express the network.

The operators of each block are matched against the blocks timm has (`ir` inverted residual, `ds` depthwise separable,
`cn` convolution). What does not match is refused, naming the part. Names of tensors are those of `dnas.timm`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from dnas.errors import InputError
from dnas.export.preprocess_code import PLAIN, Head
from dnas.export.torch_code import script, usage
from dnas.export.trace import Network, NetworkBlock, Op, Value, Weights, convolution
from dnas.ops.norm import EPSILON
from dnas.timm import checkpoint
from dnas.timm.layouts import names_of, places

SHORT = {"relu": "re", "relu6": "r6", "hswish": "hs", "swish": "sw"}
LONG = {"relu": "relu", "relu6": "relu6", "hswish": "hard_swish", "swish": "swish"}
PLAIN_CONV = ("conv", "batch_norm", "activation")
SE = ("global_pool", "conv", "activation", "conv", "activation", "excite")
SAME = {"depthwise": "conv", "pointwise": "conv"}
"""Convolutions to timm."""
TEMPLATE = '''"""{title}

{usage}
"""

from functools import partial

{torch}from timm.layers import get_act_layer
from timm.models._efficientnet_blocks import SqueezeExcite
from timm.models._efficientnet_builder import decode_arch_def
from timm.models.{module} import {model}
from torch import nn
{head}
ARCH = [
{arch}
]


def network():
    return {model}(
        decode_arch_def(ARCH),
        num_classes={classes},
        in_chans={channels},
        stem_size={stem},
        num_features={features},
{rest}
        round_chs_fn=int,
        act_layer=get_act_layer("{act}"),
        norm_layer=partial(nn.BatchNorm2d, eps={epsilon}),
        se_layer=partial(SqueezeExcite, gate_layer="hard_sigmoid", rd_round_fn=round),
    )
{script}'''


@dataclass(frozen=True)
class TimmNetwork:
    """A network in timm's terms: block strings by stage, and options of the model."""

    stages: list[list[str]]
    options: dict[str, object]


def source(network: Network, *, title: str, weights_file: str, where: str, head: Head = PLAIN) -> str:
    """The Python file that builds the network with timm; raises `InputError` naming the part that timm lacks."""
    made = translated(network, where)
    o = made.options
    mobile = o["model"] == "MobileNetV3"
    rest = [f"head_bias={o['head_bias']},", "se_from_exp=True,"] if mobile else [f"output_stride={o['stride']},"]
    stages = [[f"{key[: key.index('_')]}_r{n}{key[key.index('_') :]}" for key, n in _runs(s)] for s in made.stages]
    return TEMPLATE.format(
        title=title, usage="\n".join(usage(head, weights_file)), torch="import torch\n" if head.pictures else "",
        head=head.text + "\n" * head.pictures, script=script(head, weights_file), model=o["model"],
        module="mobilenetv3" if mobile else "efficientnet",
        arch="\n".join(f"    [{', '.join(map(_quoted, stage))}]," for stage in stages), classes=o["classes"],
        channels=o["channels"], stem=o["stem"], features=o["features"], act=o["act"], epsilon=EPSILON,
        rest="\n".join(f"        {line}" for line in rest),
    )  # fmt: skip


def tensors(network: Network, weights: Weights, where: str) -> dict[str, np.ndarray]:
    """The state dict of timm's model. A bias before a norm, which timm has not, moves into the norm's mean."""
    translated(network, where)
    return checkpoint.written(names_of([block.use for block in network.blocks], where), weights)


def translated(network: Network, where: str) -> TimmNetwork:
    """The network in timm's terms."""
    ops = list(network.ops)
    pooled = next((n for n, op in enumerate(ops) if op.kind == "global_pool" and not op.attributes["keep"]), len(ops))
    tail = ops[pooled + 1 :]
    body = {id(op) for op in ops[:pooled]}
    units = [(b, unit) for b in network.blocks if (unit := [op for op in b.ops if id(op) in body])]
    mobile = _kinds(tail) == ("linear", "activation", "linear")
    if not mobile and _kinds(tail) != ("linear",):
        raise _refused(where, "head", "after the pooling timm has one or two linear layers")
    stem_block, stem = units.pop(0)
    if _kinds(stem) != PLAIN_CONV or [convolution(stem[0])[n] for n in ("kernel", "stride", "padding")] != [3, 2, 1]:
        raise _refused(where, stem_block.path, "timm's stem is a 3x3 convolution of stride 2 with norm and activation")
    act = _act(where, stem_block.path, stem[2])
    if mobile:
        _must(tail[1].attributes["act"] == act, where, "head", "the activation differs from the stem's")
        _must(tail[2].attributes["bias"], where, "head", "timm's classifier has a bias")
        features = tail[0].output.channels
    else:
        head_block, head = units.pop()
        one = _kinds(head) == PLAIN_CONV and _pointwise(head[0])
        _must(one, where, head_block.path, "before the pooling timm has a 1x1 convolution")
        _must(head[2].attributes["act"] == act, where, head_block.path, "the activation differs from the stem's")
        _must(tail[0].attributes["bias"], where, "head", "timm's classifier has a bias")
        features = head[0].output.channels
    texts = [_unit(where, block, unit, mobile) for block, unit in units]
    total = 2 * math.prod(stride for _, stride in texts)
    stages: list[list[str]] = []
    for (text, _), (_, number) in zip(texts, places(stride for _, stride in texts), strict=True):
        stages += [] if number else [[]]
        stages[-1].append(text)
    _must(not mobile or total <= 32, where, "trunk", f"a total stride of {total}; timm's MobileNetV3 stops at 32")
    options = {
        "model": "MobileNetV3" if mobile else "EfficientNet", "classes": tail[-1].output.channels,
        "channels": network.input.channels, "stem": stem[0].output.channels, "features": features, "act": LONG[act],
        "stride": max(total, 32), "head_bias": bool(tail[0].attributes["bias"]),
    }  # fmt: skip
    return TimmNetwork(stages, options)


def _unit(where: str, block: NetworkBlock, unit: Sequence[Op], from_hidden: bool) -> tuple[str, int]:
    """Block string without its repeats, and the stride."""
    kinds, path = _kinds(unit), block.path
    residual = kinds[-1:] == ("residual",)
    core, core_kinds = (unit[:-1], kinds[:-1]) if residual else (unit, kinds)
    start: Value = unit[0].inputs[0]
    if core_kinds == PLAIN_CONV:
        conv = core[0]
        _check_conv(where, path, conv)
        a = convolution(conv)
        _must(a["groups"] == 1, where, path, "timm's plain convolution has no groups here")
        _must(not residual, where, path, "a plain convolution with a residual")
        act = SHORT[_act(where, path, core[2])]
        text = f"cn_k{a['kernel']}_s{a['stride']}_c{conv.output.channels}_n{act}"
        return text, a["stride"]
    se = SE if "excite" in core_kinds else ()
    inverted = core_kinds == (*PLAIN_CONV, *PLAIN_CONV, *se, "conv", "batch_norm")
    if not inverted and core_kinds != (*PLAIN_CONV, *se, "conv", "batch_norm"):
        raise _refused(where, path, f"no timm block has the operators {', '.join(kinds)}")
    depthwise, project = core[3 if inverted else 0], core[-2]
    _check_conv(where, path, depthwise)
    inner = convolution(depthwise)
    alone = inner["groups"] == depthwise.output.channels
    _must(alone, where, path, "the inner convolution is not depthwise")
    for conv in [project, *([core[0]] if inverted else [])]:
        _must(_pointwise(conv), where, path, "an outer convolution that is not 1x1, or has groups or a stride")
    acts = {_act(where, path, op) for op in core if op.kind == "activation" and (not se or op is not core[-4])}
    _must(len(acts) == 1, where, path, f"different activations in one block ({', '.join(sorted(acts))})")
    hidden, stride, out = depthwise.output.channels, inner["stride"], project.output.channels
    can_add = stride == 1 and start.channels == out
    text = f"{'ir' if inverted else 'ds'}_k{inner['kernel']}_s{stride}"
    if inverted:
        _must(hidden % 8 == 0, where, path, f"hidden width {hidden}; timm's are multiples of 8")
        text += f"_e{_number(hidden / start.channels)}"
    if se:
        reduce = core[-7]
        _must(core[-4].attributes["act"] == "hsigmoid", where, path, "the gate is not a hard sigmoid")
        base = hidden if from_hidden or not inverted else start.channels
        text += f"_se{_number(reduce.output.channels / base)}"
    text += f"_c{out}_n{SHORT[acts.pop()]}" + ("_noskip" if can_add and not residual else "")
    return text, stride


def _check_conv(where: str, path: str, conv: Op) -> None:
    a = convolution(conv)
    usual = a["padding"] == a["kernel"] // 2 and a["stride"] <= 2
    _must(usual, where, path, f"padding {a['padding']} at kernel {a['kernel']} and stride {a['stride']}")


def _pointwise(conv: Op) -> bool:
    a = convolution(conv)
    return a["kernel"] == a["groups"] == a["stride"] == 1


def _act(where: str, path: str, op: Op) -> str:
    name = op.attributes["act"]
    _must(name in SHORT, where, path, f"the activation {name}; timm's block strings have {', '.join(SHORT)}")
    return name


def _kind(op: Op) -> str:
    return SAME.get(op.kind, op.kind)


def _kinds(ops: Sequence[Op]) -> tuple[str, ...]:
    return tuple(map(_kind, ops))


def _must(condition: bool, where: str, path: str, why: str) -> None:
    if not condition:
        raise _refused(where, path, why)


def _refused(where: str, path: str, why: str) -> InputError:
    return InputError(f"{where}: {path}", f"timm cannot express this: {why}")


def _runs(stage: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Equal neighbours counted; only the first block of a stage may have a stride, so it stands alone."""
    for key, group in itertools.groupby(stage):
        yield key, len(list(group))


def _number(value: float) -> str:
    return f"{value:.6f}".rstrip("0").rstrip(".")


def _quoted(text: str) -> str:
    return f'"{text}"'
