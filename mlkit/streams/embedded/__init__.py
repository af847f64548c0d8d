"""The embedded log: durable files in a folder, shared by the processes of one machine."""

from mlkit.streams.embedded.store import EmbeddedLog

__all__ = ["EmbeddedLog"]
