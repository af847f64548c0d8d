"""A fleet's state in Redis or Valkey: the stream that its hosts follow, and snapshots of it."""
