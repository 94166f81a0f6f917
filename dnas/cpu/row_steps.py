"""Loops behind `dnas.cpu.row_descent`, for numba: gradient descent on some blocks of a vector, each as long as it is.

Rows are those of `dnas.nn.rows`: a gradient [layers, paths, longest], and for each layer and option a start and a size
[layers, options + 1] in the vector. Threads share every row.
"""

from __future__ import annotations

import numba

from dnas.cpu.ffi import ARGUMENTS, RESULTS, buffer, floats, njit, read, read_half

BYTES = 4
"""Of a float, and of an int32."""


@njit
def _row(frame, index, row):
    """Of a row by its number: address of its gradient, start and size. `index` is that of the gradient's argument;
    starts, sizes and chosen options [layers, paths] follow it."""
    gradient, shape = buffer(frame, ARGUMENTS, index)
    starts, table = buffer(frame, ARGUMENTS, index + 1)
    sizes, chosen = buffer(frame, ARGUMENTS, index + 2)[0], buffer(frame, ARGUMENTS, index + 3)[0]
    layer = row // read(shape + 8)
    at = (layer * read(table + 8) + read_half(chosen + row * BYTES)) * BYTES
    return gradient + row * read(shape + 16) * BYTES, read_half(starts + at), read_half(sizes + at)


@njit
def _rows(frame, index):
    """How many there are."""
    shape = buffer(frame, ARGUMENTS, index)[1]
    return read(shape) * read(shape + 8)


def squares(frame, chunk):
    """A part's sum of squares of gradient + decay * parameter.

    Arguments: vector; gradient, starts, sizes, chosen; decay []. Results: parts [K], and their sum [].
    """
    vector, decay = buffer(frame, ARGUMENTS, 0)[0], floats(buffer(frame, ARGUMENTS, 5)[0])[0]
    parts, shape = buffer(frame, RESULTS, 0)
    count, total = read(shape), numba.float32(0)
    for row in range(_rows(frame, 1)):
        gradient, start, size = _row(frame, 1, row)
        own, value = floats(gradient), floats(vector + start * BYTES)
        for i in range(chunk * size // count, (chunk + 1) * size // count):
            slope = own[i] + decay * value[i]
            total += slope * slope
    floats(parts)[chunk] = total
    return 0


def all_squares(frame):
    """The sum of all parts."""
    at, shape = buffer(frame, RESULTS, 0)
    parts, total = floats(at), numba.float32(0)
    for k in range(read(shape)):
        total += parts[k]
    floats(buffer(frame, RESULTS, 1)[0])[0] = total
    return 0


def descend(frame, chunk):
    """A part of each row: momentum = b * momentum + f * (gradient + d * parameter), parameter -= r * momentum.

    Arguments: vector, momentum; gradient, starts, sizes, chosen; b, f, d, r [4].
    Results: parts [K], of which there is nothing to know; vector and momentum, which are the arguments' own memory.
    """
    parts, shape = buffer(frame, RESULTS, 0)
    count, coefficients = read(shape), floats(buffer(frame, ARGUMENTS, 6)[0])
    beta, factor, decay, rate = coefficients[0], coefficients[1], coefficients[2], coefficients[3]
    vector, momentum = buffer(frame, RESULTS, 1)[0], buffer(frame, RESULTS, 2)[0]
    for row in range(_rows(frame, 2)):
        gradient, start, size = _row(frame, 2, row)
        own, value, moving = floats(gradient), floats(vector + start * BYTES), floats(momentum + start * BYTES)
        for i in range(chunk * size // count, (chunk + 1) * size // count):
            moved = beta * moving[i] + factor * (own[i] + decay * value[i])
            moving[i] = moved
            value[i] -= rate * moved
    floats(parts)[chunk] = 0
    return 0


KERNELS = {"row_squares": (squares, all_squares), "row_descent": (descend, None)}
