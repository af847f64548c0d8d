"""Rewards: read, checked, amended, waited for, and handed to the writer."""
