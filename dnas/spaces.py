"""`python -m dnas.spaces`: the command is `dnas.cli.spaces`."""

from dnas.__main__ import run_module

if __name__ == "__main__":
    run_module("spaces")
