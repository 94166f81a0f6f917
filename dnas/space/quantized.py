"""How the numbers of one operator are quantised, as the section `quantization` of an architecture's file says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

LEAST_BITS, MOST_BITS = 2, 16
RESULT_BITS = 8
"""Of a result that goes from one integer kernel to the next."""
FIRST, SECOND, RESULT = "first_scale", "second_scale", "result_scale"
"""Names of the steps among an operator's statistics: of the two factors of its product, and of its result."""


@dataclass(frozen=True)
class Quantized:
    """Bits of the two factors of a product, and of an operator's result; None for float32.

    The steps themselves are statistics of the operator (`dnas.graph.parts.Node.scales`).
    """

    bits: int | None = None
    per_channel: bool = False
    """Whether each output channel of the weights has a step of its own."""
    result: int | None = None

    def to_json(self) -> dict[str, Any]:
        """As `dnas.grammar.read` takes it."""
        found: dict[str, Any] = {} if self.bits is None else {"bits": self.bits}
        if self.per_channel:
            found["weights"] = "per-channel"
        return found if self.result is None else found | {"result": self.result}
