"""Jobs of one file: records of topics in, records of another topic out, each exactly once."""
