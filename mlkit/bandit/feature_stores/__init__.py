"""Where features of arms and contexts are kept: a file, Redis, or a service behind HTTP."""
