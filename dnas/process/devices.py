"""The devices that a run computes on: one, or several that share every batch.

Each device has all parameters and an equal part of the batch. A pass through a network is run by each on its own part
(`Devices.spread`); all else of a step is written for the whole batch, and the compiler divides it. Gradients are summed
over the devices in one reduction. A run on one device knows nothing of this: everything here leaves it as it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from dnas.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from jax.sharding import Mesh, NamedSharding

AXIS, COPIES = "data", "copies"
"""Axes of a mesh: along the first devices have different parts of a batch, along the second the same."""
SIMULATED = "JAX_NUM_CPU_DEVICES"


class Parts(NamedTuple):
    """A batch in equal parts: what the pass over one of them knows of the others."""

    count: int

    def gathered(self, x: Any) -> Any:
        """[parts, ...]: the x of each part."""
        import jax

        return jax.lax.all_gather(x, AXIS)

    def own(self, whole: Any) -> Any:
        """This part's rows of an array that every device has for the whole batch."""
        import jax

        rows = len(whole) // self.count
        return jax.lax.dynamic_slice_in_dim(whole, jax.lax.axis_index(AXIS) * rows, rows)


Pass = Callable[[Parts | None, Any, Any, Any], tuple[Any, Any]]
"""`(parts, learned, shared, batch) -> (of each example, of the whole batch)`, all pytrees."""


@dataclass(frozen=True)
class Devices:
    """What a run computes on; without a mesh, whatever one device JAX takes."""

    mesh: Mesh | None = None

    @property
    def count(self) -> int:
        """How many there are, on all hosts."""
        return 1 if self.mesh is None else self.mesh.size

    @property
    def several(self) -> bool:
        """Whether batches are divided at all."""
        return self.mesh is not None

    def parts(self, size: int) -> int:
        """Into how many parts a batch of `size` is divided: as many as there are devices, where that goes evenly."""
        return math.gcd(size, self.count)

    def share(self, size: int) -> int:
        """Examples of a batch of `size` on one device."""
        return size // self.parts(size)

    def note(self, size: int, what: str = "batch") -> list[str]:
        """What is said where some devices repeat the work of others; `what` has `size` images."""
        if self.parts(size) == self.count:
            return []
        return [
            f"a {what} of {size:,} divides into {self.parts(size)} equal parts on {self.count} devices, some of which "
            f"repeat the work of others; a multiple of {self.count} would use them all"
        ]

    def told(self) -> str:
        """For people: platform, kind and, of several, how many."""
        import jax

        first = jax.devices()[0] if self.mesh is None else self.mesh.devices.flat[0]
        return f"{f'{self.count} devices, ' if self.several else ''}{first.platform} ({first.device_kind})"

    # Where arrays lie -----------------------------------------------------------------------------------------------

    def batch(self, tree: Any) -> Any:
        """Arrays of a whole batch, each device given its rows; every host has, or makes, all of them."""
        if self.mesh is None:
            return tree
        import jax

        def placed(leaf: Any) -> Any:
            where = self.rows(len(leaf))
            if isinstance(leaf, jax.Array):
                return jax.device_put(leaf, where)
            return jax.make_array_from_callback(leaf.shape, where, lambda index: leaf[index])

        return jax.tree.map(placed, tree)

    def own_rows(self, size: int) -> np.ndarray:
        """The rows of a batch of `size` that the devices of this host have, in their order."""
        import numpy as np

        if self.mesh is None:
            return np.arange(size)
        places = self.rows(size).addressable_devices_indices_map((size,)).values()
        return np.unique(np.concatenate([np.arange(size)[index] for index in places if index]))

    def batch_of_rows(self, tree: Any, size: int) -> Any:
        """As `batch`, of arrays that hold this host's own rows alone (`own_rows`) of a batch of `size`."""
        if self.mesh is None:
            return tree
        import jax
        import numpy as np

        where, own = self.rows(size), self.own_rows(size)

        def placed(leaf: np.ndarray) -> Any:
            def part(index: Any) -> np.ndarray:
                first, last, _ = index[0].indices(size)
                at = int(np.searchsorted(own, first))
                return leaf[at : at + last - first]

            return jax.make_array_from_callback((size, *leaf.shape[1:]), where, part)

        return jax.tree.map(placed, tree)

    def state(self, tree: Any) -> Any:
        """Arrays that every device has whole."""
        if self.mesh is None:
            return tree
        import jax

        return jax.device_put(tree, self.everywhere)

    @property
    def everywhere(self) -> NamedSharding:
        """The sharding of what every device has whole; there must be several."""
        from jax.sharding import NamedSharding, PartitionSpec

        assert self.mesh is not None
        return NamedSharding(self.mesh, PartitionSpec())

    def rows(self, size: int) -> NamedSharding:
        """The sharding of a batch of `size`; there must be several devices."""
        from jax.sharding import NamedSharding, PartitionSpec

        return NamedSharding(self._divided(size), PartitionSpec(AXIS))

    def _divided(self, size: int) -> Mesh:
        """The same devices as a mesh whose first axis divides `size`."""
        from jax.sharding import Mesh

        assert self.mesh is not None
        parts = self.parts(size)
        if parts == self.count:
            return self.mesh
        return Mesh(self.mesh.devices.reshape(parts, self.count // parts), (AXIS, COPIES))

    # Programs -------------------------------------------------------------------------------------------------------

    def spread(self, run: Pass) -> Callable[[Any, Any, Any], tuple[Any, Any]]:
        """`(learned, shared, batch) -> (of each example, of the whole batch)`: `run` by each device on its own rows.

        `learned` are floats of one type, whose gradients are summed over the devices in one reduction; `shared` have
        none. What `run` gives of the whole batch must be the same on every device.
        """
        if self.mesh is None:
            return lambda *arguments: run(None, *arguments)
        import jax
        from jax.flatten_util import ravel_pytree
        from jax.sharding import PartitionSpec

        def whole(learned: Any, shared: Any, batch: Any) -> tuple[Any, Any]:
            size = len(jax.tree.leaves(batch)[0])
            vector, unravel = ravel_pytree(learned)  # one vector has one reduction
            rows, all_of_it = PartitionSpec(AXIS), PartitionSpec()

            def own(vector: Any, shared: Any, batch: Any) -> tuple[Any, Any]:
                return run(Parts(self.parts(size)), unravel(vector), shared, batch)

            return jax.shard_map(
                own, mesh=self._divided(size), in_specs=(all_of_it, all_of_it, rows), out_specs=(rows, all_of_it),
                check_vma=False,
            )(vector, shared, batch)  # fmt: skip

        return whole

    def program(self, function: Callable, donate: int | Sequence[int] = ()) -> Callable:
        """`function`, compiled when first called; every device has its results whole."""
        import jax

        given: dict[str, Any] = {} if self.mesh is None else {"out_shardings": self.everywhere}
        return jax.jit(function, donate_argnums=donate, **given)

    def shapes(self, tree: Any) -> Any:
        """Arrays as what a program is compiled for: those that lie nowhere yet are wanted on every device."""
        if self.mesh is None:
            return tree
        import jax
        import numpy as np

        def shape(leaf: Any) -> Any:
            known = getattr(leaf, "sharding", None)
            where = known if isinstance(known, jax.sharding.NamedSharding) else self.everywhere
            return jax.ShapeDtypeStruct(np.shape(leaf), jax.numpy.result_type(leaf), sharding=where)

        return jax.tree.map(shape, tree)


ONE = Devices()


def of(devices: Sequence[Any]) -> Devices:
    """Of JAX's devices, which need not be here (those of a topology that is compiled for)."""
    if len(devices) == 1:
        return ONE
    import numpy as np
    from jax.sharding import Mesh

    return Devices(Mesh(np.array(devices), (AXIS,)))


def chosen(count: int | None = None) -> Devices:
    """The first `count` devices; if not given all, but of one process on a CPU only one.

    Raises `InputError` where there are fewer, or where there are several processes and not all are asked for.
    """
    import jax

    found = jax.devices()
    on_cpu = found[0].platform == "cpu"
    if count is None:
        count = 1 if on_cpu and jax.process_count() == 1 else len(found)
    if not 1 <= count <= len(found):
        more = f"; {SIMULATED}={count} simulates as many on a CPU" if on_cpu and count > 1 else ""
        raise InputError("--devices", f"JAX sees {len(found)} here", found=count, accepted=f"1 to {len(found)}{more}")
    if jax.process_count() > 1 and count < len(found):
        accepted = f"all {len(found)}, or a run of one process"
        raise InputError("--devices", f"{jax.process_count()} processes share this run", found=count, accepted=accepted)
    return of(found[:count])
