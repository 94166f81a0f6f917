"""All actions of one step of slimming: one program for every candidate against one compiled program for each.

    python experiments/frontier.py                          # efficientformerv2: two minutes of CPU time
    python experiments/frontier.py efficientformerv2_tiny --measured 0

Both ways estimate the norms on one batch of 100 images and classify another. `--measured N` compiles and runs only N
candidates of the second way, and runs only N of the first (0: all); the rest is extrapolated, which is fair because
every candidate costs the same in the first way and nearly the same in the second. CPU time of all threads, compilation
included; no compilation cache. Expected: one compile, and at least 3 times less CPU time.

Seen on one core with other work beside it (efficientformerv2; 76 actions, 2 measured): one program 40.8 s to compile
and 2.77 s a candidate, 252 s in all; one for each 27.8 s and 3.19 s a candidate, 2353 s in all: 9.3 times less.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace

from dnas.process.backend import configure

configure(cache=None)

import jax  # noqa: E402

from dnas.cost.budget import parse_budget  # noqa: E402
from dnas.data.load import load  # noqa: E402
from dnas.grammar.catalogue import load_space  # noqa: E402
from dnas.graph.architecture import architecture  # noqa: E402
from dnas.nn.gates import Layout  # noqa: E402
from dnas.nn.packing import Packing  # noqa: E402
from dnas.nn.supernet import init  # noqa: E402
from dnas.search.actions import Actions, extreme  # noqa: E402
from dnas.search.candidates import compare, compile_comparison, lanes_of  # noqa: E402
from dnas.search.compiling import Compiler  # noqa: E402
from dnas.search.learn import packing_of  # noqa: E402
from dnas.search.problem import Problem, make_problem  # noqa: E402
from dnas.search.settings import Settings  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("space", nargs="?", default="efficientformerv2")
    parser.add_argument("--budget", default="0.01Mparams", help="any budget below the largest network")
    parser.add_argument("--measured", type=int, default=2, help="candidates that are run; 0 for all")
    parser.add_argument("--lanes", type=int, default=None, help="candidates side by side; by device if not given")
    args = parser.parse_args()

    space, data = load_space(args.space, None), load(None)
    budget = parse_budget(args.budget)
    smallest = make_problem(space, [replace(budget, limit=1e14)], data, Settings(), 0).measured[0].smallest
    settings = Settings(rank_norm_batches=1, rank_images=100)
    problem = make_problem(space, [replace(budget, limit=2 * smallest)], data, settings, 0)
    frontier = [r.assignment for r in Actions(problem).frontier(extreme(problem, "max"))]
    count = len(frontier)
    sample = frontier[:: max(1, count // args.measured)][: args.measured] if args.measured else frontier
    print(f"{args.space}: {count} actions in the frontier of the largest network, {len(sample)} measured")

    together = one_program(problem, sample, args.lanes or lanes_of(problem, "slimming"))
    each = [own_program(problem, assignment) for assignment in sample]
    apart = [sum(part) / len(each) for part in zip(*each, strict=True)]
    first, second = together[0] + count * together[1], count * (apart[0] + apart[1])
    print(
        f"one program    compile {together[0]:8.1f} s CPU, {together[1]:7.2f} s a candidate, 1 compile: {first:9.1f} s"
    )
    print(
        f"one for each   compile {apart[0]:8.1f} s CPU, {apart[1]:7.2f} s a candidate, "
        f"{count} compiles: {second:9.1f} s"
    )
    print(f"{second / first:.1f} times less CPU time")


def one_program(problem: Problem, sample: list, lanes: int) -> tuple[float, float]:
    """CPU seconds to compile the program for all candidates, and for each of them."""
    variables = packing_of(problem).pack(init(problem.proxy, jax.random.key(0)))
    compiler = Compiler()
    compile_s, program = timed(lambda: ready(compiler, compile_comparison(problem, compiler, variables, lanes)))
    told("one program", program.compiled)
    run_s, _ = timed(lambda: compare(program, problem, variables, sample))
    return compile_s, run_s / len(sample)


def own_program(problem: Problem, assignment: dict[str, int]) -> tuple[float, float]:
    """CPU seconds to compile one candidate's own network, and to run it."""
    network = architecture(problem.proxy, assignment).network
    own = replace(problem, proxy=network, layout=Layout(()))
    variables = Packing(network).pack(init(network, jax.random.key(0)))
    compiler = Compiler()
    compile_s, program = timed(lambda: ready(compiler, compile_comparison(own, compiler, variables, 1)))
    told("own program", program.compiled)
    run_s, _ = timed(lambda: compare(program, own, variables, [{}]))
    return compile_s, run_s


def ready(compiler: Compiler, program):
    while not compiler.done(0.5):
        pass
    return program


def timed(work: Callable) -> tuple[float, object]:
    began = time.process_time()
    result = work()
    return time.process_time() - began, result


def told(name: str, compiled: jax.stages.Compiled) -> None:
    """The compiler's own figures; of the loop over candidates it counts one turn."""
    counted, memory = compiled.cost_analysis(), compiled.memory_analysis()
    print(f"  {name}: {counted['flops'] / 1e9:.2f} GFLOP a batch, {memory.temp_size_in_bytes / 1e6:.0f} MB temporary")


if __name__ == "__main__":
    main()
