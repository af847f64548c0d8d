"""`mlkit bandit`."""
