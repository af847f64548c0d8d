"""`mlkit pairs`."""
