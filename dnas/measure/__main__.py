"""`python -m dnas.measure`: the command is `dnas.cli.measure`."""

from dnas.__main__ import run_module

if __name__ == "__main__":
    run_module("measure")
