"""A space as one graph of operators, which every reader asks."""

from dnas.graph.build import Builder as Builder
from dnas.graph.build import graph_of as graph_of
from dnas.graph.fields import evaluated_fields as evaluated_fields
from dnas.graph.graph import Graph as Graph
from dnas.graph.parts import BlockUse as BlockUse
from dnas.graph.parts import Record as Record
from dnas.graph.scores import check_scores as check_scores
