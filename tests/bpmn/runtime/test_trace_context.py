from __future__ import annotations

import itertools
import re

from mlkit.bpmn.runtime.trace_context import span_id, trace_id, trace_parent


def test_each_attempt_of_each_task_has_a_span_of_its_own():
    attempts = itertools.product(("one", "two"), range(60), range(60))
    found = {span_id(*each) for each in attempts}
    assert len(found) == 2 * 60 * 60
    assert all(0 < each < 2**64 for each in found)


def test_every_host_names_a_span_alike_in_the_form_of_w3c():
    parent = trace_parent("one", 7, 2)
    assert re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-01", parent)
    assert parent == f"00-{trace_id('one'):032x}-{span_id('one', 7, 2):016x}-01"
    assert trace_id("one") != trace_id("two")
