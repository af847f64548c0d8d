"""Versions of a model that answer beside one another."""
