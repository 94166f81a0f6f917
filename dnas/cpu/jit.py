"""Machine code of LLVM's text, in this process, by llvmlite."""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir

WORD = ir.IntType(64)
NUMBAS = ("numba_", "NRT_")
"""Begin the names of functions with which numba would raise an exception, which loops do not."""


@ctypes.CFUNCTYPE(None)
def _raised() -> None:
    """Stands for them: an exception has nowhere to go."""
    sys.stderr.write("error: a loop of dnas has raised an exception\n")
    os._exit(1)


class Jit:
    """Functions of words by address; they last as long as this does."""

    def __init__(self) -> None:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        self._engines: list[Any] = []

    def address(self, module: str, name: str) -> int:
        """The address of a function of a module, by its name there.

        Raises:
            RuntimeError: LLVM does not take the text.
        """
        parsed = llvm.parse_assembly(module)
        parsed.verify()
        for function in parsed.functions:
            numbas = function.is_declaration and function.name.startswith(NUMBAS)
            if numbas and llvm.address_of_symbol(function.name) is None:
                llvm.add_symbol(function.name, _address(_raised))
        target = llvm.Target.from_default_triple().create_target_machine(
            cpu=processor()[0], features=processor()[1], opt=3, codemodel="jitdefault", jit=True
        )
        engine = llvm.create_mcjit_compiler(parsed, target)
        engine.finalize_object()
        self._engines.append(engine)
        return engine.get_function_address(name)

    def applied(self, name: str, function: int, *more: int) -> int:
        """The address of x -> function(x, *more)."""
        module = ir.Module()
        outer = ir.Function(module, ir.FunctionType(WORD, [WORD]), name)
        builder = ir.IRBuilder(outer.append_basic_block())
        kind = ir.FunctionType(WORD, [WORD] * (1 + len(more))).as_pointer()
        builder.ret(builder.call(builder.inttoptr(WORD(function), kind), [*outer.args, *map(WORD, more)]))
        return self.address(str(module), name)


def processor() -> tuple[str, str]:
    """This machine's, and its features."""
    return llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()


def _address(function: Any) -> int:
    found = ctypes.cast(function, ctypes.c_void_p).value
    assert found is not None
    return found
