"""User tasks: who may do them, and what their forms accept."""
