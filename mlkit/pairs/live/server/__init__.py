"""The page of a live run: what it does, as it does it, and the commands to it."""
