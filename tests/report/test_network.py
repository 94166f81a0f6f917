"""The drawing of a network says what flows between its blocks, whatever that is."""

import re

from dnas.cost.count import count
from dnas.grammar.catalogue import load_space
from dnas.graph.architecture import architecture
from dnas.report.network import network_svg
from dnas.runs.as_trained import Counted
from dnas.runs.network import layers_of
from dnas.runs.run import NetworkFacts


def words(name: str) -> list[str]:
    """The texts of the drawing of a space's first network."""
    space = load_space(name)
    network = architecture(space, {choice.name: 0 for choice in space.choices}).network
    facts = NetworkFacts(name, tuple(layers_of(network, count(network), {})), Counted(28, 1, 10, 1, 1), None, 10)
    return re.findall(r"<text[^>]*>([^<]*)</text>", network_svg(name, facts))


def test_tokens_and_a_second_stream_have_their_counts():
    said = words("tnt_mini")
    assert {"50 tokens", "+ 49 patches, 4 tokens", "h1 e1"} <= set(said) and said.count("vector") == 1


def test_windows_stand_where_kernels_do():
    said = words("s3_mini")
    assert "2×2 h1 e1" in said and {"14", "7"} <= set(said)


def test_a_block_without_its_attention_has_no_heads():
    said = words("efficientformerv2_tiny")
    heads = [text for text in said if text.startswith("h") and text[1:2].isdigit()]
    assert heads == ["h4"] and "conv_ffn" in said  # of attention_down, which has no choice about it
