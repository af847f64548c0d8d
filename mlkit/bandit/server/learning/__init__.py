"""What feedback changes: the journal first, then the tables that all workers read."""
