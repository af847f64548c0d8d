"""The journal in a database, in SQL that is written once for all of them."""
