"""Weights under timm's names: one table says which operator of ours is which module there, and is read both ways."""
