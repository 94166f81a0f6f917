"""The loop behind `dnas.cpu.depthwise_loop`, for numba: products of two arrays' pixels, summed in a third's.

Which pixels meet is the product of a list for rows and a list for columns. Sums stay in registers, a strip of channels
at a time; vectors of 16 numbers are what the compiler is given, and it makes of them what the processor has.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from dnas.cpu.ffi import (
    ARGUMENTS,
    RESULTS,
    buffer,
    floats,
    half,
    i64,
    intrinsic,
    rank,
    read,
    read_half,
    word,
)

STRIPS = ((16, 4), (16, 1), (8, 1), (4, 1), (1, 1))
"""(numbers in a vector, vectors side by side): the widest that fits the channels that are left."""
STRIP = 64
"""Channels for which all pixels are visited before the next: what is visited again is then still in the cache."""
ROWS = 2
"""Rows of pixels to sum over before the next tap of a kernel."""
BYTES, HALF, PAIR = 4, 4, 8
"""Of a float, an int32, and two of these: a pair of offsets."""


@intrinsic
def add_products(typing, out, a, b, rows, n_rows, cols, n_cols, width):
    """out[c] += sum over pairs (i, j) in rows, (k, l) in cols of a[i + k + c] * b[j + l + c], for c < width.

    `out`, `a`, `b` and the lists are addresses. An entry of a list is two pairs: `rows` points to the first of its
    entry, `cols` to the second.
    """

    def emit(context, builder, signature, values):
        out, a, b, rows, n_rows, cols, n_cols, width = values
        done = cgutils.alloca_once_value(builder, word(0))
        for lanes, count in STRIPS:
            turns = builder.sdiv(builder.sub(width, builder.load(done)), word(lanes * count))
            with cgutils.for_range(builder, turns):
                start = builder.mul(builder.load(done), word(BYTES))
                strip = _Strip(builder, lanes, builder.add(out, start), count)
                bases = [builder.add(base, start) for base in (a, b)]
                with cgutils.for_range(builder, n_rows) as row:
                    strip.add(cols, n_cols, strip.moved(bases, rows, row.index))
                strip.store()
                builder.store(builder.add(builder.load(done), word(lanes * count)), done)
        return context.get_dummy_value()

    return types.void(*[i64] * 8), emit


class _Strip:
    """Code for the sums of a few vectors of channels side by side.

    A single vector has two sums, for every other entry of a list: one would wait for itself.
    """

    def __init__(self, builder: Any, lanes: int, out: ir.Value, count: int):
        self.builder, self.out = builder, out
        self.kind = ir.VectorType(ir.FloatType(), lanes) if lanes > 1 else ir.FloatType()
        self.offsets = [word(BYTES * lanes * n) for n in range(count)]
        ways = 1 if count > 1 else 2
        self.sums = [[cgutils.alloca_once(builder, self.kind) for _ in range(count)] for _ in range(ways)]
        for first, *others, offset in zip(*self.sums, self.offsets, strict=True):
            builder.store(self._load(out, offset), first)
            for other in others:
                builder.store(ir.Constant(self.kind, None), other)

    def _at(self, base: ir.Value, offset: ir.Value) -> ir.Value:
        return self.builder.inttoptr(self.builder.add(base, offset), self.kind.as_pointer())

    def _load(self, base: ir.Value, offset: ir.Value) -> ir.Value:
        return self.builder.load(self._at(base, offset), align=BYTES)

    def moved(self, bases: Sequence[ir.Value], pairs: ir.Value, index: Any) -> list[ir.Value]:
        """The two bases, each moved by what an entry of the list says."""
        entry, found = self.builder.add(pairs, self.builder.mul(index, word(2 * PAIR))), []
        for base, offset in zip(bases, (0, HALF), strict=True):
            at = self.builder.inttoptr(self.builder.add(entry, word(offset)), half.as_pointer())
            found.append(self.builder.add(base, self.builder.sext(self.builder.load(at), word)))
        return found

    def add(self, cols: ir.Value, n_cols: ir.Value, bases: Sequence[ir.Value]) -> None:
        """Products of all columns."""
        builder, ways = self.builder, len(self.sums)
        rounds = builder.sdiv(n_cols, word(ways))
        with cgutils.for_range(builder, rounds) as loop:
            first = builder.mul(loop.index, word(ways))
            for way, sums in enumerate(self.sums):
                self._add(sums, self.moved(bases, cols, builder.add(first, word(way))))
        if ways > 1:
            begun = builder.mul(rounds, word(ways))
            with cgutils.for_range(builder, builder.sub(n_cols, begun)) as loop:
                self._add(self.sums[0], self.moved(bases, cols, builder.add(begun, loop.index)))

    def _add(self, sums: list[ir.Value], bases: list[ir.Value]) -> None:
        for total, offset in zip(sums, self.offsets, strict=True):
            product = self.builder.fmul(*(self._load(base, offset) for base in bases), flags=("contract",))
            self.builder.store(self.builder.fadd(product, self.builder.load(total), flags=("contract",)), total)

    def store(self) -> None:
        for *parts, offset in zip(*self.sums, self.offsets, strict=True):
            total = functools.reduce(self.builder.fadd, [self.builder.load(part) for part in parts])
            self.builder.store(total, self._at(self.out, offset), align=BYTES)


def products(frame, chunk):
    """One chunk of a call: an image or, where the result has parts [parts, R, ...], a part of the batch.

    Arguments: a [N, A, A, C]; b [N, B, B, C] if the result has parts, else [P, B, B, C]; which of the options the P
    are, int32 [P]; then the three arrays of `dnas.cpu.depthwise_loop.Lists`; at last what the pixels of the result are
    multiplied by, or nothing [0].
    """
    a, a_shape = buffer(frame, ARGUMENTS, 0)
    b, b_shape = buffer(frame, ARGUMENTS, 1)
    chosen, chosen_shape = buffer(frame, ARGUMENTS, 2)
    targets, targets_shape = buffer(frame, ARGUMENTS, 3)
    counts, _ = buffer(frame, ARGUMENTS, 4)
    pairs, pairs_shape = buffer(frame, ARGUMENTS, 5)
    out, out_shape = buffer(frame, RESULTS, 0)
    in_parts = rank(frame, RESULTS, 0) == 5
    images, channels = read(a_shape), read(a_shape + 24)
    paths, lines, most = read(chosen_shape), read(targets_shape + 8), read(pairs_shape + 16)

    pixel = channels * BYTES
    a_map, b_map = read(a_shape + 8) ** 2 * pixel, read(b_shape + 8) ** 2 * pixel
    if in_parts:
        parts, out_map = read(out_shape), read(out_shape + 16) ** 2 * pixel
        first, last, together = chunk * images // parts, (chunk + 1) * images // parts, ROWS
        size = paths * out_map
    else:
        out_map = read(out_shape + 8) ** 2 * pixel
        first, last, together, size = chunk, chunk + 1, most, out_map
    out += chunk * size
    sums = floats(out)
    for at in range(size // BYTES):
        sums[at] = 0

    for path in range(paths):
        option = read_half(chosen + path * HALF)
        own_targets, own_counts = targets + option * lines * PAIR, counts + option * lines * HALF
        own_pairs, list_size = pairs + option * lines * most * 2 * PAIR, most * 2 * PAIR
        for image in range(first, last):
            for skip in range(0, pixel, STRIP * BYTES):
                width = min(STRIP, channels - skip // BYTES)
                own_a = a + image * a_map + skip
                own_b = b + (image if in_parts else path) * b_map + skip
                own_out = out + (path * out_map if in_parts else 0) + skip
                for begun in range(0, most, together):
                    for i in range(lines):
                        n_rows = min(read_half(own_counts + i * HALF) - begun, together)
                        if n_rows <= 0:
                            continue
                        rows = own_pairs + i * list_size + begun * 2 * PAIR
                        line = own_out + read_half(own_targets + i * PAIR)
                        for j in range(lines):
                            add_products(
                                line + read_half(own_targets + j * PAIR + HALF), own_a, own_b, rows, n_rows,
                                own_pairs + j * list_size + PAIR, read_half(own_counts + j * HALF), width,
                            )  # fmt: skip
    scales, scales_shape = buffer(frame, ARGUMENTS, 6)
    factors = floats(scales)
    for p in range(read(scales_shape)):
        line = floats(out + p * pixel)
        for c in range(channels):
            line[c] *= factors[p]
    return 0


KERNELS = {"pixel_products": (products, None)}
