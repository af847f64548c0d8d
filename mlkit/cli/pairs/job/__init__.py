"""`mlkit pairs job`."""
