"""Packages in an image: Debian's, Python's, and the bill of materials."""
