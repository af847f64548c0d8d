"""The journal: the events of every instance, durable before anything follows from them."""
