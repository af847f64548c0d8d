"""The recommendation server: HTTP in worker processes, one writer with a durable journal."""
