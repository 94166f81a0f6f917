"""`python -m dnas.compare`: the command is `dnas.cli.compare`."""

from dnas.__main__ import run_module

if __name__ == "__main__":
    run_module("compare")
