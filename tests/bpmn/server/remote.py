"""Commands in this process, on the journal of a server or through the server, and its diagrams."""

from __future__ import annotations

import re
import sys

import pytest

from mlkit.cli.main import main
from tests.bpmn.conftest import diagram

V1 = "/api/v1"
ENDS = '<startEvent id="s"/><endEvent id="e"/>'
FORM = (
    '<userTask id="u" name="Look" camunda:candidateGroups="owners"><extensionElements>'
    '<camunda:formData><camunda:formField id="rate" label="Rate" type="double"/>'
    "</camunda:formData></extensionElements></userTask>"
)
ASSIGNED = '<userTask id="u" name="Sign" camunda:assignee="ann"/>'
CATCH = (
    '<intermediateCatchEvent id="m"><messageEventDefinition messageRef="Paid"/>'
    '</intermediateCatchEvent><intermediateCatchEvent id="g"><signalEventDefinition'
    ' signalRef="Stop"/></intermediateCatchEvent>'
)
TIMER = (
    '<intermediateCatchEvent id="t"><timerEventDefinition><timeDuration>PT9H</timeDuration>'
    "</timerEventDefinition></intermediateCatchEvent>"
)
SCRIPT = '<scriptTask id="work" scriptFormat="python"><script>{}</script></scriptTask>'
AD_HOC = '<adHocSubProcess id="h"><userTask id="a" name="Ask"/></adHocSubProcess>'
CYCLE = (
    '<startEvent id="s"><timerEventDefinition><timeCycle>0 6 * * *</timeCycle>'
    '</timerEventDefinition></startEvent><endEvent id="e"/>'
)
CALLED = (
    '<startEvent id="s"/><startEvent id="n"><messageEventDefinition messageRef="Paid"/>'
    '</startEvent><endEvent id="e"/>'
)
BODIES = {
    "form": (ENDS + FORM, "s>u u>e"),
    "sign": (ENDS + ASSIGNED, "s>u u>e"),
    "mail": (ENDS + CATCH, "s>m m>g g>e"),
    "late": (ENDS + TIMER, "s>t t>e"),
    "good": (ENDS + SCRIPT.format("print('hello'); y = [x] * 3"), "s>work work>e"),
    "stop": (ENDS + SCRIPT.format("raise ValueError('no')"), "s>work work>e"),
    "soon": (ENDS + TIMER.replace("PT9H", "PT1S"), "s>t t>e"),
    "adhoc": (ENDS + AD_HOC, "s>h h>e"),
    "daily": (CYCLE, "s>e"),
    "called": (CALLED + FORM, "s>u n>u u>e"),
}
TIMES = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z|\d+ s ago")
STATES = re.compile("waiting|running|completed")
STATE_AT_REST = {"good": "completed", "stop": "incident"}


class Terminal:
    """Runs commands in this process, on the journal of a server or through the server."""

    def __init__(self, server, capsys, monkeypatch):
        self.server, self.capsys, self.monkeypatch = server, capsys, monkeypatch

    def run(self, *arguments):
        self.monkeypatch.setattr(sys, "argv", ["mlkit", "bpmn", *map(str, arguments)])
        self.capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main()
        out, err = self.capsys.readouterr()
        return left.value.code, out, err

    def here(self, *arguments):
        return self.run(*arguments, "--state", self.server.state)

    def there(self, *arguments):
        return self.run(*arguments, "--server", self.server.url)

    def begin(self, key, **options):
        """Start an instance; return its id when it rests."""
        body = {"process": key, **options}
        instance = self.server("POST", f"{V1}/instances", json=body).json()["instance"]
        wanted = STATE_AT_REST.get(key, "waiting")

        def rests():
            return self.server("GET", f"{V1}/instances/{instance}").json()["state"] == wanted

        self.server.wait(rests)
        return instance

    def same(self, act, *begin, **options):
        """Compare what commands say of two instances, one by each way; return the exit code."""
        told = []
        for run, place in (
            (self.here, f" --state {self.server.state}"),
            (self.there, f" --server {self.server.url}"),
        ):
            instance = self.begin(*begin, **options)
            code, out, err = run(*(each.format(instance) for each in act))
            text = (out + err).replace(instance, "ID").replace(place, " PLACE")
            told.append((code, TIMES.sub("AT", text)))
        assert told[0] == told[1]
        return told[0]


def diagram_of(key, body="", flows=""):
    """Return the diagram of a process of `BODIES`, or of another body."""
    if not body:
        body, flows = BODIES[key]
    return diagram(body, flows).replace('process id="p"', f'process id="{key}"')
