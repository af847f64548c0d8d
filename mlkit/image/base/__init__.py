"""Base images: assembled from Debian packages, or any image of the engine."""
