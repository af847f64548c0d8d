"""Container images: look into them, slim them onto a distroless base, prove that they work."""
