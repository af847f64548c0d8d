"""From a task to those who are asked: through absences, and as they want to be asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from mlkit.bpmn.journal.notices import Mail
from mlkit.bpmn.journal.parts import Absences
from mlkit.bpmn.people.directory import Directory, Member
from mlkit.bpmn.people.tasks import Task, is_allowed
from mlkit.errors import UsageError

INSTEAD_OF = "instead_of"
"""Whom the person of a mail is asked instead of, in the content of the mail."""
ABSENT = "absent"
"""All whom the person of a mail stands in for, likewise, also where they are asked themselves."""


class Recipient(NamedTuple):
    """Somebody who is asked to do a task.

    Attributes:
        member: Who gets the mail.
        instead_of: Whom they stand in for; None: nobody.
        daily: Whether they want one mail a day.
        absent: Everybody who is asked and whom they stand in for, also where they are asked
            themselves.
    """

    member: Member
    instead_of: Member | None = None
    daily: bool = False
    absent: tuple[Member, ...] = ()


def find_substitutes(absences: Absences, directory: Directory, at: float) -> dict[str, str]:
    """Return who stands in for whom at a time, by their ids."""
    found = absences.now(at).items()
    return {directory.id_of(person): directory.id_of(other) for person, other in found}


def find_digests(absences: Absences, directory: Directory) -> dict[str, bool]:
    """Return what people chose, by their ids: whether they want one mail a day."""
    chosen = absences.digests()
    by_id = {each: daily for each, daily in chosen.items() if directory.id_of(each) == each}
    return {**{directory.id_of(each): daily for each, daily in chosen.items()}, **by_id}


def recipients(
    task: Task,
    directory: Directory,
    substitutes: Mapping[str, str],
    digests: Mapping[str, bool],
) -> list[Recipient]:
    """Return who is asked to do a task, each once; who is asked for themselves goes first.

    Args:
        task: The task.
        directory: The people.
        substitutes: Who stands in for whom now.
        digests: What people chose: whether they want one mail a day.
    """
    found: dict[str, Recipient] = {}
    for member in directory.recipients(task):
        identifier = substitute_of(member.id, substitutes)
        there = member if identifier == member.id else directory.get(identifier)
        there = there or Member(identifier, identifier)
        daily = digests.get(there.id, there.digest)
        known = found.get(there.id) or Recipient(there, member, daily)
        if there is member:
            found[there.id] = known._replace(instead_of=None)
        else:
            found[there.id] = known._replace(absent=(*known.absent, member))
    return list(found.values())


def substitute_of(person: str, substitutes: Mapping[str, str]) -> str:
    """Return who does a person's tasks now; substitutes of substitutes count.

    Where all of a circle are away, the task stays where it is.
    """
    seen = [person]
    while seen[-1] in substitutes:
        after = substitutes[seen[-1]]
        if after in seen:
            return person
        seen.append(after)
    return seen[-1]


def forwarded_to(mail: Mail, substitutes: Mapping[str, str]) -> str | None:
    """Return who gets a queued mail instead of its person, as absences are now; None: nobody."""
    if mail.state != "queued" or not mail.person:
        return None
    own = [] if INSTEAD_OF in mail.content else [mail.person]
    found = [substitute_of(each, substitutes) for each in (*own, *absent_of(mail))]
    return None if mail.person in found else found[0]


def absent_of(mail: Mail) -> list[str]:
    """Return for whom the person of a mail was to stand in when it was queued."""
    one = mail.content.get(INSTEAD_OF)  # Older versions noted no other.
    return list(mail.content.get(ABSENT, () if one is None else (one,)))


def is_asked_apart(recipient: Recipient, mail: Mail) -> bool:
    """Return whether somebody is asked for themselves, and so not by the mail of another one."""
    wanted = {mail.person, *absent_of(mail)}
    return recipient.instead_of is None and recipient.member.id not in wanted


def acts_for(person: str, substitutes: Mapping[str, str]) -> list[str]:
    """Return for whom somebody does tasks now: for themselves, and for those who are away."""
    away = (each for each in substitutes if substitute_of(each, substitutes) == person)
    return [person, *away]


def may_do(task: Task, person: str, directory: Directory, substitutes: Mapping[str, str]) -> bool:
    """Return whether somebody may do a task: for themselves, or for somebody who is away."""
    return any(directory.may_do(task, each) for each in acts_for(person, substitutes))


def may_claim(
    task: Task, person: str, directory: Directory, substitutes: Mapping[str, str]
) -> bool:
    """Return whether somebody may do a task, where members of groups are not known."""
    assignee = None if task.assignee is None else directory.id_of(task.assignee)
    users = list(map(directory.id_of, task.users))
    known = replace(task, assignee=assignee, users=users)
    return any(is_allowed(known, each) for each in acts_for(directory.id_of(person), substitutes))


def is_mine(task: Task, person: str, directory: Directory, substitutes: Mapping[str, str]) -> bool:
    """Return whether a task is assigned to a person, or to somebody whose substitute they are."""
    named = [task.assignee] if task.assignee is not None else task.users
    ids = set(map(directory.id_of, named))
    return any(person == each or substitute_of(each, substitutes) == person for each in ids)


def has(task: Task, person: str, directory: Directory, substitutes: Mapping[str, str]) -> bool:
    """Return whether a person, or somebody whose substitute they are, has claimed a task."""
    return task.assignee is not None and is_mine(task, person, directory, substitutes)


def require_absence(person: str, substitute: str, begins: float, ends: float, now: float) -> None:
    """Refuse an absence that makes no sense.

    Raises:
        UsageError: Nobody is named, it is over before it begins, or has ended already.
    """
    if not person.strip() or not substitute.strip():
        raise UsageError("an absence needs a person and a substitute")
    if person == substitute:
        raise UsageError(f"{person} cannot stand in for themselves")
    if ends <= begins:
        raise UsageError("the absence ends before it begins")
    if ends <= now:
        raise UsageError("the absence is over already")
