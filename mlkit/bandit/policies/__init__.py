"""Policies: which arms to show, what to learn from rewards, and how probable a choice was.

Pure: no clock, no files, and no randomness other than the generator that is passed in.
"""
