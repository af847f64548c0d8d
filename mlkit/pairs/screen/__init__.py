"""The screen: every pair of a universe tested, and false discoveries controlled."""
