"""Operators, each declared once. Importing this package registers all of them in `OPERATORS`."""

from dnas.ops.activation import Activation as Activation
from dnas.ops.attention import Attend as Attend
from dnas.ops.attention import AttentionScores as AttentionScores
from dnas.ops.attention import DistanceBias as DistanceBias
from dnas.ops.attention import MixHeads as MixHeads
from dnas.ops.attention import Softmax as Softmax
from dnas.ops.combine import Excite as Excite
from dnas.ops.combine import Mixture as Mixture
from dnas.ops.combine import Residual as Residual
from dnas.ops.combine import WeightedSum as WeightedSum
from dnas.ops.conv import Conv as Conv
from dnas.ops.conv import Depthwise as Depthwise
from dnas.ops.conv import Linear as Linear
from dnas.ops.conv import Pointwise as Pointwise
from dnas.ops.norm import BatchNorm as BatchNorm
from dnas.ops.norm import LayerNorm as LayerNorm
from dnas.ops.norm import LayerScale as LayerScale
from dnas.ops.operator import OPERATORS as OPERATORS
from dnas.ops.operator import Operator as Operator
from dnas.ops.operator import operator as operator
from dnas.ops.order import ChannelShuffle as ChannelShuffle
from dnas.ops.order import Mask as Mask
from dnas.ops.pool import AveragePool as AveragePool
from dnas.ops.pool import GlobalPool as GlobalPool
from dnas.ops.pool import Upsample as Upsample
from dnas.ops.tensor import Tensor as Tensor
