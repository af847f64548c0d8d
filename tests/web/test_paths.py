"""Which route a path with parameters takes."""

from __future__ import annotations

import pytest

from mlkit.web.application import Route
from mlkit.web.metrics import Layout, SharedCounters
from mlkit.web.paths import PathApplication

PATHS = (
    "/", "/list", "/item/key/{key}", "/item/key/{key}/start", "/item/{id}", "/item/{id}/start",
    "/store/{name:path}", "/rest/{one}/{two}", "/rest/{all:path}",
)  # fmt: skip


@pytest.fixture(scope="module")
def application():
    counters = SharedCounters(Layout([*PATHS, "other"]), 1)
    return PathApplication({each: Route(each, {}) for each in PATHS}, counters.row(0), max_body=1)


@pytest.mark.parametrize(
    ("path", "route", "parameters"),
    [
        ("/item/7", "/item/{id}", {"id": "7"}),
        ("/item/key/start", "/item/key/{key}", {"key": "start"}),
        ("/item/key", "/item/{id}", {"id": "key"}),
        ("/item/key/a/start", "/item/key/{key}/start", {"key": "a"}),
        ("/item/a b/start", "/item/{id}/start", {"id": "a b"}),
        ("/item//start", None, {}),
        ("/item/", None, {}),
        ("/item/7/", None, {}),
        ("/store/a/b.json", "/store/{name:path}", {"name": "a/b.json"}),
        ("/store/", "/store/{name:path}", {"name": ""}),
        ("/rest/a/b", "/rest/{one}/{two}", {"one": "a", "two": "b"}),
        ("/rest/a/b/c", "/rest/{all:path}", {"all": "a/b/c"}),
        ("/nothing", None, {}),
    ],
)
def test_the_first_route_that_a_path_fits_is_taken(application, path, route, parameters):
    scope = {"type": "http", "method": "GET", "path": path, "raw_path": path.encode()}
    found, _ = application._route(scope)
    assert (None if found is None else found.name) == route
    assert scope.get("path_params", {}) == parameters
