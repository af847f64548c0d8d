"""Read pools, message flows and associations: what connects processes and their parts."""

from __future__ import annotations

from mlkit.bpmn.definition.parser import xml
from mlkit.bpmn.definition.parser.reader import Reader
from mlkit.bpmn.definition.parser.xml import Element


def associations(root: Element) -> dict[str, str]:
    """Return what each association leads to, by the id of where it begins."""
    return {
        str(each.get("sourceRef")): str(each.get("targetRef"))
        for each in root.iter(f"{{{xml.BPMN}}}association")
    }


def read(reader: Reader) -> None:
    """Read where message flows lead, and the names of their messages.

    A pool without a process is the world outside: its messages come and go by commands.
    """
    collaboration = xml.child(reader.root, "collaboration")
    if collaboration is None:
        return
    pools = {
        str(each.get("id")): str(each.get("processRef") or "").rpartition(":")[2]
        for each in xml.children(collaboration, "participant")
    }
    flows = xml.children(collaboration, "messageFlow")
    nodes = {str(e.get("id")): e for e in reader.root.iter(f"{{{xml.BPMN}}}*")} if flows else {}
    for flow in flows:
        source, target = str(flow.get("sourceRef")), str(flow.get("targetRef"))
        ends = [nodes[each] for each in (source, target) if each in nodes]
        name = _name(reader, flow, ends)
        for end in (source, target):
            if end not in pools:
                reader.flow_names.setdefault(end, name)
        if pools.get(source, source) and pools.get(target, target):
            reader.flows.setdefault(source, []).append(reader.name(pools.get(target, target)))


def _name(reader: Reader, flow: Element, ends: list[Element]) -> str:
    """Return the name of the message that a flow carries: a message's, else the flow's own."""
    chosen = str(flow.get("messageRef") or "")
    chosen = chosen or next(filter(None, map(_message_of, ends)), "")
    message = reader.declared.get(chosen.rpartition(":")[2])
    named = None if message is None else message.get("name")
    return str(named or flow.get("name") or flow.get("id"))


def _message_of(node: Element) -> str:
    found = xml.child(node, "messageEventDefinition")
    return str((node if found is None else found).get("messageRef") or "")
