"""The table: timm's name of every module of a block, and the operators of ours that it is, family by family.

Names of ours are those within a block (`dnas.blocks`); where a block of ours stands in timm is said in `layouts`.
"""

from __future__ import annotations

from dnas.timm.rows import Row, table

# FBNet, and other networks of timm's EfficientNet and MobileNetV3 -------------------------------------------------


def _bare(convolutions: dict[str, str]) -> tuple[Row, ...]:
    """Convolutions that have no bias in timm, each with a norm behind it: `NAME` and `NAME_norm` here."""
    return tuple(Row(theirs, (ours,), "without_bias", norm=f"{ours}_norm") for theirs, ours in convolutions.items())


_EXCITE = table({"se.conv_reduce": "se.reduce", "se.conv_expand": "se.expand"})
INVERTED = (
    *_bare({"conv_pw": "expand", "conv_dw": "depthwise", "conv_pwl": "project"}),
    *table({"bn1": "expand_norm", "bn2": "depthwise_norm", "bn3": "project_norm"}),
    *_EXCITE,
)
SEPARABLE = (
    *_bare({"conv_dw": "depthwise", "conv_pw": "project"}),
    *table({"bn1": "depthwise_norm", "bn2": "project_norm"}),
    *_EXCITE,
)
"""An inverted residual without its first convolution."""
PLAIN = (Row("conv", ("conv",), "without_bias", norm="norm"), Row("bn1", ("norm",)))
POOL_HEAD = (*_bare({"conv": "expand"}), Row("bn1", ("expand_norm",)))
"""What of `pool_head` is a block in timm."""
MOBILE_STEM = (Row("conv_stem", ("conv",), "without_bias", norm="norm"), Row("bn1", ("norm",)))
MOBILE_HEAD = (Row("conv_head", ("conv",), "without_bias", norm="norm"), Row("bn2", ("norm",)))
FEATURES = (Row("conv_head", ("project",), "conv"), Row("conv_head", ("linear",), "conv"))
"""The linear layer before the classifier, a 1x1 convolution in timm."""
CLASSIFIER = table({"classifier": "linear"})

# EfficientFormer --------------------------------------------------------------------------------------------------

CONV = table({"conv": "conv", "norm": "norm"})
MB4D = table(
    {
        "ls1": "mixer_scale", "mlp.fc1": "expand", "mlp.norm1": "expand_norm", "mlp.fc2": "project",
        "mlp.norm2": "project_norm", "ls2": "mlp_scale",
    }
)  # fmt: skip
MB3D = (
    *table(
        {
            "norm1": "attention_norm", "token_mixer.attention_biases": "bias", "token_mixer.proj": "attention_project",
            "ls1": "attention_scale", "norm2": "mlp_norm", "mlp.fc1": "expand", "mlp.fc2": "project",
            "ls2": "mlp_scale",
        }
    ),
    Row("token_mixer.qkv", ("query", "key", "value"), by_head=True),
)  # fmt: skip
DISTILLED_HEAD = table({"norm": "norm", "head": "classifier", "head_dist": "distilled_classifier"})


def _with_norms(convolutions: dict[str, str]) -> tuple[Row, ...]:
    """Convolutions with a norm behind them: `NAME.conv` and `NAME.bn` in timm, `NAME` and `NAME_norm` here."""
    pairs = convolutions.items()
    return table(
        {f"{theirs}.conv": ours for theirs, ours in pairs} | {f"{theirs}.bn": f"{ours}_norm" for theirs, ours in pairs}
    )


CONV_BN = table({"conv": "conv", "bn": "norm"})
CONV_FFN = (
    *_with_norms(
        {
            "token_mixer.stride_conv": "stride", "token_mixer.q": "query", "token_mixer.k": "key",
            "token_mixer.v": "value", "token_mixer.v_local": "local", "token_mixer.proj": "attention_project",
            "mlp.fc1": "expand", "mlp.mid": "depthwise", "mlp.fc2": "project",
        }
    ),
    *table(
        {
            "token_mixer.attention_biases": "bias", "token_mixer.talking_head1": "before_softmax",
            "token_mixer.talking_head2": "after_softmax", "ls1": "attention_scale", "ls2": "mlp_scale",
        }
    ),
)  # fmt: skip
ATTENTION_DOWN = (
    *_with_norms(
        {
            "conv": "conv", "attn.q.proj": "query", "attn.k": "key", "attn.v": "value", "attn.v_local": "local",
            "attn.proj": "project",
        }
    ),
    *table({"attn.q.local": "subsample", "attn.attention_biases": "bias"}),
)  # fmt: skip

# Vision transformers ----------------------------------------------------------------------------------------------

PATCHES = table({"proj": "conv", "norm": "norm"})
_MLP = {"mlp.fc1": "expand", "mlp.fc2": "project"}
TRANSFORMER = table(
    {
        "norm1": "attention_norm", "attn.qkv": "query key value", "attn.proj": "attention_project",
        "attn.relative_position_bias_table": "bias_*", "norm2": "mlp_norm", **_MLP,
    }
)  # fmt: skip
"""Of DeiT and, with the bias of distances within windows, of Swin."""
TOKENS = table({"cls_token": "class_token", "pos_embed": "positions"})
DISTILLED_TOKENS = (*TOKENS, Row("dist_token", ("class_token",), "distillation_token"))
MERGE = table({"norm": "norm", "reduction": "reduce"})
SWIN_HEAD = table({"norm": "norm", "head.fc": "classifier"})

# TNT --------------------------------------------------------------------------------------------------------------

TNT_EMBED = (
    Row("pixel_pos", ("word_positions",), "pixel_positions"),
    *table(
        {
            "pixel_embed.proj": "words", "cls_token": "class_token", "patch_pos": "positions",
            "norm1_proj": "join_norm", "proj": "patches", "norm2_proj": "patch_norm",
        }
    ),
)  # fmt: skip
TNT = table(
    {
        "norm_in": "inner_attention_norm", "attn_in.qk": "inner_query inner_key", "attn_in.v": "inner_value",
        "attn_in.proj": "inner_attention_project", "norm_mlp_in": "inner_mlp_norm", "mlp_in.fc1": "inner_expand",
        "mlp_in.fc2": "inner_project", "norm1_proj": "join_norm", "proj": "fuse", "norm2_proj": "fuse_norm",
        "norm_out": "attention_norm", "attn_out.qk": "query key", "attn_out.v": "value",
        "attn_out.proj": "attention_project", "norm_mlp": "mlp_norm", **_MLP,
    }
)  # fmt: skip
