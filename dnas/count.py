"""`python -m dnas.count`: the command is `dnas.cli.count`."""

from dnas.__main__ import run_module

if __name__ == "__main__":
    run_module("count")
