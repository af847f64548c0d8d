"""Random models in the dialect of Camunda 7, built of blocks with one way in and one way out."""

from __future__ import annotations

import random
from collections.abc import Callable

SCHEMA = "http://www.w3.org/2001/XMLSchema-instance"
SPACE = "http://camunda.org/schema/1.0/bpmn"
LOOPS = {
    "cardinality": "<loopCardinality>2</loopCardinality>",
    "early": "<loopCardinality>3</loopCardinality><completionCondition>"
    "${nrOfCompletedInstances &gt;= 2}</completionCondition>",
}
MAPPED = (
    "<c:inputOutput><c:inputParameter name='x'>${x + 5}</c:inputParameter>"
    "<c:inputParameter name='local'>${x + 1}</c:inputParameter>"
    "<c:outputParameter name='mapped'>${local * 2}</c:outputParameter>"
    "<c:outputParameter name='seen'>${mapped + x}</c:outputParameter></c:inputOutput>"
)
# What the worker of a task does, by its topic; a second attempt is completed.
TOPICS = ("set", "local", "fail", "judged", "throw", "lost")
FAILED = "<errorEventDefinition errorRef='E1'/>"
CAUGHT = (
    "<errorEventDefinition errorRef='E1' c:errorCodeVariable='code' c:errorMessageVariable='text'/>"
)
EXTERNAL = {
    # Also an output of what ends early, where a failing one stops Camunda alone.
    "local": "<c:inputOutput><c:outputParameter name='l_{0}'>${{execution.hasVariable('part') ? "
    "part : 'none'}}</c:outputParameter></c:inputOutput>",
    "judged": "<c:errorEventDefinition errorRef='E1' "
    "expression=\"${{externalTask.errorMessage == 'again'}}\"/>",
}
IN = {
    "all": "<c:in variables='all'/>",
    "local": "<c:in variables='all' local='true'/>",
    "computed": "<c:in sourceExpression='${x + 1}' target='x'/>",
    "key": "<c:in businessKey='${execution.processBusinessKey}-{0}'/>",
}
OUT = {
    "all": "<c:out variables='all'/>",
    "total": "<c:out source='total' target='total'/>",
    "computed": "<c:out sourceExpression='${total + x}' target='r_{0}'/>",
    "log": "<c:out source='log' target='log'/>",
}
# A variable that counts, as two arguments of `setVariable` in JUEL and in JavaScript.
COUNT = "'{0}', execution.hasVariable('{0}') ? {0} + 1 : 1"
FORMAL = "xsi:type='tFormalExpression' language='javascript'"
SCRIPT = "<c:script scriptFormat='javascript'>{0}</c:script>"
COMPUTED = MAPPED.replace("${x + 1}", SCRIPT.format("x + 1")).replace(
    "${local * 2}", SCRIPT.format("var twice = local * 2; twice")
)


class Model:
    """A model of a seed: `text` is the file."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.number = 0
        self.called: list[str] = []
        self.alone = True
        body = self.scope(3)
        heard = self.listeners("p", "start", "end")
        process = f'<process id="p" isExecutable="true">{heard}{body}</process>'
        self.text = (
            '<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL" id="d" '
            f'targetNamespace="t" xmlns:xsi="{SCHEMA}" xmlns:c="{SPACE}">'
            f'<error id="E1" errorCode="E1"/>'
            f"{process}{''.join(self.called)}</definitions>"
        )

    def id(self, kind: str) -> str:
        self.number += 1
        return f"{kind}{self.number}"

    def flow(self, source: str, target: str, condition: str = "") -> str:
        name = self.id("f")
        inner = self.listeners(name, "take")
        if condition and self.random.random() < 0.2:
            inner += f"<conditionExpression {FORMAL}>{condition}</conditionExpression>"
        elif condition:
            inner += f"<conditionExpression>${{{condition}}}</conditionExpression>"
        ends = f'sourceRef="{source}" targetRef="{target}"'
        return f'<sequenceFlow id="{name}" {ends}>{inner}</sequenceFlow>'

    def listeners(self, name: str, *events: str) -> str:
        """Return what counts some events of an element, or nothing."""
        if self.random.random() < 0.8:
            return ""
        heard = "".join(
            self.listener("execution", event, f"setVariable({COUNT.format(f'h_{name}_{event}')})")
            for event in events
        )
        return f"<extensionElements>{heard}</extensionElements>"

    def listener(self, kind: str, event: str, done: str) -> str:
        """Return what does something with an execution or a task, in JUEL or in JavaScript."""
        name = "task" if kind == "task" else "execution"
        if self.random.random() < 0.5:
            return f'<c:{kind}Listener event="{event}" expression="${{{name}.{done}}}"/>'
        script = SCRIPT.format(f"var seen = 1; {name}.{done};")
        return f'<c:{kind}Listener event="{event}">{script}</c:{kind}Listener>'

    def scope(self, depth: int, result: str = "") -> str:
        start, end = self.id("s"), self.id("e")
        text, first, last = self.row(depth)
        ends = "".join(
            f'<{kind} id="{name}">{self.listeners(name, *heard)}{event}</{kind}>'
            for kind, name, event, heard in (
                ("startEvent", start, "", ("start", "end")),
                # Camunda passes what a call has out before it hears the end of an error.
                ("endEvent", end, result, ("start",) if result else ("start", "end")),
            )
        )
        return ends + text + self.flow(start, first) + self.flow(last, end)

    def row(self, depth: int) -> tuple[str, str, str]:
        text, first, last = self.block(depth)
        for _ in range(self.random.randrange(3)):
            more, begin, end = self.block(depth)
            text, last = text + more + self.flow(last, begin), end
        return text, first, last

    def block(self, depth: int) -> tuple[str, str, str]:
        simple = [
            self.user, self.format_count, self.mapped, self.heard, self.repeated, self.summed,
            self.timed, self.slept, self.told,
        ]  # fmt: skip
        nested: list[Callable[[int], tuple[str, str, str]]] = [
            self.split, self.sub, self.call, self.passing,
        ]  # fmt: skip
        if depth and self.random.random() < 0.5:
            return self.random.choice(nested)(depth - 1)
        if self.random.random() < 0.15:
            return self.external()
        text, name = self.random.choice(simple)()
        return text, name, name

    def user(self) -> tuple[str, str]:
        name = self.id("u")
        return f'<userTask id="{name}"/>', name

    def format_count(self) -> tuple[str, str]:
        name = self.id("a")
        work = 'c:expression="${total + 1}" c:resultVariable="total"'
        return f'<serviceTask id="{name}" {work}/>', name

    def mapped(self) -> tuple[str, str]:
        name = self.id("a")
        work = f'c:expression="${{local}}" c:resultVariable="r_{name}"'
        mapped = self.random.choice((MAPPED, COMPUTED))
        inner = f"<extensionElements>{mapped}</extensionElements>"
        return f'<serviceTask id="{name}" {work}>{inner}</serviceTask>', name

    def heard(self) -> tuple[str, str]:
        name = self.id("u")
        log = "log" if self.alone else f"log_{name}"  # What runs at once begins in another order.
        heard = "".join(
            self.listener(
                "execution",
                event,
                f"setVariable('{log}', "
                f"execution.hasVariable('{log}') ? {log}.concat('{event} ') : '')",
            )
            for event in ("start", "end")
        )
        return (
            f'<userTask id="{name}"><extensionElements>{heard}</extensionElements></userTask>',
            name,
        )

    def told(self) -> tuple[str, str]:
        """Return a task with listeners of its own."""
        name = self.id("u")
        heard = "".join(
            self.listener("task", event, f"setVariable('{name}_{event}', task.{value})")
            for event, value in (("create", "getName()"), ("complete", "taskDefinitionKey"))
        )
        inner = f"<extensionElements>{heard}</extensionElements>"
        return f'<userTask id="{name}" name="N">{inner}</userTask>', name

    def timed(self) -> tuple[str, str]:
        """Return a task that a timer reminds of, again and again."""
        name, timer, count, end = self.id("u"), self.id("b"), self.id("a"), self.id("e")
        cycle = self.random.choice(("R1/PT20M", "R2/PT1H", "R3/PT30M"))
        event = f"<timerEventDefinition><timeCycle>{cycle}</timeCycle></timerEventDefinition>"
        work = f'c:expression="${{execution.setVariable({COUNT.format(f"n_{timer}")})}}"'
        text = (
            f'<userTask id="{name}"/><boundaryEvent id="{timer}" attachedToRef="{name}" '
            f'cancelActivity="false">{event}</boundaryEvent><serviceTask id="{count}" {work}/>'
            f'<endEvent id="{end}"/>'
        )
        return text + self.flow(timer, count) + self.flow(count, end), name

    def slept(self) -> tuple[str, str]:
        name = self.id("t")
        event = "<timerEventDefinition><timeDuration>PT45M</timeDuration></timerEventDefinition>"
        heard = self.listeners(name, "start", "end")
        return f'<intermediateCatchEvent id="{name}">{heard}{event}</intermediateCatchEvent>', name

    def repeated(self) -> tuple[str, str]:
        name, sequential = self.id("u"), self.random.choice(("true", "false"))
        inner = LOOPS[self.random.choice(list(LOOPS))]
        loop = f'<multiInstanceLoopCharacteristics isSequential="{sequential}">{inner}'
        return f'<userTask id="{name}">{loop}</multiInstanceLoopCharacteristics></userTask>', name

    def summed(self) -> tuple[str, str]:
        name = self.id("a")
        loop = '<multiInstanceLoopCharacteristics isSequential="true" c:collection="${items}" '
        work = 'c:expression="${total + each}" c:resultVariable="total"'
        inside = f'{loop}c:elementVariable="each"/>'
        return f'<serviceTask id="{name}" {work}>{inside}</serviceTask>', name

    def split(self, depth: int) -> tuple[str, str, str]:
        kind = self.random.choice(("exclusive", "parallel", "inclusive"))
        opening, closing = self.id("g"), self.id("g")
        text, default, alone = "", "", self.alone
        self.alone = alone and kind == "exclusive"
        for number in range(2 + self.random.randrange(2)):
            inner, first, last = self.row(depth)
            condition = f"{self.random.choice('xy')} == 1" if number and kind != "parallel" else ""
            flow = self.flow(opening, first, condition)
            if not number and kind != "parallel":
                default = f' default="{flow.partition(chr(34))[2].partition(chr(34))[0]}"'
            text += inner + flow + self.flow(last, closing)
        self.alone = alone
        begin, heard = self.listeners(opening, "start", "end"), ""
        if kind == "exclusive":  # Camunda hears a join once for each token that comes.
            heard = self.listeners(closing, "start", "end")
        gates = f'<{kind}Gateway id="{opening}"{default}>{begin}</{kind}Gateway>'
        gates += f'<{kind}Gateway id="{closing}">{heard}</{kind}Gateway>'
        return gates + text, opening, closing

    def sub(self, depth: int) -> tuple[str, str, str]:
        name = self.id("sub")
        return f'<subProcess id="{name}">{self.scope(depth)}</subProcess>', name, name

    def call(self, depth: int) -> tuple[str, str, str]:
        name, process = self.id("c"), self.id("q")
        names = ("x", "y", "items", "log")
        # Branches that run at once pass copies in an order of their own: no total goes in or out.
        passed = '<c:in sourceExpression="${0}" target="total"/>'
        passed += "".join(f'<c:in source="{each}" target="{each}"/>' for each in names)
        passed += f'<c:out source="total" target="r_{name}"/>'
        inside = self.scope(depth)
        self.called.append(f'<process id="{process}" isExecutable="true">{inside}</process>')
        inner = f"<extensionElements>{passed}</extensionElements>"
        call = f'<callActivity id="{name}" calledElement="{process}">{inner}</callActivity>'
        return call, name, name

    def passing(self, depth: int) -> tuple[str, str, str]:
        """Return a call that passes data to and fro, where nothing runs beside it."""
        if not self.alone:
            return self.call(depth)
        name, process = self.id("c"), self.id("q")
        chosen = [each for each in IN.values() if self.random.random() < 0.4]
        if IN["all"] not in chosen:
            names = ("x", "y", "items", "log", "total")
            chosen[:0] = [f'<c:in source="{each}" target="{each}"/>' for each in names]
        chosen += [each for each in OUT.values() if self.random.random() < 0.4]
        passed = "".join(chosen).replace("{0}", name)
        mapped = MAPPED if self.random.random() < 0.3 else ""
        result = self.random.choice(("", "", FAILED))
        body = self.scope(depth, result)
        self.called.append(f'<process id="{process}" isExecutable="true">{body}</process>')
        inner = f"<extensionElements>{mapped}{passed}</extensionElements>"
        if not mapped and not result and self.random.random() < 0.3:
            inner += '<multiInstanceLoopCharacteristics isSequential="true" '
            inner += 'c:collection="${items}" c:elementVariable="each"/>'
        call = f'<callActivity id="{name}" calledElement="{process}">{inner}</callActivity>'
        return self.caught(call, name) if result else (call, name, name)

    def external(self) -> tuple[str, str, str]:
        """Return a task of an external worker."""
        name, topic = self.id("x"), self.random.choice(TOPICS)
        inner = EXTERNAL.get(topic, "").format(name)
        inner = f"<extensionElements>{inner}</extensionElements>" if inner else ""
        if topic in ("set", "fail") and self.random.random() < 0.3:
            inner += "<multiInstanceLoopCharacteristics><loopCardinality>2</loopCardinality>"
            inner += "</multiInstanceLoopCharacteristics>"
        work = f'c:type="external" c:topic="{topic}"'
        task = f'<serviceTask id="{name}" {work}>{inner}</serviceTask>'
        return self.caught(task, name) if topic in ("judged", "throw") else (task, name, name)

    def caught(self, activity: str, name: str) -> tuple[str, str, str]:
        """Return an activity whose error leads to where its end leads, too."""
        event, merge = self.id("b"), self.id("g")
        text = f'{activity}<boundaryEvent id="{event}" attachedToRef="{name}">{CAUGHT}'
        text += f'</boundaryEvent><exclusiveGateway id="{merge}"/>'
        return text + self.flow(name, merge) + self.flow(event, merge), name, merge
