"""The networks of the comparison in PyTorch, eager: a supernet as branches, as other projects build it, and factorised.

Both have the stages of the space, its choices and its masks of widths. The gates are softmaxes of logits that learn, as
in `dnas`; a step is forward, backward and SGD with momentum and weight decay.

* `FactorisedNet`: kernels mix before the convolution, squeeze-excite in its gate, activations elementwise; masks are
  folded into weights and norms. With equal weights it is the same function as the supernet (a test compares them).
* `BranchesNet`: each layer evaluates eight blocks (kernel x squeeze-excite x activation) with weights of their own and
  adds them up, each times its gate. Masks are folded as above, and the residual is added once: the cheap form.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dnas.graph import BlockUse, graph_of
from dnas.space.quantity import Choice, Quantity
from dnas.space.space import Space

Gates = Sequence[Tensor]
"""One row a choice."""

EPSILON = 1e-5
NORM_MOMENTUM = 0.1
ACTIVATIONS = {"relu": F.relu, "hswish": F.hardswish, "none": lambda x: x}


class Choices(nn.Module):
    """Logits of all choices; called, the gates."""

    def __init__(self, choices: Sequence[Choice]):
        super().__init__()
        self.sizes = [len(c) for c in choices]
        real = torch.arange(max(self.sizes)) < torch.tensor(self.sizes)[:, None]
        self.register_buffer("padding", torch.where(real, 0.0, -torch.inf))
        self.logits = nn.Parameter(torch.zeros(real.shape))

    def forward(self) -> Gates:
        rows = torch.softmax(self.logits + self.padding, -1)
        return [row[:size] for row, size in zip(rows, self.sizes, strict=True)]


class Expected(nn.Module):
    """The mean of a quantity, or of its mask over channels, under the gates of its choices; the table is a buffer."""

    def __init__(self, rows: dict[str, int], over: Sequence[Choice], table: np.ndarray):
        super().__init__()
        self.rows = [rows[c.name] for c in over]
        self.register_buffer("table", torch.tensor(table, dtype=torch.float32))

    @staticmethod
    def mask(rows: dict[str, int], width: Quantity) -> Expected | None:
        if width.is_constant:
            return None
        return Expected(rows, width.over, width.table.reshape(-1, 1) > np.arange(width.max()))

    @staticmethod
    def mean(rows: dict[str, int], quantity: Quantity) -> Expected:
        return Expected(rows, quantity.over, quantity.table.reshape(-1))

    def forward(self, gates: Gates) -> Tensor:
        if not self.rows:
            return self.table.reshape(self.table.shape[1:])
        joint = gates[self.rows[0]]
        for row in self.rows[1:]:
            joint = (joint[:, None] * gates[row]).reshape(-1)
        return joint @ self.table


class MaskedNorm(nn.Module):
    """Batch norm; `mask` scales its weight and bias."""

    def __init__(self, width: int, start: float = 1.0):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.full((width,), start)), nn.Parameter(torch.zeros(width))
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("var", torch.ones(width))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        weight, bias = (self.weight, self.bias) if mask is None else (self.weight * mask, self.bias * mask)
        return F.batch_norm(x, self.mean, self.var, weight, bias, True, NORM_MOMENTUM, EPSILON)


class SqueezeExcite(nn.Module):
    """x * (1 - on + on * hsigmoid(W2 act(W1 mean(x)))) with masked input rows and a masked hidden layer."""

    def __init__(self, wide: int, narrow: int):
        super().__init__()
        self.reduce, self.expand = nn.Linear(wide, narrow), nn.Linear(narrow, wide)

    def forward(self, x: Tensor, act, wide: Tensor | None, narrow: Tensor | None, on: Tensor | None = None) -> Tensor:
        inner = act(F.linear(x.mean((2, 3)), _masked(self.reduce.weight, wide), self.reduce.bias))
        gate = F.hardsigmoid(F.linear(inner, _masked(self.expand.weight, narrow), self.expand.bias))
        if on is not None:
            gate = 1 - on + on * gate
        return x * gate[:, :, None, None]


class Block(nn.Module):
    """One inverted residual, without its residual; subclasses say how kernel, squeeze-excite and activation are chosen.

    `masks` are those of the hidden width, of squeeze-excite's hidden width and of the output.
    """

    def __init__(self, use: BlockUse, kernels: Sequence[int], se: bool):
        super().__init__()
        width, hidden, out = use.channels_in.max(), use.fields["hidden"].max(), use.fields["out"].max()
        self.stride = use.fields["stride"].value
        self.expand = _weight(hidden, width, 1, 1) if use.fields["expand_conv"].value else None
        self.expand_norm = MaskedNorm(hidden) if self.expand is not None else None
        self.kernels = nn.ParameterList(_weight(hidden, 1, k, k) for k in kernels)
        self.depthwise_norm = MaskedNorm(hidden)
        self.se = SqueezeExcite(hidden, use.fields["se_hidden"].max()) if se else None
        self.project = _weight(out, hidden, 1, 1)
        self.project_norm = MaskedNorm(out, 0.1)

    def run(self, x: Tensor, kernel: Tensor, act, masks: Sequence[Tensor | None], on: Tensor | None = None) -> Tensor:
        hidden, narrow, out = masks
        if self.expand is not None:
            x = act(self.expand_norm(F.conv2d(x, self.expand)))
        x = F.conv2d(x, kernel, stride=self.stride, padding=kernel.shape[-1] // 2, groups=x.shape[1])
        x = act(self.depthwise_norm(x))
        if self.se is not None:
            x = self.se(x, act, hidden, narrow, on)
        return self.project_norm(F.conv2d(x, _masked(self.project, hidden)), out)


class Widths(nn.Module):
    """The masks of a block and the probability that its residual exists."""

    def __init__(self, use: BlockUse, rows: dict[str, int]):
        super().__init__()
        fields = use.fields
        self.masks = nn.ModuleList(
            mask if (mask := Expected.mask(rows, fields[name])) is not None else nn.Identity()
            for name in ("hidden", "se_hidden", "out")
        )
        agree = use.channels_in.equals(fields["out"])
        alone = fields["stride"].value > 1 or (agree.is_constant and not agree.value)
        self.agree = None if alone else Expected.mean(rows, agree)

    def forward(self, gates: Gates) -> list[Tensor | None]:
        return [mask(gates) if isinstance(mask, Expected) else None for mask in self.masks]

    def residual(self, x: Tensor, y: Tensor, gates: Gates) -> Tensor:
        return y if self.agree is None else y + self.agree(gates) * _resized(x, y.shape[1])


class FactorisedLayer(nn.Module):
    """All options of kernel, squeeze-excite and activation on one path."""

    def __init__(self, uses: Sequence[BlockUse], rows: dict[str, int]):
        super().__init__()
        (use,) = uses
        self.widths, self.block = Widths(use, rows), Block(use, use.fields["kernel"].values(), se=True)
        self.kernel_row, self.se_row, self.act_row = (rows[use.fields[n].over[0].name] for n in ("kernel", "se", "act"))
        self.acts = use.fields["act"].values()

    def forward(self, x: Tensor, gates: Gates) -> Tensor:
        largest, g_kernel, g_act = (
            max(w.shape[-1] for w in self.block.kernels),
            gates[self.kernel_row],
            gates[self.act_row],
        )
        padded = [F.pad(w, [(largest - w.shape[-1]) // 2] * 4) for w in self.block.kernels]
        kernel = sum(g * w for g, w in zip(g_kernel, padded, strict=True))

        def act(v: Tensor) -> Tensor:
            return sum(g * ACTIVATIONS[name](v) for g, name in zip(g_act, self.acts, strict=True))

        y = self.block.run(x, kernel, act, self.widths(gates), on=gates[self.se_row][1])
        return self.widths.residual(x, y, gates)


class BranchesLayer(nn.Module):
    """A block for each candidate, added up times their gates."""

    def __init__(self, uses: Sequence[BlockUse], rows: dict[str, int]):
        super().__init__()
        self.widths = Widths(uses[0], rows)
        self.row = rows[uses[0].given.over[0].name]
        self.branches = nn.ModuleList(Block(u, u.fields["kernel"].values(), u.fields["se"].value) for u in uses)
        self.acts = [ACTIVATIONS[u.fields["act"].value] for u in uses]

    def forward(self, x: Tensor, gates: Gates) -> Tensor:
        masks, row = self.widths(gates), gates[self.row]
        found = [b.run(x, b.kernels[0], act, masks) for b, act in zip(self.branches, self.acts, strict=True)]
        return self.widths.residual(x, sum(g * y for g, y in zip(row, found, strict=True)), gates)


class Net(nn.Module):
    """Stem, layers, head; a layer is made of the blocks that are alternatives of one place."""

    def __init__(self, space: Space, layer: type[nn.Module]):
        super().__init__()
        rows = {c.name: row for row, c in enumerate(space.choices)}
        stem, *uses, head, _pool, linear = graph_of(space).uses
        self.choices = Choices(space.choices)
        first, last = stem.out.channels.max(), head.out.channels.max()
        self.stem, self.stem_norm = nn.Conv2d(space.channels, first, 3, 2, 1), MaskedNorm(first)
        self.layers = nn.ModuleList(layer(group, rows) for group in _layers(uses))
        self.head, self.head_norm = _weight(last, head.channels_in.max(), 1, 1), MaskedNorm(last)
        self.linear = nn.Linear(last, linear.out.channels.max())

    def forward(self, x: Tensor) -> Tensor:
        gates = self.choices()
        x = F.hardswish(self.stem_norm(self.stem(x)))
        for layer in self.layers:
            x = layer(x, gates)
        x = F.hardswish(self.head_norm(F.conv2d(x, self.head)))
        return self.linear(x.mean((2, 3)))


def factorised(space: Space) -> Net:
    return Net(space, FactorisedLayer)


def branches(space: Space) -> Net:
    return Net(space, BranchesLayer)


def training_step(net: Net, compiled: bool = False):
    """A function `(images NCHW, targets) -> loss` that takes one step on the weights.

    The logits of the choices get their gradient too, as in `dnas.search.learn`, but are left as they are.
    """
    weights = [p for name, p in net.named_parameters() if not name.startswith("choices.")]
    optimizer = torch.optim.SGD(weights, lr=0.01, momentum=0.9, weight_decay=1e-4)
    forward = torch.compile(net) if compiled else net

    def step(images: Tensor, targets: Tensor) -> Tensor:
        net.zero_grad(set_to_none=True)
        loss = F.cross_entropy(forward(images), targets)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def _layers(uses: Sequence[BlockUse]) -> list[list[BlockUse]]:
    """Blocks grouped by place: the alternatives of one place have its path and a name of their own."""
    groups: dict[str, list[BlockUse]] = {}
    for use in uses:
        place = use.path.rpartition(".")[0] if use.given.over else use.path
        groups.setdefault(place, []).append(use)
    return list(groups.values())


def _weight(out: int, into: int, *kernel: int) -> nn.Parameter:
    fan_in = into * int(np.prod(kernel))
    return nn.Parameter(torch.randn(out, into, *kernel) * (2 / fan_in) ** 0.5)


def _resized(x: Tensor, width: int) -> Tensor:
    """x with its channels padded with zeros, or cut, to `width`."""
    missing = width - x.shape[1]
    return F.pad(x, (0, 0, 0, 0, 0, missing)) if missing > 0 else x[:, :width]


def _masked(weight: Tensor, mask: Tensor | None) -> Tensor:
    """The weight with its input axis (the second) masked."""
    return weight if mask is None else weight * mask.reshape(1, -1, *[1] * (weight.dim() - 2))
