"""Pipelines that serve people and other systems: the engine and an interface over HTTP."""
