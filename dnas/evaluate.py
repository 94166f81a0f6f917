"""`python -m dnas.evaluate`: the command is `dnas.cli.evaluate`."""

from dnas.__main__ import run_module

if __name__ == "__main__":
    run_module("evaluate")
