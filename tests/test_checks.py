"""With DNAS_CHECKED=1 `conftest.py` has annotations checked, and types of numbers stay as they are."""

import os
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import TypeCheckError

from dnas.maths import conv
from dnas.nn.gates import Gates, Layout
from dnas.space.quantity import Choice

pytestmark = pytest.mark.skipif(os.environ.get("DNAS_CHECKED") != "1", reason="needs DNAS_CHECKED=1")


def test_an_array_of_a_wrong_shape_is_refused():
    assert conv.pointwise(jnp.ones((2, 3)), jnp.ones((3, 4))).shape == (2, 4)
    for x, w in (((2, 3), (4, 4)), ((2, 3), (3, 4, 1))):
        with pytest.raises(TypeCheckError):
            conv.pointwise(jnp.ones(x), jnp.ones(w))
    with pytest.raises(TypeCheckError):
        conv.pointwise(jnp.ones((2, 3), jnp.int32), jnp.ones((3, 4)))


def test_a_field_of_a_wrong_shape_is_refused():
    layout = Layout((Choice("width", (1, 2)),))
    assert Gates(jnp.ones((1, 2)), layout)["width"].shape == (2,)
    with pytest.raises(TypeCheckError):
        Gates(jnp.ones(2), layout)


def test_types_of_numbers_do_not_change_by_themselves():
    assert (jnp.ones(2) * 2).dtype == np.float32
    with pytest.raises(ValueError, match="promotion"):
        jnp.ones(2) * jnp.ones(2, jnp.int32)


def test_commands_run_as_users_run_them():
    asked = "from dnas.maths.conv import conv; print(hasattr(conv, '__wrapped__'))"
    assert hasattr(conv.conv, "__wrapped__")
    assert subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True).stdout == "False\n"
