"""Models: a policy with the ids of its arms and the features that it reads, in memory and files."""
