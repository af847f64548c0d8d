"""The server of pipelines: engine, REST API and pages."""
