"""`python -m dnas.plan`: the command is `dnas.cli.plan`."""

from dnas.__main__ import run_module

if __name__ == "__main__":
    run_module("plan")
