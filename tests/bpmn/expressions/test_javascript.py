"""JavaScript in conditions and script tasks: what it sees, sets, and may never do."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from mlkit.bpmn.engine.events import Complete, Start
from mlkit.bpmn.engine.step import OutOfTime
from mlkit.bpmn.expressions import Expression, ExpressionError
from mlkit.bpmn.expressions import javascript as expressions
from mlkit.errors import ServiceUnavailable
from mlkit.workers.child.values import Unstorable, pack

pytest.importorskip("quickjs")
NOW = datetime(2026, 1, 2, tzinfo=UTC)
VALUES = {
    "x": 4, "y": "a", "order": {"lines": [{"price": 2.5}, {"price": 4}]}, "big": 2**60 + 1,
    "when": datetime(2024, 2, 29, 12, tzinfo=UTC), "day": date(2024, 2, 29),
    "exact": Decimal("0.1"), "nothing": None,
}  # fmt: skip


class Known:
    """Variables that expressions see and set."""

    def __init__(self):
        self.changes = []

    def __call__(self, name):
        return VALUES[name]

    def assign(self, kind, name, value):
        self.changes.append((kind, name, value))


def value(text, known=None):
    return Expression(text, "javascript").evaluate(known or Known(), NOW)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('x > 3 && execution.getVariable("y") === "a"', True),
        ("order.lines.map(each => each.price * 2)", [5, 8]),
        ("var total = 0; for (const each of order.lines) total += each.price; total", 6.5),
        ("big + 1n", 2**60 + 2), ("exact * 10", 1), ("nothing === null", True), ("undefined", None),
        ("when.getUTCDate()", 29), ("day", "2024-02-29"),
        ("new Date(0)", datetime(1970, 1, 1, tzinfo=UTC)),
        ("Date.now()", NOW.timestamp() * 1000), ("({a: [1, {b: 'é'}]})", {"a": [1, {"b": "é"}]}),
        ("0 / 0 !== 0 / 0", True), ("execution.hasVariable('none')", False),
        ("new Map([['k', 1n]])", {"k": 1}),
    ],
)  # fmt: skip
def test_values(text, expected):
    assert value(text) == expected


def test_variables_are_set_in_order():
    known = Known()
    value("execution.setVariable('a', x + 1); execution.removeVariable('b'); "
          "execution.setVariable('c', execution.getVariable('a') * 2n ** 0n)"
          .replace("* 2n ** 0n", "* 2"), known)  # fmt: skip
    assert known.changes == [
        ("setVariable", "a", 5), ("removeVariable", "b", None), ("setVariable", "c", 10)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("nosuch.field", "nosuch is not defined"), ("big + 1", "BigInt"), ("x +", "SyntaxError"),
        ("while (true) {}", "too much time"),
        ("let s = 'x'; while (true) s += s", "string too long"),
        ("let a = []; while (true) a.push(new Array(1e6).fill(0))", "too much memory"),
        ("(function f() { f() })()", "call stack"), ("Math.random()", "not available"),
        ("execution.getVariable('n' + x)", "must be written out"), ("(() => 1)", "cannot be kept"),
        ("let q = []; q.push(q); q", "nests too deeply"),
        ("require('fs')", "require is not defined"),
        ("Java.type('java.lang.System')", "Java is not defined"), ("std.exit(1)", "not defined"),
        ("/(a+)+$/.test('a'.repeat(40) + 'b')", "too much time"),
        ("JSON.parse('['.repeat(100000))", "call stack"),
        ("throw new BpmnError('E')", "only a script task can"),
        ("Array.prototype.map = () => 1; execution.setVariable('a', 1)", "not a function"),
    ],
)  # fmt: skip
def test_what_fails_or_takes_too_much_is_an_error(text, problem, monkeypatch):
    monkeypatch.setattr(expressions, "SECONDS", 1)
    with pytest.raises(ExpressionError, match=problem):
        value(text)


def test_no_reference_to_a_stored_value_can_be_forged():
    with pytest.raises(Unstorable):
        pack(value("({$artifact: '../../etc/passwd'})"))


def test_without_the_package_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setattr(expressions, "lacking", lambda: "JavaScript needs a package")
    with pytest.raises(ServiceUnavailable) as raised:
        value("1")
    assert "mlkit[javascript]" in str(raised.value.hint)


PIPELINE = """<startEvent id="s"/><scriptTask id="t" scriptFormat="javascript"
 xmlns:camunda="http://camunda.org/schema/1.0/bpmn" camunda:resultVariable="total"><script>
var sum = 0;
for (var i = 0; i &lt; items.length; i++) sum += items[i];
print("sum", sum);
execution.setVariable("many", items.length);
if (sum &gt; 100) throw new BpmnError("LARGE", "too large");
sum</script></scriptTask>
<boundaryEvent id="b" attachedToRef="t"><errorEventDefinition errorRef="E"/></boundaryEvent>
<exclusiveGateway id="g" default="f4"/><endEvent id="small"/><endEvent id="large"/>
<endEvent id="caught"/><sequenceFlow id="f3" sourceRef="g" targetRef="large">
<conditionExpression language="javascript">total &gt; 9 &amp;&amp; many === 2</conditionExpression>
</sequenceFlow><sequenceFlow id="f4" sourceRef="g" targetRef="small"/>"""


@pytest.mark.parametrize(
    ("items", "end"), [("[4, 6]", "large"), ("[1, 2]", "small"), ("[99, 2]", "caught")]
)
def test_a_script_task_and_a_condition(mlkit, diagram, tmp_path, items, end):
    roots = '<error id="E" errorCode="LARGE"/>'
    (tmp_path / "p.bpmn").write_text(diagram(PIPELINE, "s>t t>g b>caught", roots))
    done = mlkit("bpmn", "run", "p.bpmn", "--var", f"items={items}", "--json")
    found = json.loads(done.stdout)
    assert found["trace"][-1]["element"] == end
    assert "i" not in found["variables"]
    if end == "large":
        assert (found["variables"]["total"], found["variables"]["many"]) == (10, 2)
        (log,) = json.loads(mlkit("bpmn", "logs", found["instance"], "--json").stdout)["logs"]
        assert log["stdout"] == "sum 10\n"


LONG = """<startEvent id="s"/><userTask id="u"/><exclusiveGateway id="g" default="f9"/>
<userTask id="v"/><endEvent id="e"/><sequenceFlow id="f8" sourceRef="g" targetRef="v">
<conditionExpression language="javascript">var n = 0; while (n !== x) n++; true
</conditionExpression></sequenceFlow><sequenceFlow id="f9" sourceRef="g" targetRef="e"/>"""


def test_time_is_a_limit_when_something_happens_and_none_when_it_is_replayed(play, monkeypatch):
    done = play(LONG, "s>u u>g v>e").start(x=500_000)
    task = next(iter(done.state.activations))
    monkeypatch.setattr(expressions, "SECONDS", 1e-9)
    again = done.engine.create()
    for at, event in ((0.0, Start({"x": 500_000})), (1.0, Complete(task))):
        done.engine.apply(again, event, at, replayed=True)
    assert [each.node for each in again.activations.values()] == ["v"]
    with pytest.raises(OutOfTime, match=r"g: .*too much time"):
        done.engine.apply(done.state, Complete(task), 1.0)


def test_a_script_without_end_is_an_incident_that_the_journal_keeps(mlkit, diagram, tmp_path):
    (tmp_path / "p.bpmn").write_text(diagram(LONG, "s>u u>g v>e"))
    found = json.loads(mlkit("bpmn", "run", "p.bpmn", "--var", "x=-1", "--json").stdout)
    done = mlkit("bpmn", "complete", "u", "--json")
    assert done.returncode == 1
    shown = json.loads(done.stdout)
    assert shown["state"] == "incident"
    assert "too much time" in shown["incidents"][0]["message"]
    assert mlkit("bpmn", "check").returncode == 0
    ended = json.loads(mlkit("bpmn", "cancel", found["instance"], "--json").stdout)
    assert ended["state"] == "cancelled"
