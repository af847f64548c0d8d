"""The keep-set: which files of an image stay, each with its reason."""
