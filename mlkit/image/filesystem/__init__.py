"""Images as files: archives, layers, the merged file system, and new images."""
