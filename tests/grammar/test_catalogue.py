"""Names to files."""

import pytest

from dnas.errors import InputError
from dnas.grammar.catalogue import find_space, find_table, folder, load_space, published_names, space_names


def test_every_listed_name_reads():
    assert {"fbnetv2", "tiny"} <= set(space_names()) and "fbnet_c" in published_names()
    assert not set(space_names()) & set(published_names()), "one name, two files"
    assert all(not load_space(n).is_architecture for n in space_names())
    assert all(load_space(n).is_architecture for n in published_names())


@pytest.mark.parametrize("spelling", ["fbnetv2_f4", "FBNetV2_F4", "fbnetv2-f4", "FBNETV2-F4"])
def test_spelling_of_names(spelling):
    assert find_space(spelling) == folder("search_spaces") / "published" / "fbnetv2_f4.yaml"


def test_path_to_the_users_file(tmp_path, monkeypatch):
    (tmp_path / "mine.yaml").write_text("input: {}\ntrunk: [{conv: {out: 8}}]\n")
    assert load_space(tmp_path / "mine.yaml").name == "mine"
    monkeypatch.chdir(tmp_path)
    assert load_space("mine.yaml").name == "mine"
    assert load_space("./mine.yaml", classes=7).classes == 7


def test_shipped_name_wins_over_a_folder_of_that_name(tmp_path, monkeypatch):
    (tmp_path / "tiny").mkdir()
    monkeypatch.chdir(tmp_path)
    assert find_space("tiny").parent == folder("search_spaces")


@pytest.mark.parametrize(
    "name, parts",
    [
        ("fbnetv2_f44", ("did you mean 'fbnetv2_f4'", "python -m dnas.spaces")),
        ("zzz", ("zzz: unknown space", "python -m dnas.spaces")),
        ("no/such.yaml", ("no/such.yaml: no such file",)),
        ("gone.json", ("gone.json: no such file",)),
        ("", ("unknown space",)),
        ("schema", ("unknown space",)),
        ("a" * 300, ("unknown space",)),
        ("no/" + "a" * 300, ("no such file",)),
        ("..", ("..: no architecture.json in this folder", "a result folder")),
    ],
)
def test_unknown_names(name, parts):
    with pytest.raises(InputError) as error:
        find_space(name)
    assert all(part in str(error.value) for part in parts)


def test_unknown_table():
    with pytest.raises(InputError, match="unknown latency table"):
        find_table("nothing_like_it")
