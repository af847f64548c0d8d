"""Everything that crosses the Docker Engine's API goes through here."""
