"""One behaviour a kind of flow node, and the table that finds it."""

from __future__ import annotations

from mlkit.bpmn.definition import model
from mlkit.bpmn.definition.model import Callable, Computed, FlowNode, Repeat, Script
from mlkit.bpmn.engine.behaviors.activity import Activity
from mlkit.bpmn.engine.behaviors.ad_hoc import AdHocSubProcess
from mlkit.bpmn.engine.behaviors.behavior import Behavior
from mlkit.bpmn.engine.behaviors.boundary import BoundaryEvent
from mlkit.bpmn.engine.behaviors.call import CallActivity
from mlkit.bpmn.engine.behaviors.catch import CatchEvent, ReceiveTask
from mlkit.bpmn.engine.behaviors.complex import ComplexGateway
from mlkit.bpmn.engine.behaviors.end import EndEvent
from mlkit.bpmn.engine.behaviors.event_based import EventBasedGateway
from mlkit.bpmn.engine.behaviors.event_subprocess import EventSubProcess
from mlkit.bpmn.engine.behaviors.external import ExternalTask
from mlkit.bpmn.engine.behaviors.gateways import ExclusiveGateway, ParallelGateway
from mlkit.bpmn.engine.behaviors.inclusive import InclusiveGateway
from mlkit.bpmn.engine.behaviors.loops import StandardLoop
from mlkit.bpmn.engine.behaviors.multi_instance import MultiInstance
from mlkit.bpmn.engine.behaviors.repeated import Repeated
from mlkit.bpmn.engine.behaviors.subprocess import SubProcess
from mlkit.bpmn.engine.behaviors.tasks import ComputedTask, WorkTask
from mlkit.bpmn.engine.behaviors.throw import SendTask, ThrowEvent
from mlkit.bpmn.engine.behaviors.transaction import Transaction
from mlkit.bpmn.engine.behaviors.user import UserTask

_KINDS: dict[str, type[Behavior]] = {
    "startEvent": CatchEvent,
    "intermediateCatchEvent": CatchEvent,
    "intermediateThrowEvent": ThrowEvent,
    "boundaryEvent": BoundaryEvent,
    "endEvent": EndEvent,
    "exclusiveGateway": ExclusiveGateway,
    "parallelGateway": ParallelGateway,
    "inclusiveGateway": InclusiveGateway,
    "eventBasedGateway": EventBasedGateway,
    "complexGateway": ComplexGateway,
    "task": Activity,
    "manualTask": Activity,
    "scriptTask": WorkTask,
    "serviceTask": WorkTask,
    "sendTask": WorkTask,
    "receiveTask": ReceiveTask,
    "userTask": UserTask,
    "businessRuleTask": WorkTask,
    "subProcess": SubProcess,
    "transaction": Transaction,
    "adHocSubProcess": AdHocSubProcess,
    "callActivity": CallActivity,
}


def behavior_of(node: FlowNode, body: model.Scope) -> Behavior:
    """Make the behaviour of a flow node."""
    kind = _KINDS[node.type]
    if isinstance(node.work, Computed):
        kind = ComputedTask
    elif node.type == "sendTask" and node.event is not None:
        kind = SendTask
    elif node.triggered:
        kind = EventSubProcess
    elif isinstance(node.work, Callable | Script):
        kind = WorkTask if node.work.external is None else ExternalTask
    behavior = kind(node, body)
    if node.loop is None or not isinstance(behavior, Activity):
        return behavior
    if isinstance(node.loop, Repeat):
        return StandardLoop(node, body, behavior, node.loop)
    return MultiInstance(node, body, behavior, node.loop)


def inner_of(behavior: Behavior) -> Behavior:
    """Return what one iteration of a repeated activity does; any other behaviour itself."""
    return behavior.inner if isinstance(behavior, Repeated) else behavior
