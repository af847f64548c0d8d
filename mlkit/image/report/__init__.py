"""The report of a slimming: what its page shows, and the sums that it shows."""
