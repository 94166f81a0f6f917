"""The grammar: what files mean, and what a mistake in one says."""
# ruff: noqa: E501 (a table of mistakes reads best with one on a line)

import itertools
import re

import pytest

from dnas.cli import schema
from dnas.errors import InputError, UserError
from dnas.files import to_json
from dnas.grammar.catalogue import folder
from dnas.grammar.read import at_input, read_space, space_from_data
from dnas.graph import graph_of
from dnas.graph.architecture import architecture
from dnas.space.expr import round8

DESIGN = """\
name: tiny
input: {channels: 3, classes: 10, resolution: {choices: [64, 96, 128]}}
choices:
  w2: {range: [16, 28, 4]}                     # one width for a whole stage
trunk:
  - conv: {kernel: 3, stride: 2, out: 16, act: hswish}
  - mbconv: {repeat: {range: [1, 3, 1]}, stride: 2, out: $w2, expand: {range: [0.75, 4.5, 0.75]},
             kernel: {choices: [3, 5]}, se: {choices: [false, true]}, act: {choices: [relu, hswish]}}
  - one_of: [{mbconv: {kernel: 3, expand: 6, out: 32}}, {mbconv: {kernel: 5, expand: 3, out: 32}}, {skip: {out: 32}}]
head:
  - conv: {kernel: 1, out: 128, act: hswish}
  - pool: {}
  - linear: {out: $classes}
"""

TEN_LINES = """\
input: {classes: 2, resolution: 32}
trunk:
  - conv: {kernel: 3, stride: 2, out: 8, act: relu}
  - mbconv: {repeat: 2, stride: 2, out: {choices: [8, 16]}, kernel: {choices: [3, 5]}}
  - one_of:
      - mbconv: {out: 24, expand: 4}
      - skip: {out: 24}
head:
  - pool: {}
  - linear: {out: $classes}
"""


@pytest.fixture
def read(tmp_path):
    """Reads text as a file and walks it, as any command does."""

    def reader(text: str, name: str = "mine.yaml"):
        path = tmp_path / name
        path.write_text(text)
        space = read_space(path)
        graph_of(space)
        return space

    return reader


def field_values(space, path: str, field: str):
    """Values of a field of a block, over all options."""
    return {u.path: u for u in graph_of(space).uses}[path].fields[field].values()


# What files mean -----------------------------------------------------------------------------------------------------


def test_the_file_of_the_design_page(read):
    space = read(DESIGN)
    assert [c.name for c in space.choices] == [
        "resolution", "w2", "trunk.1.repeat",
        *(f"trunk.1.{n}.{f}" for n in range(3) for f in ("expand", "kernel", "se", "act")), "trunk.2.one_of",
    ]  # fmt: skip
    assert space.choice("trunk.2.one_of").options == ("mbconv_0", "mbconv_1", "skip")
    assert space.choice("w2").options == (16, 20, 24, 28) and space.classes == 10


def test_ten_lines_of_a_user(read):
    space = read(TEN_LINES)
    assert space.name == "mine"
    assert [c.name for c in space.choices] == [
        "trunk.1.0.out", "trunk.1.0.kernel", "trunk.1.1.out", "trunk.1.1.kernel", "trunk.2.one_of",
    ]  # fmt: skip


def test_repeat_gives_each_repetition_its_own_choices_and_the_first_its_stride(read):
    fields = "repeat: 3, stride: 2, padding: 0, out: 8, residual: false, first: {kernel: 5}"
    space = read(f"input: {{}}\ntrunk:\n  - mbconv: {{{fields}}}\n")
    assert [u.fields["stride"].value for u in graph_of(space).uses] == [2, 1, 1]
    assert [u.fields["kernel"].value for u in graph_of(space).uses] == [5, 3, 3]
    assert [u.fields["padding"].value for u in graph_of(space).uses] == [0, 0, 0]


@pytest.mark.parametrize(
    "fields, strides, paddings, side",
    [
        ("each: {stride: [1, 2, 2]}", [1, 2, 2], [0, 0, 0], 8),
        ("stride: 2, each: {stride: [1, 2, 2]}", [1, 2, 2], [0, 0, 0], 8),
        ("each: {stride: [1, 2, 2]}, first: {stride: 4}", [4, 2, 2], [0, 0, 0], 2),
        ("kernel: 3, padding: 0", [1, 1, 1], [0, 0, 0], 26),
        ("kernel: 3, first: {padding: 0}", [1, 1, 1], [0, 1, 1], 30),
        ("kernel: 3, each: {padding: [0, 1, 2]}", [1, 1, 1], [0, 1, 2], 32),
        ("kernel: 3, stride: 2", [2, 1, 1], [1, 1, 1], 16),
    ],
)
def test_strides_and_paddings_of_repetitions(read, fields, strides, paddings, side):
    walked = graph_of(read(HEAD + f"trunk:\n  - conv: {{out: 8, repeat: 3, {fields}}}\n"))
    assert [use.fields["stride"].value for use in walked.uses] == strides
    assert [use.fields["padding"].value for use in walked.uses] == paddings
    assert walked.output["rows"].size.value == side


def test_a_template_reads_padding_in_every_repetition(read):
    text = "templates: {t: {conv: {out: 8, kernel: 3, stride: $stride, padding: $padding}}}\n"
    walked = graph_of(read(HEAD + text + "trunk:\n  - t: {repeat: 2, stride: 2, padding: 0}\n"))
    assert [use.fields["padding"].value for use in walked.uses] == [0, 0] and walked.output["rows"].size.value == 13
    walked = graph_of(read(HEAD + text + "trunk:\n  - t: {repeat: 2, padding: 1, each: {stride: [1, 2]}}\n"))
    assert [use.fields["stride"].value for use in walked.uses] == [1, 2]


def test_depth_choice_keeps_the_first_blocks(read):
    space = read("input: {resolution: 8}\ntrunk:\n  - conv: {repeat: {range: [1, 3, 1]}, out: 8}\n")
    blocks = [len(architecture(space, {"trunk.0.repeat": i}).data["trunk"]) for i in range(3)]
    assert blocks == [1, 2, 3]


def test_template_arguments_are_shared_and_its_own_choices_are_not(read):
    space = read(
        "input: {}\n"
        "templates: {t: {one_of: [{mbconv: {out: $out, kernel: {choices: [3, 5]}}}, {skip: {out: $out}}]}}\n"
        "trunk:\n  - t: {out: {choices: [8, 16]}, repeat: 2}\n"
    )
    assert [c.name for c in space.choices] == [
        f"trunk.0.{n}.{f}" for n in range(2) for f in ("out", "one_of", "mbconv.kernel")
    ]


@pytest.mark.parametrize(
    "formula, value",
    [
        ("2 + 3 * 4", 14), ("(2 + 3) * 4", 20), ("20 - 4 - 2", 14), ("17 // 4 * 2", 8), ("17 % 5", 2),
        ("min(8, 3) + max(1, 2)", 5), ("round8(20)", 24), ("round8(0.75 * 12)", 16), ("ceil(2.1) + floor(2.9)", 5),
        ("int(7.9)", 7), ("64 / 4", 16), ("$classes // 100", 10), ("in * 4", 12), ("-3 + 8", 5),
        ("8 * (not False) + 0", 8), ("(3 < 4) * 5 + (3 == 4) * 7", 5), ("(1 < 2 < 2) * 9 + 1", 1),
    ],
)  # fmt: skip
def test_formulas(read, formula, value):
    space = read(f"input: {{}}\ntrunk:\n  - conv: {{out: '{formula}'}}\n")
    assert field_values(space, "trunk.0", "out") == [value]


def test_formula_over_choices_and_fields_of_the_block(read):
    space = read(
        "input: {resolution: 8}\nchoices: {heads: {choices: [1, 2]}, double: 2 * $heads}\n"
        "trunk:\n  - conv: {out: 8 * $double}\n"
        "  - mbconv: {out: in + 8, hidden: out * expand, expand: {choices: [2, 3]}}\n"
    )
    assert field_values(space, "trunk.0", "out") == [16, 32]
    assert sorted(field_values(space, "trunk.1", "hidden")) == [48, 72, 80, 120]


def test_round8():
    assert [round8(x) for x in (1, 11, 12, 16.5, 9, 20, 92.75)] == [8, 16, 16, 16, 16, 24, 96]
    assert all(round8(x / 4) % 8 == 0 and round8(x / 4) >= 0.95 * x / 4 for x in range(1, 2000))


def test_one_option_is_no_choice(read):
    assert read("input: {resolution: {choices: [8]}}\ntrunk:\n  - conv: {out: {range: [8, 8, 1]}}\n").is_architecture


def test_float_ranges_have_exact_ends(read):
    space = read("input: {}\ntrunk:\n  - mbconv: {out: 8, expand: {range: [0.1, 0.7, 0.1]}}\n")
    assert space.choices[0].options == (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)


def test_kernels_need_the_same_map(read):
    with pytest.raises(UserError, match="maps of different sides"):
        read("input: {}\ntrunk:\n  - conv: {out: 8, kernel: {choices: [3, 5]}, padding: 1}\n")


def test_kernels_of_several_resolutions_need_one_window(read):
    """Each map has one kernel here, but all share a convolution: 8 pixels of one and 14 of another are none of it."""
    with pytest.raises(UserError, match="maps of different sides"):
        read(
            "input: {resolution: {choices: [8, 16]}}\n"
            "trunk:\n  - conv: {out: 8, kernel: '1 + 2 * ($resolution // 16)', padding: 0}\n"
        )


def test_options_may_differ_by_the_resolution(read):
    """The width of a skip follows from it, and with the width whether there is a convolution."""
    space = read(
        "input: {resolution: {choices: [8, 16]}}\ntrunk:\n  - conv: {out: '$resolution // 2'}\n  - skip: {out: 8}\n"
    )
    assert graph_of(space).output.side.values() == [8, 16]


def test_without_expansion_convolution_the_hidden_width_is_the_input(read):
    space = read("input: {}\ntrunk:\n  - conv: {out: 12}\n  - mbconv: {out: 12, expand_conv: false}\n")
    assert field_values(space, "trunk.1", "hidden") == [12]


def test_at_input_keeps_the_choices(read):
    space = read(DESIGN)
    other = at_input(space, channels=1, classes=7, side=64)
    assert [c.name for c in other.choices] == [c.name for c in space.choices]
    assert (other.channels, other.classes, other.resolution.values()) == (1, 7, [32, 48, 64])


def test_every_export_reads_back_as_itself(read):
    space = read(TEN_LINES)
    for indices in itertools.product(*(range(len(c)) for c in space.choices)):
        found = architecture(space, dict(zip((c.name for c in space.choices), indices, strict=True)))
        again = architecture(read(to_json(found.data), "a.json"), {})
        assert again.data == found.data and found.network.is_architecture


def test_numbers_that_look_like_those_of_other_bases(read):
    space = read("about: '016'\ninput: {}\ntrunk:\n  - mbconv: {out: 0x10, hidden: 1_0, expand: 0.5}\n")
    assert space.about == "016"
    assert [field_values(space, "trunk.0", name) for name in ("out", "hidden", "expand")] == [[16], [10], [0.5]]


# What a mistake says -------------------------------------------------------------------------------------------------
HEAD = "input: {resolution: 32}\n"
MISTAKES = {
    # Fields and values: file, line, place, value, what is accepted.
    "unknown field": (HEAD + "trunk:\n  - mbconv: {out: 8, kernl: 3}", [":3: trunk.0.mbconv.kernl", "did you mean 'kernel'", "accepted: out,"]),
    "wrong value": (HEAD + "trunk:\n  - mbconv: {out: 8, kernel: 4}", [":3: trunk.0.mbconv.kernel", "found 4", "odd integer"]),
    "wrong type": (HEAD + "trunk:\n  - mbconv: {out: 8, se: 1}", [":3: trunk.0.mbconv.se", "true or false"]),
    "wrong name": (HEAD + "trunk:\n  - conv: {out: 8, act: relux}", ["found 'relux'", "one of none, relu"]),
    "wrong option": (HEAD + "trunk:\n  - conv: {out: {choices: [8, 0]}}", [":3: trunk.0.conv.out", "found 0"]),
    "nan": (HEAD + "trunk:\n  - mbconv: {out: 8, expand: .nan}", ["expand", "a number above 0"]),
    "missing field": (HEAD + "trunk:\n  - conv: {kernel: 3}", [":3: trunk.0.conv: 'out' is missing"]),
    "unsearchable": (HEAD + "trunk:\n  - conv: {out: 8, stride: {choices: [1, 2]}}", ["stride: cannot be searched"]),
    "unsearchable named": (HEAD + "choices: {s: {choices: [1, 2]}}\ntrunk:\n  - conv: {out: 8, stride: $s}", ["cannot be searched"]),
    "unknown kind": (HEAD + "trunk:\n  - mbcnov: {out: 8}", [":3: trunk.0", "did you mean 'mbconv'"]),
    "two kinds": (HEAD + "trunk:\n  - {conv: {out: 8}, skip: {out: 8}}", ["exactly one kind"]),
    "not a block": (HEAD + "trunk:\n  - conv", ["not a block", "{kind: {fields}}"]),
    "not fields": (HEAD + "trunk:\n  - conv: 8", ["not fields"]),
    "unknown key": (HEAD + "trunks: []\ntrunk: []", [":2: trunks", "did you mean 'trunk'"]),
    "missing key": ("input: {}", ["'trunk' is missing"]),
    "not a mapping": ("[]", ["not a mapping"]),
    "empty file": ("", ["'input' is missing"]),
    "name of a number": ("name: 5\ninput: {}\ntrunk: []", [":1: name: not text"]),
    "resolution": ("input: {resolution: 5000}\ntrunk: []", [":1: input.resolution", "1 to 4096"]),
    "resolution of a block": ("input: {resolution: in + 3}\ntrunk: []", [":1: input.resolution", "follows from no block"]),
    "channels": ("input: {channels: {choices: [1, 3]}}\ntrunk: []", ["input.channels: cannot be searched"]),
    # Choices and ranges.
    "bad step": (HEAD + "trunk:\n  - conv: {out: {range: [8, 20, 5]}}", ["does not lead from low to high"]),
    "reversed range": (HEAD + "trunk:\n  - conv: {out: {range: [20, 8, 4]}}", ["not a range"]),
    "zero step": (HEAD + "trunk:\n  - conv: {out: {range: [8, 20, 0]}}", ["step above 0"]),
    "short range": (HEAD + "trunk:\n  - conv: {out: {range: [8, 20]}}", ["not a choice"]),
    "no options": (HEAD + "trunk:\n  - conv: {out: {choices: []}}", ["without options"]),
    "same option": (HEAD + "trunk:\n  - conv: {out: {choices: [8, 8]}}", ["stands twice"]),
    "same option of another type": (HEAD + "trunk:\n  - conv: {out: {choices: [16, 16.0, 24]}}", [":3: trunk.0.conv.out", "stands twice"]),
    "same resolution of another type": ("input: {resolution: {choices: [16, 16.0]}}\ntrunk: []", [":1: input.resolution", "stands twice"]),
    "no choice": (HEAD + "choices: {w: }\ntrunk: []", [":2: choices.w: not a choice: Expected `object`, got `null`"]),
    "list for a choice": (HEAD + "choices: {w: [16, 24]}\ntrunk: []", [":2: choices.w: not a choice: Expected `object`, got `array`", "{choices: [...]}"]),
    "copies of a text": (HEAD + "choices: {a: {choices: [x, y]}}\ntrunk:\n  - conv: {out: $a * 9999999999999}", [":4: trunk.0.conv.out", "'x' is no number"]),
    "format of a text": (HEAD + "choices: {a: {choices: ['%999999999999d', y]}}\ntrunk:\n  - conv: {out: $a % 5}", ["is no number"]),
    "number of a text": (HEAD + "choices: {a: {choices: ['16', '24']}}\ntrunk:\n  - conv: {out: int($a)}", ["'16' is no number"]),
    "copies of a list": (HEAD + "templates: {t: {conv: {out: $n * 9999999999999}}}\ntrunk:\n  - t: {n: [1, 2]}", ["[1, 2] is no number"]),
    "too many options": (HEAD + "trunk:\n  - conv: {out: {range: [1, 5000, 1]}}", ["at most 512"]),
    "endless range": (HEAD + "trunk:\n  - conv: {out: {range: [0, 1, 1.0e-300]}}", ["at most 512"]),
    "both": (HEAD + "trunk:\n  - conv: {out: {choices: [8], range: [8, 16, 8]}}", ["one of the three"]),
    "unknown choice key": (HEAD + "trunk:\n  - conv: {out: {choice: [8, 16]}}", ["not a choice", "{choices: [...]}"]),
    "repeat -1": (HEAD + "trunk:\n  - conv: {out: 8, repeat: -1}", ["repeat", "found -1", "from 0"]),
    "short each": (HEAD + "trunk:\n  - conv: {repeat: 3, each: {out: [8, 8]}}", ["each.out", "a list of 3 values"]),
    "index taken": (HEAD + "choices: {index: 3}\ntrunk:\n  - conv: {out: 8}", ["'index' is taken"]),
    "values": (HEAD + "choices: {a: 3, b: 2}\ntrunk:\n  - conv: {out: 8}\nwhere: [$a <= $b]", ["where", "$a is 3, $b is 2"]),
    "order of nothing": (HEAD + "trunk:\n  - conv: {out: 8}\nwhere: [{order: [a, b], of: trunk.*}]", ["no choice has such a name"]),
    "order of others": (HEAD + "trunk:\n  - conv: {out: {choices: [8, 9]}}\nwhere: [{order: [8, 10], of: trunk.*}]", ["not an option of trunk.0.out", "found 10"]),
    "not an order": (HEAD + "trunk:\n  - conv: {out: {choices: [8, 9]}}\nwhere: [{order: [8], of: trunk.*}]", ["not an order"]),
    "repeat by block": (HEAD + "trunk:\n  - conv: {out: 8, repeat: kernel}", ["cannot follow from the block"]),
    "many blocks": (HEAD + "trunk:\n" + "  - conv: {out: 8, repeat: 200}\n" * 11, ["too many blocks", "2000"]),
    # YAML itself.
    "duplicate key": (HEAD + "trunk:\n  - conv: {out: 8, out: 16}", [":3", "the key 'out' stands twice"]),
    "alias": (HEAD + "trunk:\n  - &a {conv: {out: 8}}\n  - *a", [":3", "anchors and aliases"]),
    "merge": (HEAD + "choices: &c {}\ntrunk: []", ["anchors and aliases"]),
    "octal": (HEAD + "trunk:\n  - conv: {out: 016}", [":3: ", "base 8 or 60", "found '016'", "without a leading 0"]),
    "octal with a sign": (HEAD + "trunk:\n  - conv: {out: +0_16}", [":3: ", "base 8 or 60"]),
    "base 60": (HEAD + "trunk:\n  - conv: {out: 1:30}", [":3: ", "found '1:30'", "without colons"]),
    "fraction of base 60": (HEAD + "trunk:\n  - mbconv: {out: 8, expand: 1:30.5}", [":3: ", "base 8 or 60"]),
    "tag": (HEAD + "trunk: !!python/object/apply:os.getcwd []", [":2", "not plain data"]),
    "syntax": (HEAD + "trunk: [", [":3", "not YAML"]),
    "second document": (HEAD + "trunk: []\n---\na: 1", ["not YAML"]),
    "numeric key": (HEAD + "choices: {1: {choices: [2, 3]}}\ntrunk: []", ["a key that is not text"]),
    "date": (HEAD + "about: 2020-01-01\ntrunk: []", ["not a plain value"]),
    "deep nesting": (HEAD + "about: " + "[" * 100 + "]" * 100, ["nested deeper than 64"]),
    # Templates.
    "template argument": (HEAD + "templates: {t: {conv: {out: $out}}}\ntrunk:\n  - t: {ot: 8}", [":4: trunk.0.t.ot", "did you mean 'out'", "accepted: out"]),
    "template stride": (HEAD + "templates: {t: {conv: {out: $out}}}\ntrunk:\n  - t: {out: 8, stride: 2}", ["unknown argument 'stride'"]),
    "missing argument": (HEAD + "templates: {t: {conv: {out: $out}}}\ntrunk:\n  - t: {}", [":2: templates.t.conv.out", "unknown name '$out'"]),
    "template repeat": (HEAD + "templates: {t: {conv: {out: 8, repeat: 2}}}\ntrunk:\n  - t: {}", ["without 'repeat'"]),
    "template of a template": (HEAD + "templates: {t: {u: {}}, u: {conv: {out: 8}}}\ntrunk:\n  - t: {}", ["a template is one block"]),
    "template in a ring": (HEAD + "templates: {a: {one_of: [{b: {}}, {skip: {out: 8}}]}, b: {one_of: [{a: {}}, {skip: {out: 8}}]}}\ntrunk:\n  - a: {}", ["inside itself (a -> b -> a)"]),
    "template of a kind": (HEAD + "templates: {conv: {skip: {out: 8}}}\ntrunk: []", ["a block kind already"]),
    # one_of.
    "empty one_of": (HEAD + "trunk:\n  - one_of: []", ["not a list of blocks"]),
    "repeat inside one_of": (HEAD + "trunk:\n  - one_of: [{conv: {out: 8, repeat: 2}}, {skip: {out: 8}}]", ["'repeat' beside one_of"]),
    "one label twice": (HEAD + "trunk:\n  - one_of: [{conv: {out: 8}, label: mbconv_1}, {mbconv: {out: 8}}, {mbconv: {out: 16}}]", ["two options with one label"]),
    "one label given twice": (HEAD + "trunk:\n  - one_of: [{conv: {out: 8}, label: a}, {mbconv: {out: 8}, label: a}]", [":3: trunk.0.one_of: two options with one label"]),
    "one option twice": (HEAD + "trunk:\n  - one_of: [{conv: {out: 8}}, {skip: {out: 8}}, {conv: {out: 8}}]", [":3: trunk.0.one_of.2: an option stands twice"]),
    "choice that $ cannot name": (HEAD + "choices: {../x: {choices: [8, 16]}}\ntrunk: []", ["choices.../x: not a name for a choice"]),
    "control character": (HEAD + 'choices: {"a\\e[31m": {choices: [8, 16]}}\ntrunk: []', ["a control character in a text (found 'U+001B')"]),
    "repeat twice": (HEAD + "trunk:\n  - {conv: {out: 8, repeat: 2}, repeat: 3}", [":3: trunk.0: 'repeat' stands twice", "one of the two"]),
    "side of a vector": (HEAD + "trunk:\n  - pool: {}\n  - linear: {out: side * 2}", [":4", "unknown name 'side' in a formula of trunk.1 (accepted: out, bias, act, in)"]),
    "names of an input": ("input: {resolution: $side}\ntrunk: []\n", [":1: input.resolution: unknown name '$side' (accepted: no names here)"]),
    "where that is no list": (HEAD + "trunk:\n  - conv: {out: 8}\nwhere: false", ["where: not a list", "found False"]),
    "label of a number": (HEAD + "trunk:\n  - one_of: [{conv: {out: 8}, label: 1}, {skip: {out: 8}}]", ["label: not a plain word", "found 1"]),
    "empty label": (HEAD + "trunk:\n  - one_of: [{conv: {out: 8}, label: ''}, {skip: {out: 8}}]", [":3: trunk.0.one_of.0.label: not a plain word", "letters, digits, _ and -"]),
    "label with a dot": (HEAD + "trunk:\n  - one_of: [{one_of: [{conv: {out: 8}, label: c}, {skip: {out: 8}}], label: a.b}, {skip: {out: 8}}]", [":3: trunk.0.one_of.0.label: not a plain word", "a.b"]),
    "template with a dot as a label": (HEAD + "templates: {a.b: {conv: {out: 8}}}\ntrunk:\n  - one_of: [{a.b: {}}, {skip: {out: 8}}]", ["templates.a.b: not a plain word"]),
    "label of one option": (HEAD + "trunk:\n  - one_of: [{conv: {out: 8}, label: a b}]", ["not a plain word"]),
    "other sides": (HEAD + "trunk:\n  - one_of: [{conv: {out: 8, stride: 2}}, {skip: {out: 8}}]", [":3", "different sides"]),
    "map and vector": (HEAD + "trunk:\n  - one_of: [{conv: {out: 8}}, {pool: {}}]", ["differ in kind"]),
    # Formulas.
    "unknown choice": (HEAD + "choices: {width: {choices: [8, 16]}}\ntrunk:\n  - conv: {out: $widht}", ["unknown name '$widht'", "did you mean '$width'"]),
    "unknown field name": (HEAD + "trunk:\n  - conv: {out: 2 * widht}", ["unknown name 'widht'"]),
    "itself": (HEAD + "trunk:\n  - conv: {out: out + 1}", ["out depends on itself (out -> out)"]),
    "each other": (HEAD + "trunk:\n  - conv: {out: kernel * 8, kernel: out - 7}", ["depends on itself (out -> kernel -> out)"]),
    "unknown function": (HEAD + "trunk:\n  - conv: {out: rond8(9)}", ["unknown function 'rond8'", "did you mean 'round8'"]),
    "power": (HEAD + "trunk:\n  - conv: {out: 9 ** 9 ** 9}", ["not a formula"]),
    "call": (HEAD + "trunk:\n  - conv: {out: '__import__(\"os\").getcwd()'}", ["not a formula"]),
    "attribute": (HEAD + "trunk:\n  - conv: {out: kernel.real}", ["not a formula"]),
    "long formula": (HEAD + f"trunk:\n  - conv: {{out: '{'1 + ' * 100}1'}}", ["at most 200"]),
    "by zero": (HEAD + "trunk:\n  - conv: {out: 8 // 0}", ["cannot compute '8 // 0'"]),
    "fraction": (HEAD + "trunk:\n  - conv: {out: 9 / 2}", ["found 4.5"]),
    # Constraints.
    "impossible": (HEAD + "choices: {w: {choices: [8, 16]}}\nwhere: [$w > 20]\ntrunk:\n  - conv: {out: $w}", [":3: where.0", "no architecture satisfies this"]),
    "constraint name": (HEAD + "choices: {w: {choices: [8, 16]}}\nwhere: [w > 8]\ntrunk:\n  - conv: {out: $w}", ["did you mean '$w'"]),
    "constraint of a number": (HEAD + "where: [8]\ntrunk: []", ["not a formula"]),
    "constraints no list": (HEAD + "where: 8\ntrunk: []", ["not a list"]),
    "taken name": (HEAD + "choices: {classes: {choices: [1, 2]}}\ntrunk: []", ["'classes' is taken"]),
    # Networks.
    "vanishing map": ("input: {resolution: 2}\ntrunk:\n  - conv: {out: 8, kernel: 5, padding: 0}", [":3: trunk.0.conv: the map vanishes"]),
    "an input and a result of another side": (HEAD + "trunk:\n  - mbconv: {out: 3, padding: 0}", [":3: trunk.0.mbconv: the input is added to a result of another side", "found [32] and [30]", "residual: false"]),
    "vanishing words": (HEAD + "trunk:\n  - tnt_embed: {out: 8, inner: 4, patch: 4, kernel: 7, stride: 1, padding: 0}", [":3: trunk.0.tnt_embed: the map vanishes: side 4, kernel 7, padding 0"]),
    "words of a wide step": (HEAD + "trunk:\n  - tnt_embed: {out: 8, inner: 4, patch: 4, kernel: 7, stride: 4, padding: 0}", ["the map vanishes: side 4, kernel 7"]),
    "vanishing keys": ("input: {resolution: 4}\ntrunk:\n  - cmt_bias: {heads: 1, reduction: 8}", [":3: trunk.0.cmt_bias: the map of keys vanishes: side 4, reduction 8"]),
    "hidden without an expansion": (HEAD + "trunk:\n  - mbconv: {out: 8, expand_conv: false, hidden: 96, se: true}", [":3: trunk.0.mbconv: without 'expand_conv'", "found hidden [96]", "accepted: [3]"]),
    "expansion without its convolution": (HEAD + "trunk:\n  - mbconv: {out: 8, expand_conv: false, expand: {choices: [1, 2]}}", ["without 'expand_conv'", "found expand [1.0, 2.0]"]),
    "choice of a head's width": (HEAD + "trunk:\n  - cmt_bias: {heads: 1}\n  - cmt: {heads: 1, head_width: {choices: [2, 4]}}", ["head_width: cannot be searched"]),
    "choice of a word's head": (HEAD + "trunk:\n  - tnt: {heads: 1, inner_heads: 1, inner_head_width: {choices: [2, 4]}}", ["inner_head_width: cannot be searched"]),
    "unpooled": (HEAD + "trunk:\n  - linear: {out: 8}", ["put a 'pool' block before it"]),
    "pooled": (HEAD + "trunk:\n  - pool: {}\n  - conv: {out: 8}", [":4: trunk.1.conv", "'conv' reads a map, and is given a vector"]),
    "groups": (HEAD + "trunk:\n  - conv: {out: 8, groups: 5}", ["cannot be split into 5 groups"]),
    "groups of a choice": (HEAD + "trunk:\n  - conv: {out: {choices: [6, 9]}, groups: 3}", ["groups need fixed widths"]),
}  # fmt: skip


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes(read, case):
    text, parts = MISTAKES[case]
    with pytest.raises(InputError) as error:
        read(text + "\n")
    message = str(error.value)
    assert re.match(r".*/mine\.yaml(:\d+)?: ", message), message
    assert all(part in message for part in parts), message


@pytest.mark.parametrize(
    "text, part",
    [
        ('{"input": {}, "input": {}}', "the key 'input' stands twice"),
        ("[" * 100 + "]" * 100, "nested 100 deep"),
        ('{"input": NaN}', "not a JSON number"),
        ("{", "not JSON"),
        ('{"input": {}, "trunk": [{"conv": {"out": "x"}}]}', "unknown name 'x'"),
    ],
)
def test_mistakes_in_json(read, text, part):
    with pytest.raises(InputError, match=re.escape(part)):
        read(text, "mine.json")


def test_oversized_missing_and_binary_files(read, tmp_path):
    with pytest.raises(InputError, match="at most 1,048,576"):
        read("#" * (1 << 20) + "\n")
    with pytest.raises(InputError, match="no such file"):
        read_space(tmp_path / "none.yaml")
    with pytest.raises(InputError, match="not a file"):
        read_space(tmp_path)
    (tmp_path / "b.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not UTF-8"):
        read_space(tmp_path / "b.yaml")


def test_a_joint_table_beyond_bounds_names_the_formula(read):
    options = "{range: [1, 500, 1]}"
    text = HEAD + f"choices: {{a: {options}, b: {options}, c: {options}}}\nwhere: [$a * $b > $c]\ntrunk: []\n"
    with pytest.raises(InputError, match="mine.yaml:3: where.0: .*too many choices"):
        read(text)


def test_one_option_of_a_one_of_is_no_choice(read):
    """The same network as the block alone; inside another `one_of` as well."""
    inner = "{one_of: [{mbconv: {out: 8, stride: 2, kernel: {choices: [3, 5]}}, label: only}]}"
    rest = "head: [{pool: {}}, {linear: {out: $classes}}]\n"
    plain, alone = (
        read(HEAD + f"trunk:\n  - {text}\n{rest}") for text in (inner.removeprefix("{one_of: [")[:-2], inner)
    )
    assert [c.name for c in alone.choices] == [c.name for c in plain.choices] == ["trunk.0.kernel"]
    assert str(graph_of(alone)) == str(graph_of(plain))
    assert read(HEAD + f"trunk:\n  - {inner.replace('{choices: [3, 5]}', '5')}\n{rest}").is_architecture
    within = read(HEAD + f"trunk:\n  - one_of: [{inner}, {{conv: {{out: 8, stride: 2}}}}]\n{rest}")
    assert [c.name for c in within.choices] == ["trunk.0.one_of", "trunk.0.one_of.kernel"]


def test_parsed_data_is_read_like_a_file():
    with pytest.raises(InputError, match=r"^here: trunk.0.conv.out"):
        space_from_data({"input": {}, "trunk": [{"conv": {"out": -1}}]}, "here")


# The schema ----------------------------------------------------------------------------------------------------------


def test_the_schema_file_is_up_to_date():
    path = folder("search_spaces") / "schema.json"
    assert path.read_text() == to_json(schema.schema()), "run: python -m dnas.cli.schema"


def test_shipped_files_name_the_schema():
    home = folder("search_spaces")
    for path in [*home.glob("*.yaml"), *home.glob("published/*.yaml")]:
        line = path.read_text().splitlines()[0]
        assert line.startswith("# yaml-language-server: $schema=")
        assert (path.parent / line.split("=", 1)[1]).resolve() == home / "schema.json"
