"""What the pages of a server know about people: who they are, what they may do, their links."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import NamedTuple

from mlkit.bpmn.journal.protocol import Journal
from mlkit.bpmn.people import recipients
from mlkit.bpmn.people.directory import Directory, PeopleFile
from mlkit.bpmn.people.links import Links
from mlkit.bpmn.people.tasks import Task


@dataclass(frozen=True)
class People:
    """The people of a server.

    Attributes:
        file: Who they are.
        links: Signs links, and the forms of pages.
        open_links: Whether a signed link opens a task without a login.
        mails: Whether people are told by mail, or are known: else nobody misses a mail.
    """

    file: PeopleFile
    links: Links
    open_links: bool = True
    mails: bool = False

    def list_unreached(self, task: Task) -> list[str]:
        """Return whom a task waits for and whom no mail reaches; see `Directory`."""
        return self.file.directory.list_unreached(task) if self.mails else []


class Visitor(NamedTuple):
    """Who looks at a page.

    Attributes:
        person: Their id; empty where nobody is known.
        directory: The people, as they are now.
        substitutes: Who stands in for whom now.
        everything: Whether they may do any task: operators, and the only user of a machine.
        acts: Whether they may do tasks at all; who only views may not.
    """

    person: str
    directory: Directory
    substitutes: dict[str, str]
    everything: bool = False
    acts: bool = True

    @property
    def name(self) -> str:
        """What they are called."""
        return self.directory.name_of(self.person)

    def may(self, task: Task) -> bool:
        """Return whether they may do a task."""
        return self.acts and (
            self.everything
            or recipients.may_do(task, self.person, self.directory, self.substitutes)
        )

    def has(self, task: Task) -> bool:
        """Return whether they have claimed a task, themselves or as a substitute."""
        return recipients.has(task, self.person, self.directory, self.substitutes)

    def holds(self, task: Task) -> bool:
        """Return whether a task is theirs already."""
        return recipients.is_mine(task, self.person, self.directory, self.substitutes)

    def shares(self, task: Task) -> bool:
        """Return whether a task waits for a group of theirs, or for anybody."""
        if task.assignee is not None:
            return False
        groups = self.directory.groups_of(self.person)
        return bool(groups & set(task.groups)) or not (task.users or task.groups)

    def whom(self, task: Task) -> str:
        """Return whom a task waits for, by their names."""
        named = [task.assignee] if task.assignee is not None else [*task.users, *task.groups]
        return ", ".join(map(self.directory.name_of, named)) or "anybody"


def visitor(people: People, journal: Journal, person: str, everything: bool = False) -> Visitor:
    """Return who looks at a page, with what holds for them now."""
    known = people.file.directory
    substitutes = recipients.find_substitutes(journal.absences, known, time.time())
    return Visitor(known.id_of(person), known, substitutes, everything)
