"""The external-task part of the REST API of Camunda 7 and Operaton, under `/engine-rest`."""

from __future__ import annotations

from mlkit.bpmn.server.engine_rest.paths import routes

__all__ = ["routes"]
