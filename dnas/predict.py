"""`python -m dnas.predict`: the command is `dnas.cli.predict`."""

from dnas.__main__ import run_module

if __name__ == "__main__":
    run_module("predict")
