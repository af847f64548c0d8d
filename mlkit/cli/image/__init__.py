"""`mlkit image`."""
