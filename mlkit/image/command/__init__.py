"""What a container starts: entrypoints, scripts, launchers, health checks."""
