"""`mlkit pairs live`."""
