"""Exact search over choices: elimination, and the most probable architecture under budgets. numpy only.

`elimination.py` optimises or counts without budgets; `constrained.py` is the entry for budgets. Below it:
`model.py` (factors as tables), `stages.py` (a path decomposition), `dual.py` (Lagrangian bounds), `labels.py` (search).
"""
