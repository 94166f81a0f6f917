"""Block kinds. Importing this package registers all of them in `KINDS`."""

from dnas.blocks import basic as basic
from dnas.blocks import cmt as cmt
from dnas.blocks import efficientformer as efficientformer
from dnas.blocks import mobile as mobile
from dnas.blocks import tnt as tnt
from dnas.blocks import transformer as transformer
from dnas.blocks.kind import KINDS as KINDS
from dnas.blocks.kind import Fields as Fields
from dnas.blocks.kind import Kind as Kind
