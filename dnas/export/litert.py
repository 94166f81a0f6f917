"""LiteRT (`.tflite`) from StableHLO, without tensorflow, where `litert_converter` is installed.

The converter's interface is not documented for this use, so it is touched in this file only. Its wheel pins versions
that conflict with chex; it does not need them: `pip install --no-deps litert-converter ai-edge-litert`.
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from dnas.export.parity import forward
from dnas.export.stablehlo import image_spec
from dnas.nn.supernet import Variables
from dnas.process.extras import need
from dnas.space.space import Space

INSTALL = "pip install --no-deps litert-converter ai-edge-litert (what their wheels pin conflicts with chex, unneeded)"
INPUT, OUTPUT = "images", "logits"


def converted(space: Space, variables: Variables, batch: int = 1, full: int | None = None) -> bytes:
    """The network in evaluation mode as a LiteRT model: images [batch, H, W, C] float32 -> logits.

    `full` is as in `parity.forward`.
    """
    return convert(forward(space, variables, full), image_spec(space, batch, full))


def convert(function: Any, *specs: jax.ShapeDtypeStruct) -> bytes:
    """A LiteRT model of any jax function of arrays.

    It is lowered as for a TPU, where depthwise convolutions stay convolutions, which LiteRT recognises.
    """
    api: Any = need("litert_converter.converter_api_ext", "litert", INSTALL)
    mlir: Any = need("litert_converter.mlir.ir", "litert", INSTALL)
    passes: Any = need("litert_converter.mlir.passmanager", "litert", INSTALL)
    text = jax.jit(function).trace(*specs).lower(lowering_platforms=("tpu",)).as_text()
    context = mlir.Context()
    api.prepare_mlir_context(context)
    with context:
        module = mlir.Module.parse(text)
        main = next(op for op in module.body.operations if "main" in str(op.attributes["sym_name"]))
        api.set_signature(main, "serving_default", [INPUT], [OUTPUT])
        config = api.ConvertToTFLConfig()
        config.model_origin_framework = "JAX"
        api.run_convert_to_tfl_passes(module, passes.PassManager(), config)
        return bytes(api.export_flatbuffer_to_bytes(module.operation))


def interpreter(data: bytes, threads: int = 1) -> Any:
    """A LiteRT interpreter on the CPU, ready to be given images."""
    runtime: Any = need("ai_edge_litert.interpreter", "litert", INSTALL)
    made = runtime.Interpreter(model_content=data, num_threads=threads)
    made.allocate_tensors()
    return made


def run(data: bytes, images: np.ndarray) -> np.ndarray:
    """Logits, image by image where the model's batch is 1."""
    made = interpreter(data)
    source, result = made.get_input_details()[0], made.get_output_details()[0]
    batch = source["shape"][0]
    outputs = []
    for start in range(0, len(images), batch):
        made.set_tensor(source["index"], np.asarray(images[start : start + batch]))
        made.invoke()
        outputs.append(made.get_tensor(result["index"]).copy())
    return np.concatenate(outputs)
