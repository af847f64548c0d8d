"""Databases: connections, numbered migrations, transactions. No table is defined here.

`database.Database` is what a back end offers, `sqlite` and `postgresql` are the back ends; what
uses a database is written once, in the SQL that both understand.
"""
