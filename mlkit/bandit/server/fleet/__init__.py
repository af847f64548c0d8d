"""A host as one of a fleet that learns as one."""
