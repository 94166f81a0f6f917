"""What XLA calls on CPU through its foreign function interface, for numba: the handler of calls, and what kernels are
written in.

A kernel is a function of words, `kernel(frame, chunk)`, that returns 0. It runs once for each chunk, on the threads
that run the rest of the program; how many chunks there are is the first dimension of the call's first result, and so
does not depend on the number of threads. Where something is left to do after all of them, that is `finish(frame)`. The
layout of what XLA passes is that of `xla/ffi/api/c_api.h`, which it keeps stable.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import numba
from llvmlite import ir
from numba import extending, types

njit: Any = numba.njit
cfunc: Any = numba.cfunc
FAST = {"fastmath": {"contract", "reassoc", "nsz"}}
"""Lets the compiler make vectors of what becomes one number, the same ones in each run."""

API_MAJOR, API_MINOR = 0, 3
"""The version of the interface that is written down here."""
# Offsets in bytes: in a call's frame, in the table of the interface's functions, in a buffer, in a handler's metadata.
EXTENSION, API, CONTEXT, ARGUMENTS, RESULTS = 8, 16, 24, 72, 112
SCHEDULE, THREADS = 136, 144
DATA, RANK, DIMENSIONS = 24, 32, 40
METADATA, VERSION, MAJOR, MINOR, TRAITS = 24, 8, 24, 28, 32
# What the threads of a call share: its frame, the kernel, chunks, the next one, those done, and how many threads may
# still look.
FRAME, KERNEL, CHUNKS, NEXT, DONE, HOLDERS, REQUEST, SIZE = 0, 8, 16, 24, 32, 40, 48, 104

word, half = ir.IntType(64), ir.IntType(32)
i64, i32 = types.int64, types.int32
allocate = types.ExternalFunction("malloc", i64(i64))
release = types.ExternalFunction("free", types.void(i64))
give_way = types.ExternalFunction("SwitchToThread" if sys.platform == "win32" else "sched_yield", i32())


def intrinsic(typed: Callable) -> Callable[..., Any]:
    """An operation that says itself which code it is."""
    return extending.intrinsic(typed)


@intrinsic
def read(typing, address):
    """The word at an address."""

    def emit(context, builder, signature, values):
        return builder.load(builder.inttoptr(values[0], word.as_pointer()))

    return i64(i64), emit


@intrinsic
def read_half(typing, address):
    """The signed number of 32 bits at an address."""

    def emit(context, builder, signature, values):
        return builder.sext(builder.load(builder.inttoptr(values[0], half.as_pointer())), word)

    return i64(i64), emit


@intrinsic
def write(typing, address, value):
    """Stores a word."""

    def emit(context, builder, signature, values):
        builder.store(values[1], builder.inttoptr(values[0], word.as_pointer()))
        return context.get_dummy_value()

    return types.void(i64, i64), emit


@intrinsic
def write_half(typing, address, value):
    """Stores 32 bits."""

    def emit(context, builder, signature, values):
        builder.store(builder.trunc(values[1], half), builder.inttoptr(values[0], half.as_pointer()))
        return context.get_dummy_value()

    return types.void(i64, i64), emit


@intrinsic
def add_at(typing, address, value):
    """Adds to a word that threads share; what was there before."""

    def emit(context, builder, signature, values):
        return builder.atomic_rmw("add", builder.inttoptr(values[0], word.as_pointer()), values[1], "seq_cst")

    return i64(i64, i64), emit


def _calling(count):
    """function(*arguments), for the address of a function of so many words."""

    def emit(context, builder, signature, values):
        kind = ir.FunctionType(word, [word] * count)
        return builder.call(builder.inttoptr(values[0], kind.as_pointer()), values[1:])

    return i64(*[i64] * (count + 1)), emit


@intrinsic
def call(typing, function, argument):
    """function(argument), for the address of a function of words."""
    return _calling(1)


@intrinsic
def call_with_two(typing, function, first, second):
    """function(first, second)."""
    return _calling(2)


@intrinsic
def floats(typing, address):
    """What is at an address as an array of float32 of unknown length."""

    def emit(context, builder, signature, values):
        return builder.inttoptr(values[0], ir.FloatType().as_pointer())

    return types.CPointer(types.float32)(i64), emit


@intrinsic
def buffer(typing, frame, side, index):
    """Addresses of a buffer's data and of its dimensions; `side` is ARGUMENTS or RESULTS."""

    def emit(context, builder, signature, values):
        found = _found(builder, *values)
        parts = [_word_at(builder, found, offset) for offset in (DATA, DIMENSIONS)]
        return context.make_tuple(builder, signature.return_type, parts)

    return types.UniTuple(i64, 2)(i64, i64, i64), emit


@intrinsic
def rank(typing, frame, side, index):
    """Number of a buffer's dimensions."""

    def emit(context, builder, signature, values):
        return _word_at(builder, _found(builder, *values), RANK)

    return i64(i64, i64, i64), emit


def _found(builder: Any, frame: Any, side: Any, index: Any) -> Any:
    """Address of a buffer's description."""
    of_side = builder.load(builder.inttoptr(builder.add(frame, side), word.as_pointer()))
    at = builder.add(of_side, builder.mul(index, word(8)))
    return builder.load(builder.inttoptr(at, word.as_pointer()))


def _word_at(builder: Any, address: Any, offset: int) -> Any:
    return builder.load(builder.inttoptr(builder.add(address, word(offset)), word.as_pointer()))


@njit(inline="always")
def _describe(extension):
    """Tells XLA, when it asks, for which version of the interface this is."""
    metadata = read(extension + METADATA)
    write(metadata + VERSION, 24)
    write(metadata + VERSION + 8, 0)
    write_half(metadata + MAJOR, API_MAJOR)
    write_half(metadata + MINOR, API_MINOR)
    write_half(metadata + TRAITS, 0)


@njit(inline="always")
def _threads(api, context, request):
    """Threads that run the program; 1 where XLA does not say."""
    write(request, 32)
    write(request + 8, 0)
    write(request + 16, context)
    write(request + 24, request + 32)
    return read(request + 32) if call(read(api + THREADS), request) == 0 else 1


@njit(inline="always")
def _schedule(api, context, request, task, job):
    """Whether a thread will run task(job)."""
    write(request, 40)
    write(request + 8, 0)
    write(request + 16, context)
    write(request + 24, task)
    write(request + 32, job)
    return call(read(api + SCHEDULE), request) == 0


@njit(inline="always")
def _leave(job):
    """The last to leave frees what was shared: a thread may only come when the call is long over."""
    if add_at(job + HOLDERS, -1) == 1:
        release(job)


def work(job):
    """All chunks that no other thread takes."""
    chunk = add_at(job + NEXT, 1)
    while chunk < read(job + CHUNKS):
        call_with_two(read(job + KERNEL), read(job + FRAME), chunk)
        add_at(job + DONE, 1)
        chunk = add_at(job + NEXT, 1)
    _leave(job)
    return 0


def handle(frame, worker, kernel, finish):
    """Handles a call of any kernel; the last three are addresses, of `work` and of the kernel's two functions."""
    if read(frame + EXTENSION) != 0:
        _describe(read(frame + EXTENSION))
        return 0
    chunks = read(buffer(frame, RESULTS, 0)[1])
    api, context, job = read(frame + API), read(frame + CONTEXT), allocate(SIZE)
    write(job + FRAME, frame)
    write(job + KERNEL, kernel)
    write(job + CHUNKS, chunks)
    write(job + NEXT, 0)
    write(job + DONE, 0)
    write(job + HOLDERS, 2)  # as a worker, and until all is done
    for _ in range(min(_threads(api, context, job + REQUEST), chunks) - 1):
        add_at(job + HOLDERS, 1)
        if not _schedule(api, context, job + REQUEST, worker, job):
            add_at(job + HOLDERS, -1)
    call(worker, job)
    while add_at(job + DONE, 0) < chunks:
        give_way()  # a helper has one chunk at most
    _leave(job)
    if finish != 0:
        call(finish, frame)
    return 0


class Text(NamedTuple):
    """A function of words as LLVM has it: the text of a module, optimised, and the function's name in it."""

    module: str
    name: str


@functools.cache
def compiled(function: Callable, fast: bool = False) -> Text:
    """What numba makes of a function of words; `fast` for those that go through maps."""
    # By numpy's rules a division by zero raises nothing, so that no check of it is in the way.
    options = FAST if fast else {}
    found = cfunc(i64(*[i64] * function.__code__.co_argcount), error_model="numpy", **options)(function)
    return Text(found.inspect_llvm(), found.native_name)
