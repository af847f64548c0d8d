"""Running containers: the engine, probes, traces, and what an app is like inside."""
