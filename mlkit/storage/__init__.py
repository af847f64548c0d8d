"""Databases: connections, numbered migrations, transactions. No table is defined here."""
