"""The loop between the engine and the world: sessions, workers, timers, the journal."""
