"""The engine: a state and an event give a state and effects. Pure: no clock, files or processes."""
