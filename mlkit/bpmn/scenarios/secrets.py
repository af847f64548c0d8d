"""Mask the secrets of a scenario that leaves the machine on which its instance ran."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlkit.bpmn.people.masking import Mask
from mlkit.bpmn.scenarios.recording import Recording
from mlkit.bpmn.scenarios.scenario import Mock


def mask_secrets(recording: Recording, mask: Mask) -> list[str]:
    """Mask the recorded values of a scenario in place; ids and names of the diagram are kept.

    Returns:
        The names of what was masked, sorted: a run needs other values for them.
    """
    return _Masking(mask).take(recording)


class _Masking:
    def __init__(self, mask: Mask) -> None:
        self._mask = mask
        self._masked: set[str] = set()

    def take(self, recording: Recording) -> list[str]:
        found = recording.scenario
        found.variables, found.stores = self._values(found.variables), self._values(found.stores)
        found.key = self._text("the business key", found.key)
        for element, mocks in found.mocks.items():
            for mock in mocks if isinstance(mocks, list) else [mocks]:
                self._take_mock(element, mock)
        for answer in found.answers:
            answer.set = self._values(answer.set)
            if answer.comment is not None:
                answer.comment = self._text("comment", answer.comment)
        for message in found.messages:
            message.name = self._text("the name of a message", message.name)
            message.key = self._text("the key of a message", message.key)
            message.set = self._values(message.set)
        for signal in found.signals:
            signal.name = self._text("the name of a signal", signal.name)
            signal.set = self._values(signal.set)
        found.expect.variables = self._values(found.expect.variables)
        if found.expect.error is not None:
            found.expect.error = self._text("the code of the error", found.expect.error)
        recording.notes[:] = map(self._mask.text, recording.notes)
        return sorted(self._masked)

    def _take_mock(self, element: str, mock: Mock) -> None:
        mock.set = self._values(mock.set)
        mock.error = self._text(f"the error of {element}", mock.error)
        mock.fail = self._text(f"the failure of {element}", mock.fail)
        mock.message = self._text(f"the message of {element}", mock.message)

    def _values(self, given: Mapping[str, Any]) -> dict[str, Any]:
        found = self._mask.variables(given)
        self._masked |= {name for name, value in given.items() if found[name] != value}
        return found

    def _text(self, what: str, text: str) -> str:
        found = self._mask.text(text)
        if found != text:
            self._masked.add(what)
        return found
