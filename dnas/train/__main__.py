"""`python -m dnas.train`: the command is `dnas.cli.train`."""

from dnas.__main__ import run_module

if __name__ == "__main__":
    run_module("train")
