"""The roles of the processes, and what the workers and the writer send to each other."""
