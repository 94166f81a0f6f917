"""Loops behind `dnas.cpu.norm_loop` and `dnas.cpu.activation_loop`, for numba: sums over maps, each read once or twice.

A map is [N, ..., C]: rows of C channels, as many for each image as there are pixels. Threads share the batch. A loop
over a row's channels is what the compiler makes vectors of; `reassoc` lets it do so where a row becomes one number.
"""

from __future__ import annotations

import math

import numba

from dnas.cpu.ffi import ARGUMENTS, RESULTS, buffer, floats, njit, rank, read

BYTES = 4
"""Of a float."""
BLOCK = 1024
"""Numbers that stay in the nearest cache while every activation visits them."""


@njit
def _map(frame, index):
    """Of an argument [N, ..., C]: address, N, pixels of an image, C."""
    at, shape = buffer(frame, ARGUMENTS, index)
    last = rank(frame, ARGUMENTS, index) - 1
    pixels = 1
    for axis in range(1, last):
        pixels *= read(shape + 8 * axis)
    return at, read(shape), pixels, read(shape + 8 * last)


@njit
def _vector(frame, side, index):
    """An argument or result, as an array without a length."""
    return floats(buffer(frame, side, index)[0])


@njit
def _part(frame, chunk, images):
    """First and last image of a part of the batch, and where its two sums for each channel stand."""
    parts, shape = buffer(frame, RESULTS, 0)
    count, channels = read(shape), read(shape + 16)
    at = parts + chunk * 2 * channels * BYTES
    first, second = floats(at), floats(at + channels * BYTES)
    for c in range(channels):
        first[c] = 0
        second[c] = 0
    return chunk * images // count, (chunk + 1) * images // count, first, second


# Moments ------------------------------------------------------------------------------------------------------------


def moments(frame, chunk):
    """A part's weighted mean, and its weighted sum of squared deviations from it.

    Arguments: x [N, ..., C]; weights of the pixels [P], which add up to 1; then those of `all_moments`.
    Results: parts [K, 2, C], then those of `all_moments`.
    """
    x, images, pixels, channels = _map(frame, 0)
    weights = _vector(frame, ARGUMENTS, 1)
    first, last, mean, squares = _part(frame, chunk, images)
    row, count = channels * BYTES, numba.float32(last - first)
    for r in range(first * pixels, last * pixels):
        value, weight = floats(x + r * row), weights[r % pixels] / count
        for i in range(channels):
            mean[i] += weight * value[i]
    for r in range(first * pixels, last * pixels):
        value, weight = floats(x + r * row), weights[r % pixels]
        for i in range(channels):
            apart = value[i] - mean[i]
            squares[i] += weight * apart * apart
    return 0


def all_moments(frame):
    """Moments of the whole batch out of those of its parts, and the norm as a factor and a summand for each channel.

    Arguments: scale [C], shift [C], epsilon []. Results: mean, variance, factor, offset, each [C].
    """
    images = _map(frame, 0)[1]
    scales, shifts = _vector(frame, ARGUMENTS, 2), _vector(frame, ARGUMENTS, 3)
    epsilon = _vector(frame, ARGUMENTS, 4)[0]
    at, shape = buffer(frame, RESULTS, 0)
    count, channels, parts = read(shape), read(shape + 16), floats(at)
    means, variances = _vector(frame, RESULTS, 1), _vector(frame, RESULTS, 2)
    factors, offsets = _vector(frame, RESULTS, 3), _vector(frame, RESULTS, 4)
    for i in range(channels):
        mean, variance = numba.float32(0), numba.float32(0)
        for k in range(count):
            held = numba.float32((k + 1) * images // count - k * images // count)
            mean += held * parts[2 * k * channels + i]
        mean /= numba.float32(images)
        for k in range(count):
            held = numba.float32((k + 1) * images // count - k * images // count)
            apart = parts[2 * k * channels + i] - mean
            variance += parts[(2 * k + 1) * channels + i] + held * apart * apart
        variance /= numba.float32(images)
        factor = scales[i] / numba.float32(math.sqrt(variance + epsilon))
        means[i], variances[i], factors[i], offsets[i] = mean, variance, factor, shifts[i] - mean * factor
    return 0


# The gradient of a norm ---------------------------------------------------------------------------------------------


def norm_sums(frame, chunk):
    """A part's sums of the cotangent, and of it times the deviation from the mean.

    Arguments: cotangent, x [N, ..., C]; mean [C]; then those of `norm_slopes`. Results: parts [K, 2, C], and those.
    """
    ct, images, pixels, channels = _map(frame, 0)
    x, mean = buffer(frame, ARGUMENTS, 1)[0], _vector(frame, ARGUMENTS, 2)
    first, last, plain, moved = _part(frame, chunk, images)
    for r in range(first * pixels, last * pixels):
        own, value = floats(ct + r * channels * BYTES), floats(x + r * channels * BYTES)
        for i in range(channels):
            plain[i] += own[i]
            moved[i] += own[i] * (value[i] - mean[i])
    return 0


def norm_slopes(frame):
    """Gradients of scale and shift, and of what x is multiplied by and moved by on its ways through the norm.

    Arguments: variance, scale [C], epsilon []. Results: d_scale, d_shift [C]; slopes [3, C] of the cotangent, of 1, and
    of x less its mean, the latter two for a pixel of weight 1.
    """
    images = numba.float32(_map(frame, 0)[1])
    variances, scales = _vector(frame, ARGUMENTS, 3), _vector(frame, ARGUMENTS, 4)
    epsilon = _vector(frame, ARGUMENTS, 5)[0]
    at, shape = buffer(frame, RESULTS, 0)
    count, channels, parts = read(shape), read(shape + 16), floats(at)
    d_scales, d_shifts, slopes = (_vector(frame, RESULTS, 1), _vector(frame, RESULTS, 2), _vector(frame, RESULTS, 3))
    for i in range(channels):
        plain, moved = numba.float32(0), numba.float32(0)
        for k in range(count):
            plain += parts[2 * k * channels + i]
            moved += parts[(2 * k + 1) * channels + i]
        inverse = numba.float32(1) / numba.float32(math.sqrt(variances[i] + epsilon))
        factor = scales[i] * inverse
        d_scales[i], d_shifts[i] = moved * inverse, plain
        slopes[i] = factor
        slopes[channels + i] = -factor * plain / images
        slopes[2 * channels + i] = -factor * inverse * inverse * moved / images
    return 0


def norm_gradient(frame, chunk):
    """The gradient of one image, and its part of that of the pixels' weights.

    Arguments: cotangent, x [N, ..., C]; mean [C]; slopes [3, C]; weights [P].
    Results: of x; parts [N, P], and their sum [P], or with P = 0 none.
    """
    ct, _, pixels, channels = _map(frame, 0)
    x, mean, slopes = buffer(frame, ARGUMENTS, 1)[0], _vector(frame, ARGUMENTS, 2), _vector(frame, ARGUMENTS, 3)
    weights = _vector(frame, ARGUMENTS, 4)
    out = buffer(frame, RESULTS, 0)[0]
    parts, parts_shape = buffer(frame, RESULTS, 1)
    wanted, of_weights = read(parts_shape + 8), floats(parts + chunk * pixels * BYTES)
    for p in range(pixels):
        begin, weight = (chunk * pixels + p) * channels * BYTES, weights[p]
        own, value, result = floats(ct + begin), floats(x + begin), floats(out + begin)
        for i in range(channels):
            apart = value[i] - mean[i]
            result[i] = slopes[i] * own[i] + weight * (slopes[channels + i] + apart * slopes[2 * channels + i])
        if wanted > 0:
            total = numba.float32(0)
            for i in range(channels):
                apart = value[i] - mean[i]
                total += value[i] * slopes[channels + i] + numba.float32(0.5) * apart * apart * slopes[2 * channels + i]
            of_weights[p] = total
    return 0


def add_parts(frame):
    """The sum of result 1, [N, K], over N, as result 2."""
    at, shape = buffer(frame, RESULTS, 1)
    count, numbers, parts = read(shape), read(shape + 8), floats(at)
    total = _vector(frame, RESULTS, 2)
    for i in range(numbers):
        added = numba.float32(0)
        for k in range(count):
            added += parts[k * numbers + i]
        total[i] = added
    return 0


# Maps whose pixels are scaled ---------------------------------------------------------------------------------------


def scale_gradient(frame, chunk):
    """The gradient of scale * total for one image, and its part of cotangent times result, summed over channels.

    Arguments: cotangent, result [N, ..., C]; scale [P]. Results: of the total; parts [N, P], and their sum [P].
    """
    ct, _, pixels, channels = _map(frame, 0)
    y, scale = buffer(frame, ARGUMENTS, 1)[0], _vector(frame, ARGUMENTS, 2)
    out, parts = buffer(frame, RESULTS, 0)[0], _vector(frame, RESULTS, 1)
    for p in range(pixels):
        begin, factor, total = (chunk * pixels + p) * channels * BYTES, scale[p], numba.float32(0)
        own, value, result = floats(ct + begin), floats(y + begin), floats(out + begin)
        for i in range(channels):
            result[i] = factor * own[i]
            total += own[i] * value[i]
        parts[chunk * pixels + p] = total
    return 0


# Mixtures of activations --------------------------------------------------------------------------------------------


def mixture_gradient(frame, chunk):
    """The gradient of sum_k g_k act_k(x) for one image, and its part of that of the gates.

    act(x) = (a + b x) clamp(x + c, 0, d) for each row a, b, c, d of the table.
    Arguments: cotangent, x [N, ...]; table [K, 4]; gates [K]. Results: of x; parts [N, K], and their sum [K].
    """
    ct, images, pixels, channels = _map(frame, 0)
    x, table, gates = buffer(frame, ARGUMENTS, 1)[0], _vector(frame, ARGUMENTS, 2), _vector(frame, ARGUMENTS, 3)
    options = read(buffer(frame, ARGUMENTS, 3)[1])
    out, parts = buffer(frame, RESULTS, 0)[0], _vector(frame, RESULTS, 1)
    size, zero = pixels * channels, numba.float32(0)
    for k in range(options):
        parts[chunk * options + k] = zero
    for start in range(0, size, BLOCK):
        count, begin = min(BLOCK, size - start), (chunk * size + start) * BYTES
        own, value, result = floats(ct + begin), floats(x + begin), floats(out + begin)
        for k in range(options):
            a, b, c, d = table[4 * k], table[4 * k + 1], table[4 * k + 2], table[4 * k + 3]
            gate, kept, total = gates[k], numba.float32(k > 0), zero
            for i in range(count):
                line, moved = a + b * value[i], value[i] + c
                clamped = min(max(moved, zero), d)
                slope = b * clamped + (line if (moved > zero) & (moved < d) else zero)
                result[i] = (result[i] if kept > zero else zero) + gate * own[i] * slope
                total += own[i] * line * clamped
            parts[chunk * options + k] += total
    return 0


KERNELS = {
    "moments": (moments, all_moments),
    "norm_sums": (norm_sums, norm_slopes),
    "norm_gradient": (norm_gradient, add_parts),
    "scale_gradient": (scale_gradient, add_parts),
    "mixture_gradient": (mixture_gradient, add_parts),
}
