"""The journal in a SQLite file of the state folder: the embedded default."""
