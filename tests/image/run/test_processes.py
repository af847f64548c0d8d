"""The processes of an app, with a real Docker Engine: whoever runs them, all of one is seen."""

from __future__ import annotations

import pytest

from mlkit.image.run.observation import Runner, Settings, Tools

pytestmark = pytest.mark.slow
CHANGES_USER = """
import os, time
os.setgroups([]), os.setgid(1234), os.setuid(1234)
time.sleep(1000)
"""
USERS = {"of the image's user": ("import time; time.sleep(1000)", "0"),
         "of another user": (CHANGES_USER, "1234")}  # fmt: skip


@pytest.mark.parametrize(("program", "user"), USERS.values(), ids=USERS.keys())
@pytest.mark.parametrize("traced", [False, True], ids=["plain", "traced"])
def test_an_app_is_seen_whole(engine, debian, program, user, traced):
    with Tools(engine) as tools:
        settings = Settings(environment={"NAME": "a value"}, watch=1.0)
        runner = Runner(engine, tools, settings)
        found = runner.run(debian, ["python3", "-c", program], traced=traced)
    assert found.first.startswith("python3 -c ")
    assert found.killed, "it does not handle the stop signal"
    assert found.patience == 2, "which was seen beforehand, so that it had little time"
    if not traced:
        assert found.app.user == f"{user}:{user}"
        assert found.app.environment["NAME"] == "a value"
        assert found.app.directory == "/"
