"""The roles of the processes, and what the workers and the writer say to each other."""
