"""How many tokens are at the elements of a definition, over all instances of a version."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Lock

from mlkit.bpmn import render
from mlkit.bpmn.engine.engine import Engine
from mlkit.bpmn.engine.state import State
from mlkit.bpmn.journal.listings import Criteria
from mlkit.bpmn.journal.records import Deployed, Row
from mlkit.bpmn.runtime.service import Service
from mlkit.errors import MlkitError

MOST_READ = 500
"""Running instances, the newest ones, whose tokens are counted."""
_MOST_KNOWN = 5000
_KINDS = {
    "working": "running", "person": "waiting", "worker": "for workers", "timer": "until a time",
    "message": "for a message", "signal": "for a signal", "condition": "for a condition",
    "event": "for one of several events", "start": "to be started", "join": "at the join",
    "retry": "to retry", "suspended": "suspended", "incident": "stopped",
}  # fmt: skip


@dataclass(slots=True)
class Tally(render.Progress):
    """What is open at an element.

    Attributes:
        kinds: The numbers of tokens, by what they wait for.
    """

    kinds: Counter[str] = field(default_factory=Counter)

    @property
    def text(self) -> str:
        """Return it in a few characters."""
        return " ".join(
            f"{self.kinds[kind]} {name}" for kind, name in _KINDS.items() if self.kinds[kind]
        )


class Tallies:
    """Counts tokens: what waits is in the journal's index, what runs in the states.

    A state is read again when its instance has moved, so that instances whose scripts take long
    cost nothing.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[int, tuple[int, Counter[str]]] = OrderedDict()
        self._lock = Lock()

    def count(
        self, service: Service, deployed: Deployed, engine: Engine
    ) -> tuple[Mapping[str, Tally], bool]:
        """Return what is open by the id of the element, and whether all instances were counted."""
        found: dict[str, Tally] = {}
        place = deployed.process, deployed.definition
        for (element, kind), number in service.journal.index.count_open(*place).items():
            target = engine.graph.targets.get(element) if kind == "join" else None
            _add(found, element if target is None else target.id, kind, number)
        rows, is_whole = self._running(service, deployed)
        for element, number in self._count_working(service, rows).items():
            _add(found, element, "working", number)
        return found, is_whole

    @staticmethod
    def _running(service: Service, deployed: Deployed) -> tuple[list[Row], bool]:
        criteria = Criteria("running", deployed.process, deployed.definition)
        found = service.journal.index.search(criteria, None, MOST_READ + 1)
        rows = service.journal.rows_of([each.number for each in found[:MOST_READ]])
        return rows, len(found) <= MOST_READ

    def _count_working(self, service: Service, rows: list[Row]) -> Counter[str]:
        with self._lock:
            known = {each.number: self._known.get(each.number, (-1, Counter())) for each in rows}
        moved = [each for each in rows if known[each.number][0] != each.sequence]
        for row, recorded in service.journal.load_recorded(moved):
            try:
                state = service.session.state(row, recorded)
            except MlkitError:  # Damaged, or gone meanwhile: the list of instances shows it.
                continue
            known[row.number] = row.sequence, _count_working(state)
        self._remember(known)
        return sum((each for _, each in known.values()), Counter())

    def _remember(self, known: Mapping[int, tuple[int, Counter[str]]]) -> None:
        with self._lock:
            for number, each in known.items():
                self._known[number] = each
                self._known.move_to_end(number)
            while len(self._known) > _MOST_KNOWN:
                self._known.popitem(last=False)


def _count_working(state: State) -> Counter[str]:
    if state.status != "running" or state.suspended:
        return Counter()
    return Counter(
        each.node for each in state.activations.values() if each.status in ("working", "fetching")
    )


def _add(found: dict[str, Tally], element: str, kind: str, number: int) -> None:
    each = found.setdefault(element, Tally("running"))
    each.kinds[kind] += number
    if kind == "incident" or each.state == "failed":
        each.state = "failed"
    elif kind != "working":
        each.state = "waiting"
