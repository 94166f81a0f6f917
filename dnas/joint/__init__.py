"""Architecture and training recipe found together by a predictor of accuracies (FBNetV3, Dai et al. 2021)."""
