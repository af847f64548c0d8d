"""The journal in a database: SQL that is written once, and who owns what."""
