"""`python -m dnas.export`: the command is `dnas.cli.export`."""

from dnas.__main__ import run_module

if __name__ == "__main__":
    run_module("export")
