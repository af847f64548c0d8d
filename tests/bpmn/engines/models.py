"""Random models in the dialect of Camunda 7, built of blocks with one way in and one way out."""

from __future__ import annotations

import random
from collections.abc import Callable

SPACE = "http://camunda.org/schema/1.0/bpmn"
LOOPS = {
    "cardinality": "<loopCardinality>2</loopCardinality>",
    "early": "<loopCardinality>3</loopCardinality><completionCondition>"
    "${nrOfCompletedInstances &gt;= 2}</completionCondition>",
}
MAPPED = (
    "<extensionElements><c:inputOutput><c:inputParameter name='x'>${x + 5}</c:inputParameter>"
    "<c:inputParameter name='local'>${x + 1}</c:inputParameter>"
    "<c:outputParameter name='mapped'>${local * 2}</c:outputParameter>"
    "<c:outputParameter name='seen'>${mapped + x}</c:outputParameter></c:inputOutput>"
    "</extensionElements>"
)


class Model:
    """A model of a seed: `text` is the file."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.number = 0
        self.called: list[str] = []
        body = self.scope(3)
        process = f'<process id="p" isExecutable="true">{body}</process>'
        self.text = (
            '<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL" id="d" '
            f'targetNamespace="t" xmlns:c="{SPACE}">{process}{"".join(self.called)}</definitions>'
        )

    def id(self, kind: str) -> str:
        self.number += 1
        return f"{kind}{self.number}"

    def flow(self, source: str, target: str, condition: str = "") -> str:
        inner = f"<conditionExpression>${{{condition}}}</conditionExpression>" if condition else ""
        ends = f'sourceRef="{source}" targetRef="{target}"'
        return f'<sequenceFlow id="{self.id("f")}" {ends}>{inner}</sequenceFlow>'

    def scope(self, depth: int) -> str:
        start, end = self.id("s"), self.id("e")
        text, first, last = self.row(depth)
        ends = f'<startEvent id="{start}"/><endEvent id="{end}"/>'
        return ends + text + self.flow(start, first) + self.flow(last, end)

    def row(self, depth: int) -> tuple[str, str, str]:
        text, first, last = self.block(depth)
        for _ in range(self.random.randrange(3)):
            more, begin, end = self.block(depth)
            text, last = text + more + self.flow(last, begin), end
        return text, first, last

    def block(self, depth: int) -> tuple[str, str, str]:
        simple = [self.user, self.counted, self.mapped, self.heard, self.repeated, self.summed]
        nested: list[Callable[[int], tuple[str, str, str]]] = [self.split, self.sub, self.call]
        if depth and self.random.random() < 0.5:
            return self.random.choice(nested)(depth - 1)
        text, name = self.random.choice(simple)()
        return text, name, name

    def user(self) -> tuple[str, str]:
        name = self.id("u")
        return f'<userTask id="{name}"/>', name

    def counted(self) -> tuple[str, str]:
        name = self.id("a")
        work = 'c:expression="${total + 1}" c:resultVariable="total"'
        return f'<serviceTask id="{name}" {work}/>', name

    def mapped(self) -> tuple[str, str]:
        name = self.id("a")
        work = f'c:expression="${{local}}" c:resultVariable="r_{name}"'
        return f'<serviceTask id="{name}" {work}>{MAPPED}</serviceTask>', name

    def heard(self) -> tuple[str, str]:
        name = self.id("u")
        heard = "".join(
            f'<c:executionListener event="{event}" expression="${{execution.setVariable('
            f"'log', log.concat('{name}.{event} '))}}\"/>"
            for event in ("start", "end")
        )
        return (
            f'<userTask id="{name}"><extensionElements>{heard}</extensionElements></userTask>',
            name,
        )

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
        text, default = "", ""
        for number in range(2 + self.random.randrange(2)):
            inner, first, last = self.row(depth)
            condition = f"{self.random.choice('xy')} == 1" if number and kind != "parallel" else ""
            flow = self.flow(opening, first, condition)
            if not number and kind != "parallel":
                default = f' default="{flow.partition(chr(34))[2].partition(chr(34))[0]}"'
            text += inner + flow + self.flow(last, closing)
        gates = f'<{kind}Gateway id="{opening}"{default}/><{kind}Gateway id="{closing}"/>'
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
