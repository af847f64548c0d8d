"""The description of the interface is true: whatever is sent, the answer is a documented one."""

from __future__ import annotations

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

NEVER_ENDS = {"/api/v1/events"}


@pytest.fixture(scope="module")
def description(server):
    return schemathesis.openapi.from_url(f"{server.url}/openapi.json")


def test_answers_are_as_the_description_says(server, description):
    checked = 0
    for result in description.get_all_operations():
        operation = result.ok()
        if operation.path in NEVER_ENDS or not operation.path.startswith("/api/v1"):
            continue
        checked += 1

        @settings(
            max_examples=4, deadline=None, database=None, suppress_health_check=list(HealthCheck)
        )
        @given(case=operation.as_strategy())
        def check(case):
            case.call_and_validate(
                checks=[
                    not_a_server_error,
                    status_code_conformance,
                    content_type_conformance,
                    response_schema_conformance,
                ]
            )

        check()
    assert checked > 20
    assert "Traceback" not in server.log.read_text()
