"""What operators with a window have in common: its side may be a choice, and so may the map that it moves over."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from dnas import maths
from dnas.errors import UserError
from dnas.ops.operator import Env, Held, Parameter, Pass, Reads, Segment, options
from dnas.ops.tensor import Tensor
from dnas.space.quantity import Assignment, Quantity


def padding_of(kernel: Quantity, padding: Quantity | None) -> Quantity:
    """Zeros on each side; by default as many as keep the side at stride 1."""
    return kernel // 2 if padding is None else padding


class Windows(NamedTuple):
    """One window that holds those of all options, each where it stands: at output y, option (k, p) reads the k pixels
    from `stride * y - p` on, which are those of the common window from `P - p` on."""

    places: Quantity
    """Side of the window that is taken, and where it begins within the common one."""
    side: int
    padding: int
    """The largest, P."""


def windows_of(kernel: Quantity, padding: Quantity) -> Windows:
    """The common window of kernels and paddings."""
    most = padding.max()
    places = Quantity.combine(lambda k, p: (k, most - p), kernel, padding)
    return Windows(places, max(k + begin for k, begin in places.values()), most)


def side_after(side: Quantity | None, kernel: Quantity, stride: int, padding: Quantity) -> Quantity:
    """Side of the result: floor((side + 2 padding - kernel) / stride) + 1."""
    if side is None:
        raise UserError("a convolution needs a map")

    def after(side: int, kernel: int, padding: int) -> int:
        return (side + 2 * padding - kernel) // stride + 1

    out = Quantity.combine(after, side, kernel, padding)
    differ = set(out.over) - set(side.over)
    if set(side.over) & {*kernel.over, *padding.over}:
        # Options that follow from the side may give one of each; but one common window has to serve all maps.
        _, common, most = windows_of(kernel, padding)
        differ = differ or not Quantity.combine(after, side, common, most).same_as(out)
    if differ:
        raise UserError(
            f"kernel options {kernel.values()} with paddings {padding.values()} give maps of different sides"
        )
    if out.min() < 1:
        raise UserError(f"the map vanishes: side {side.min()}, kernel {kernel.max()}, padding {padding.min()}")
    return out


def kernels(kernel: Quantity, *channels: Quantity | int) -> dict[str, Parameter]:
    """A kernel [k, k, *channels], or one for each side that is an option."""
    sides = kernel.values()
    return {name_of(kernel, side): Parameter((side, side, *channels)) for side in sides}


def name_of(kernel: Quantity, side: int) -> str:
    """The name of the kernel of that side."""
    return "weight" if len(kernel.values()) == 1 else f"weight_k{side}"


def of_kernel(kernel: Quantity, assignment: Assignment, values: dict[str, Any]) -> dict[str, Any]:
    """Parameters of which the kernel that is taken has the plain name, and the others are gone."""
    names = {name_of(kernel, side) for side in kernel.values()}
    kept = {name: value for name, value in values.items() if name not in names}
    return {"weight": values[name_of(kernel, kernel.at(assignment))]} | kept


def read_options(gates: Reads, value: Quantity) -> None:
    """Notes that the options of an attribute are mixed."""
    if len(value.values()) > 1:
        for taken in options(value).values():
            gates.mean(taken)


def mixed_kernel(env: Env, held: Held, kernel: Quantity, padding: Quantity) -> Any:
    """sum_i g_i pad(w_i) to the common window of all options, which goes with the largest padding.

    Options of equal sides may still stand in different places: a stride of 4 leaves the same map of side 2 with
    paddings 0 and 1. So zeros go around each kernel where its own window lies.
    """
    places, side, _ = windows_of(kernel, padding)
    if places.is_constant:
        return held["weight"]
    taken = options(places)
    parts = [held[name_of(kernel, k)] for k, _ in taken]
    begins = [begin for _, begin in taken]
    return maths.conv.mixed_kernels(parts, [env.mean(share) for share in taken.values()], begins, side)


def program_of(kernel: Quantity, padding: Quantity) -> tuple[Any, int]:
    """A smaller kernel is a larger one with zeros around it: only the padding beyond half of it tells them apart."""
    if not (kernel.is_constant and padding.is_constant):
        return (kernel, padding), 0
    return (kernel.value % 2, padding.value - kernel.value // 2), kernel.value


def grids_memory(of: Pass, y: Tensor, x: Tensor) -> Iterator[Segment]:
    """Where the resolution is sampled, the pixels of each one's grid are kept; all of them are taken in turn."""
    count = 1 if x.side is None else len(x.side.values())
    paths = of.resolution_paths
    if count > 1 and paths is not None and paths < count:
        yield Segment(paths * x.length, 3 * x.length + 4 * y.length)
    elif count > 1:
        yield Segment(0, 3 * x.length + 3 * y.length)
