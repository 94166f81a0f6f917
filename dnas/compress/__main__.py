"""`python -m dnas.compress`: the command is `dnas.cli.compress`."""

from dnas.__main__ import run_module

if __name__ == "__main__":
    run_module("compress")
