"""From a space to its graph: block functions are called with a `Builder`, to which they add operators."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

from dnas.blocks import KINDS, Fields
from dnas.errors import InputError, UserError, suggestion
from dnas.graph.fields import effective_fields, evaluated_fields
from dnas.graph.graph import Graph, placed
from dnas.graph.parts import BlockUse, Branch, Branches, Part
from dnas.ops import ClassToken, Mask, Mixture, Operator
from dnas.ops.operator import WEIGHT
from dnas.ops.tensor import CHANNELS, TOKENS, Feature, Tensor, leaves, mapped, square
from dnas.space.entries import cut, given, kept, whole
from dnas.space.quantity import Choice, Quantity, indicator
from dnas.space.space import Block, Node, OneOf, Space, Stage

T = TypeVar("T", bound=Feature)


class _Option(NamedTuple):
    """Of a mixture."""

    condition: Quantity
    """1 where it is taken."""
    build: Callable[[], Feature]
    """Adds its operators, and gives the result."""
    path: str = ""


@functools.lru_cache(maxsize=64)
def graph_of(space: Space) -> Graph:
    """The graph of a space, at its own input and classes."""
    graph, on_tokens = _built(space, space.keep_tokens)
    _check_tokens(space, graph, on_tokens)
    graph = _pruned(graph, space) if space.keep else graph
    graph = _gated(graph, space) if space.gates else graph
    return _quantized(graph, space) if space.quantization else graph


def masked_graph(space: Space) -> tuple[Graph, tuple[str, ...]]:
    """The graph of an architecture on all tokens, and the paths of the blocks on them: after each of these the tokens
    are those of a mask, [tokens], that comes by its path with each forward pass (`dnas.space.entries.Given`). It has no
    gates, and nothing is quantised in it."""
    _, on_tokens = _built(space, {})
    graph, _ = _built(space, dict.fromkeys(on_tokens))
    return (_pruned(graph, space) if space.keep else graph), on_tokens


def _built(space: Space, tokens: Mapping[str, Sequence[int] | None]) -> tuple[Graph, tuple[str, ...]]:
    """The graph before it is pruned, and the blocks on tokens."""
    builder, x = Builder(tokens), square(space.resolution, Quantity.constant(space.channels))
    y = builder.walk(space.nodes, x)
    if not isinstance(y, Tensor):
        raise InputError(space.source, "the last block gives several tensors", accepted="one that gives class scores")
    return builder.graph(x, y), builder.on_tokens


def _check_tokens(space: Space, graph: Graph, blocks: Collection[str]) -> None:
    """Kept tokens are those of blocks on tokens, and the learned ones among them."""
    learned = [node.operator.count for node in graph.nodes if isinstance(node.operator, ClassToken)]
    for path, entries in space.keep_tokens.items():
        where = space.document.where(("keep_tokens", path))
        if path not in blocks:
            raise InputError(where, f"no block that works on tokens has this path{suggestion(path, blocks)}")
        missing = next((n for n in range(sum(learned)) if n not in entries), None)
        if missing is not None:
            raise InputError(where, f"token {missing} is missing, which is learned and always stays")


def _quantized(graph: Graph, space: Space) -> Graph:
    """The graph of an architecture whose numbers are quantised."""
    nodes = {node.path: node for node in graph.nodes if not node.idle}
    for path, how in space.quantization.items():
        where = space.document.where(("quantization", path))
        if path not in nodes:
            raise InputError(where, f"no operator has this path{suggestion(path, nodes)}")
        second = nodes[path].operator.second
        if how.bits is not None and second is None:
            raise InputError(where, f"'{nodes[path].operator.name}' is no product of two arrays", accepted="result")
        if how.per_channel and second != WEIGHT:
            raise InputError(where, "it has no weights of one output channel each", accepted="weights: per-tensor")
    return graph.quantized(space.quantization)


def _pruned(graph: Graph, space: Space) -> Graph:
    """The graph of an architecture with the channels that are left."""
    lengths = {node.path: node.output[CHANNELS].length for node in graph.nodes if CHANNELS in node.output.names}
    for path, entries in space.keep.items():
        where = space.document.where(("keep", path))
        if path not in lengths:
            raise InputError(where, f"no operator with channels has this path{suggestion(path, lengths)}")
        if entries[-1] >= lengths[path]:
            raise InputError(where, "no such channel", found=entries[-1], accepted=f"0 to {lengths[path] - 1}")
    sizes = {path: kept(lengths[path], entries) for path, entries in space.keep.items()}
    where = space.document.where(("keep",))
    try:
        pruned = graph.keeping(sizes).fix({})
    except UserError as error:
        raise InputError(where, str(error)) from error
    left = {node.path for node in pruned.nodes}
    lost = next((node.path for node in graph.nodes if node.path not in left), None)
    if lost is not None:
        raise InputError(where, f"'{lost}' has nothing to do with so few channels; its inputs must keep the same ones")
    return pruned


def _gated(graph: Graph, space: Space) -> Graph:
    """The graph of an architecture with its gates."""
    try:
        return graph.gated(space.gates)
    except UserError as error:
        raise InputError(space.document.where(("gates",)), str(error)) from error


class Builder:
    """Adds operators, one after another, to parts of a graph.

    `tokens` are those that blocks keep, by path; None for a mask of the block's name that comes with each forward pass.
    """

    def __init__(self, tokens: Mapping[str, Sequence[int] | None] | None = None) -> None:
        self._tokens = tokens or {}
        self._on_tokens: list[str] = []
        self._parts: list[Part] = []
        self._conditions: tuple[Quantity, ...] = ()
        self._path = ""

    @property
    def parts(self) -> tuple[Part, ...]:
        """What was added."""
        return tuple(self._parts)

    def graph(self, x: Tensor, y: Tensor) -> Graph:
        """What was added, from x to y."""
        return Graph(x, y, self.parts)

    def add(self, name: str, operator: Operator, *x: Tensor) -> Tensor:
        """The result of an operator at `name` within the block."""
        if any(not isinstance(tensor, Tensor) for tensor in x):
            raise UserError(f"{operator.name} takes tensors one by one, and the block before gives several together")
        if operator.passes(*x) is None and operator.wants_masked(*x):
            x = tuple(self.masked(tensor) for tensor in x)
        node = placed(f"{self._path}.{name}", operator, x, self._conditions)
        if node.matters:
            self._parts.append(node)
        return node.output

    @property
    def on_tokens(self) -> tuple[str, ...]:
        """Blocks that asked which tokens they keep."""
        return tuple(self._on_tokens)

    def kept_tokens(self, x: Tensor) -> Quantity:
        """How many of the tokens of x go on after the block, and which: all, where nothing else was said. A block that
        asks can be slimmed; its queries and what it adds to are then of these, its keys and values of all."""
        self._on_tokens.append(self._path)
        tokens = x[TOKENS].size
        if self._path not in self._tokens:
            return tokens
        entries, full = self._tokens[self._path], whole(tokens)
        if entries is None:
            return given(self._path, full)
        if entries[-1] >= full:
            raise UserError(f"no token {entries[-1]} to keep; they are 0 to {full - 1}")
        return cut(full, entries)

    def masked(self, x: T) -> T:
        """The tensor, or each of several, with its masks applied, where they are not already."""
        return mapped(lambda tensor: self.add("mask", Mask(), tensor), x)

    # Conditions -----------------------------------------------------------------------------------------------------

    @contextmanager
    def given(self, condition: Quantity) -> Iterator[None]:
        """Operators added inside exist only where the condition is 1."""
        outer, self._conditions = self._conditions, (*self._conditions, condition)
        try:
            yield
        finally:
            self._conditions = outer

    def mixture(self, *options: tuple[Quantity, Callable[[], T]]) -> T:
        """sum_i condition_i * option_i for conditions of which exactly one is 1; impossible options are not built."""
        return self._mixed([_Option(*option) for option in options])

    def _mixed(self, options: Sequence[_Option], choice: Choice | None = None, x: Feature | None = None) -> Any:
        """`choice` and `x`: see `Branches`."""
        possible = [option for option in options if option.condition.max()]
        if len(possible) == 1:
            with self.given(possible[0].condition):
                return possible[0].build()
        branches = tuple(map(self._branch, possible))
        if len({mapped(lambda _: None, branch.output) for branch in branches}) > 1:
            raise UserError("the options differ in kind: they give different numbers of tensors")
        mix = Mixture(tuple(branch.condition for branch in branches))
        outputs = zip(*(leaves(branch.output) for branch in branches), strict=True)
        nodes = tuple(placed(f"{self._path}.mix", mix, tensors, self._conditions) for tensors in outputs)
        mixed = Branches(branches, nodes, choice, x)
        self._parts.append(mixed)
        return mixed.output

    def _branch(self, option: _Option) -> Branch:
        with self.given(option.condition), self._apart() as parts:
            output = self.masked(option.build())
        return Branch(option.condition, tuple(parts), output, option.path)

    @contextmanager
    def _apart(self) -> Iterator[list[Part]]:
        """Parts added inside, in a list of their own."""
        outer, self._parts = self._parts, []
        try:
            yield self._parts
        finally:
            self._parts = outer

    # Nodes of a space -----------------------------------------------------------------------------------------------

    def walk(self, nodes: Sequence[Node], x: Feature) -> Any:
        """The result of the nodes of a space, one after another."""
        for node in nodes:
            x = self.node(node, x)
        return x

    def node(self, node: Node, x: Feature) -> Any:
        """The result of one node."""
        with self._met_at(node):
            match node:
                case Block():
                    return self._block(node, x)
                case OneOf():
                    return self._one_of(node, x)
                case Stage():
                    return self._stage(node, x)
        raise AssertionError(node)

    def _one_of(self, node: OneOf, x: Feature) -> Feature:
        options = [
            _Option(indicator(node.choice, lambda i, n=n: i == n), functools.partial(self.node, branch, x), branch.path)
            for n, branch in enumerate(node.branches)
        ]
        return self._mixed(options, node.choice, x)

    def _stage(self, node: Stage, x: Feature) -> Feature:
        for position, block in enumerate(node.blocks):
            present = Quantity.combine(lambda d, p=position: int(d > p), node.depth)
            taken, left = functools.partial(self.node, block, x), functools.partial(lambda before: before, x)
            x = self.mixture((present, taken), (1 - present, left))
        return x

    def _block(self, node: Block, x: Feature) -> Feature:
        KINDS[node.kind].check(x)
        first = leaves(x)[0]
        fields = evaluated_fields(node, first)
        with self._apart() as parts:
            y = KINDS[node.kind].build(self, x, Fields(effective_fields(node.kind, fields, first)))
        self._parts.append(BlockUse(node.path, node.kind, fields, x, y, tuple(parts), self._conditions))
        return y

    @contextmanager
    def _met_at(self, node: Node) -> Iterator[None]:
        """Paths begin with the node's, and errors say where in its file it stands."""
        outer, self._path = self._path, node.path
        try:
            yield
        except InputError:
            raise
        except UserError as error:
            raise InputError(node.where, str(error)) from error
        finally:
            self._path = outer
