"""The console script, its table of commands, and help in groups."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from importlib import import_module

import pytest

import dnas
from dnas import __main__ as console
from dnas.cli import entry, help
from dnas.cli.argument_class import commands, options
from dnas.cli.commands import COMMANDS, EXAMPLE
from dnas.process.wing import Start


def called(monkeypatch, capsys, *argv: str) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["dnas", *argv])
    monkeypatch.setattr(console, "start", Start)
    with pytest.raises(SystemExit) as end:
        console.main()
    said = capsys.readouterr()
    return int(end.value.code or 0), said.out, said.err


@pytest.mark.parametrize("argv", [(), ("--help",), ("-h",), ("help",)])
def test_what_there_is(monkeypatch, capsys, argv):
    code, out, _ = called(monkeypatch, capsys, *argv)
    assert code == 0 and EXAMPLE in out
    assert all(any(line.startswith(f"  {name} ") for line in out.splitlines()) for name in COMMANDS)


def test_the_version(monkeypatch, capsys):
    assert called(monkeypatch, capsys, "--version") == (0, f"dnas {dnas.__version__}\n", "")


@pytest.mark.parametrize(("name", "near"), [("serch", "search"), ("exprot", "export"), ("--versoin", "--version")])
def test_what_is_unknown_is_told_with_the_nearest(monkeypatch, capsys, name, near):
    code, _, err = called(monkeypatch, capsys, name)
    assert code == 2 and f"did you mean '{near}'?" in err and err.count("\n") == 1


def test_mistakes_name_the_command_as_it_was_called(monkeypatch, capsys):
    code, _, err = called(monkeypatch, capsys, "evaluate")
    assert (code, err) == (2, "error: missing: ARCH; see dnas evaluate --help\n")
    code, out, _ = called(monkeypatch, capsys, "lut", "merge", "--help")
    assert code == 0 and out.startswith("usage: dnas lut merge TABLES ... [options]")


@pytest.mark.parametrize(
    ("name", "value", "option"),
    [("search tiny", "inf", "--epochs"), ("search tiny", "nan", "--checkpoint-every"), ("train a", "nan", "--lr"),
     ("compress a --method vtp", "-inf", "--penalty"), ("measure tiny", "inf", "--minutes")],
)  # fmt: skip
def test_a_number_that_is_not_finite_is_one_line(monkeypatch, capsys, name, value, option):
    code, _, err = called(monkeypatch, capsys, *name.split(), f"{option}={value}")
    assert (code, err) == (2, f"error: {option}: not accepted here (found {value}; accepted: a finite number)\n")


@pytest.mark.parametrize(
    ("name", "line", "place", "field", "values"),
    [
        ("compare", "runs/x --against a b --seeds 2", "runs/x", "against", ("a", "b")),
        ("compare", "--against a --against b c runs/x", "runs/x", "against", ("a", "b", "c")),
        ("compare", "runs/x --against a --random 1 --against=b c", "runs/x", "against", ("a", "b", "c")),
        ("compare", "--against a runs/x", "runs/x", "against", ("a",)),
        ("compress", "r --method vtp --budget 7MFLOPs --budget 5kparams", "r", "budget", ("7MFLOPs", "5kparams")),
        ("compress", "--method ptq --budget 7MB r", "r", "budget", ("7MB",)),
        ("search", "tiny --budget 7MFLOPs 5kparams", "tiny", "budget", ("7MFLOPs", "5kparams")),
        ("search", "--budget 7MFLOPs tiny", "tiny", "budget", ("7MFLOPs",)),
    ],
)
def test_an_option_of_several_values(name, line, place, field, values):
    arguments = import_module(COMMANDS[name].module).Arguments
    found = entry.parse(arguments, line.split())
    assert getattr(found, "run", None) == place or found.space == place
    assert getattr(found, field) == values


def test_a_fault_is_a_traceback_and_code_1(monkeypatch, capsys):
    monkeypatch.setattr("dnas.cli.spaces.main", lambda args: {}["nothing"])
    code, _, err = called(monkeypatch, capsys, "spaces")
    assert code == 1 and err.startswith("Traceback") and "KeyError: 'nothing'" in err


def test_both_forms_are_one_command():
    say = [[sys.executable, "-m", *form, "fbnetv2_f1", "--json"] for form in (["dnas", "count"], ["dnas.count"])]
    first, second = (subprocess.run(c, capture_output=True, text=True, check=True).stdout for c in say)
    assert first == second and '"macs"' in first


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_every_option_and_nothing_of_the_inside(name):
    arguments = import_module(COMMANDS[name].module).Arguments
    for part in (arguments, *commands(arguments).values()):
        if commands(part):
            continue
        text = help.shown(part, f"dnas {name}", ())
        assert all(f"  {option}" in text or f", {option}" in text for option in options(part))
        assert "None" not in text and "Literal" not in text and "{None}" not in text
        for group in getattr(part, "groups", {}):
            assert group in [f.name for f in dataclasses.fields(part)], "a group begins at a field"


def test_the_common_options_come_first():
    from dnas.cli.search import Arguments

    text = help.shown(Arguments, "dnas search", ())
    places = [text.index(f"\n{title}:\n") for title in Arguments.groups.values()]
    assert places == sorted(places) and len(places) > 4
    assert text.index("--budget") < text.index("--data") < text.index("--loss-form")


@pytest.mark.parametrize(
    ("name", "option", "default"),
    [("measure", "--threads", "1"), ("train", "--seed", "0"), ("search", "--preset", "quick")],
)
def test_help_tells_defaults_also_where_they_are_0_or_1(name, option, default):
    text = help.shown(import_module(COMMANDS[name].module).Arguments, f"dnas {name}", ())
    about = text.partition(f"\n  {option} ")[2].partition("\n  --")[0]
    assert f"(default: {default})" in about


def test_help_tells_no_default_of_a_flag():
    text = help.shown(import_module(COMMANDS["search"].module).Arguments, "dnas search", ())
    assert "(default: False)" not in text and "(default: True)" not in text


def test_importing_dnas_imports_nothing_else():
    code = "import sys, dnas; print(dnas.__version__, [m for m in ('jax', 'numpy', 'tyro') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"{dnas.__version__} []\n"
