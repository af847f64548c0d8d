"""The console in a browser: what an operator looks at and does, over the functions of the API.

Every page works without scripts; with them, what changes is replaced while somebody watches.
"""

from __future__ import annotations

from mlkit.bpmn.server.console import (
    activity_pages,
    definition_pages,
    home_page,
    incidents_page,
    instance_list_page,
    instance_page,
    migration_page,
    retries_page,
    schedules_page,
)
from mlkit.bpmn.server.context import Context
from mlkit.web.application import Route

_MODULES = (
    home_page,
    instance_list_page,
    instance_page,
    migration_page,
    definition_pages,
    schedules_page,
    incidents_page,
    retries_page,
    activity_pages,
)


def routes(context: Context) -> dict[str, Route]:
    """Return the paths of the console."""
    found: dict[str, Route] = {}
    for module in _MODULES:
        found |= module.routes(context)
    return found
