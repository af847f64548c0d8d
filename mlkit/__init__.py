"""Production machine-learning workloads from one command."""

__version__ = "0.1.0"
