"""Policies in simulated worlds: what they earn before they are launched."""
