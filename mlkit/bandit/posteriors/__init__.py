"""Posteriors: their arithmetic, their files, and their summaries."""
