"""The dashboard: what a server does, as a JSON document and as a page that shows it."""
