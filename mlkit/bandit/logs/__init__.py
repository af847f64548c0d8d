"""Logs of rewards: CSV, Parquet, and the JSON Lines that the server writes."""
