NAME = "hello from a plugin"
