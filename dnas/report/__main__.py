"""`python -m dnas.report`: the command is `dnas.cli.report`."""

from dnas.__main__ import run_module

if __name__ == "__main__":
    run_module("report")
