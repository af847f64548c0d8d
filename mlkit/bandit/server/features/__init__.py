"""Features of requests that come from a store."""
