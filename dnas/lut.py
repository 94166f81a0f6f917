"""`python -m dnas.lut`: the command is `dnas.cli.lut`."""

from dnas.__main__ import run_module

if __name__ == "__main__":
    run_module("lut")
