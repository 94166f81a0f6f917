"""What networks cost, exactly: the ledger, conventions, latency tables, budgets."""
