"""`python -m dnas.search`: the command is `dnas.cli.search`."""

from dnas.__main__ import run_module

if __name__ == "__main__":
    run_module("search")
