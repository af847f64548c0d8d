"""Where the fetch stage of the server gets posteriors from."""
