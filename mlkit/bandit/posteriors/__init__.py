"""Posteriors: their arithmetic, their files, and what they say."""
