"""StableHLO through `jax.export`: one file for cpu, cuda and tpu, with a symbolic batch, weights inside.

    from jax import export
    network = export.deserialize(bytearray(open("net.stablehlo", "rb").read()))
    logits = network.call(images)

Images are float32 [N, H, W, C], preprocessed as the JSON beside says.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import export

from dnas.export.parity import forward
from dnas.nn.supernet import Variables
from dnas.process.extras import need
from dnas.space.space import Space

PLATFORMS = ("cpu", "cuda", "tpu")


def serialized(space: Space, variables: Variables, full: int | None = None) -> bytes:
    """The network in evaluation mode as bytes that `jax.export.deserialize` reads; `full` as in `parity.forward`."""
    need("flatbuffers", "stablehlo")
    (batch,) = export.symbolic_shape("n")
    network = jax.jit(forward(space, variables, full))
    exported = export.export(network, platforms=PLATFORMS)(image_spec(space, batch, full))
    return bytes(exported.serialize())


def run(data: bytes, images: Any) -> Any:
    """Logits from the file's bytes, on this machine's CPU."""
    with jax.default_device(jax.local_devices(backend="cpu")[0]):
        return export.deserialize(bytearray(data)).call(jnp.asarray(images))


def image_spec(space: Space, batch: Any, full: int | None = None) -> jax.ShapeDtypeStruct:
    """Shape of the images, float32 [batch, S, S, C]; S is `full` where that is given, else the network's own side."""
    side = full or space.resolution.value
    return jax.ShapeDtypeStruct((batch, side, side, space.channels), jnp.float32)
