"""Thompson-sampling bandits: posteriors, sampling, serving."""
