"""`python -m dnas.weights`: the command is `dnas.cli.weights`."""

from dnas.__main__ import run_module

if __name__ == "__main__":
    run_module("weights")
