"""The HTTP interface: its documents, its operations, and a step from each request to its answer."""
