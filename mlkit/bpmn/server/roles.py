"""The roles of a server, what each implies, and who acts for whom."""

from __future__ import annotations

import getpass
import os
import re

from mlkit.bpmn.people.directory import PeopleFile
from mlkit.web.access import Access, Caller, RawHeaders, Roles, part_of
from mlkit.web.errors import RequestError

HOW_TO_ADD = "--users names a file; `mlkit bpmn user add` makes one"
ROLES = {
    "viewer": "reads everything",
    "worker": "takes external tasks",
    "participant": "sees, claims and completes their own tasks",
    "operator": "starts, retries, cancels, sends messages and signals, changes variables",
    "deployer": "deploys definitions, which is running code",
}
TASKS = "tasks"
"""Not a role that somebody is given: to see tasks, which participants and viewers do."""
_IMPLIED = {
    "viewer": {TASKS},
    "participant": {TASKS},
    "operator": {"viewer", "participant", TASKS},
    "deployer": {"viewer", TASKS},
}
_PART = re.compile("(?=[@#])")


def with_implied(roles: Roles) -> Roles:
    """Return roles with what they imply, for the same part of the definitions."""
    found = set(roles)
    for each in roles:
        role, *part = _PART.split(each, maxsplit=1)
        found |= {"".join((implied, *part)) for implied in _IMPLIED.get(role, ())}
    return frozenset(found)


class KnownCallers:
    """Callers under their ids in the people file, with the roles that theirs imply.

    Args:
        access: Finds out who calls: by the id of a person, or by their address.
        people: Who they are.
    """

    def __init__(self, access: Access, people: PeopleFile) -> None:
        self._access = access
        self._people = people
        self.scheme = access.scheme
        self.description = access.description

    def caller(self, headers: RawHeaders) -> Caller:
        """Return the caller of a request."""
        caller = self._access.caller(headers)
        roles = None if caller.roles is None else with_implied(caller.roles)
        known = self._people.directory.get(caller.name) if caller.name else None
        if known is None:
            return caller._replace(roles=roles)
        aliases = frozenset({known.email.casefold()} - {""})
        return caller._replace(name=known.id, roles=roles, aliases=aliases)


def list_roles(caller: Caller) -> list[str]:
    """Return the roles of a caller as they are shown to them."""
    known = ROLES if caller.roles is None else caller.roles
    return sorted(each for each in known if part_of(each).role in ROLES)


def user() -> str:
    """Return the user of the system that runs this process."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # A container may have no name for its user.
        return f"user {os.getuid()}"


def acting(caller: Caller, person: str | None) -> str:
    """Return who acts: the caller, or whom it acts for.

    Raises:
        RequestError: 403: the caller may act for nobody else.
    """
    own = caller.name or "anybody"
    if person is None or person == own or person.casefold() in caller.aliases:
        return own
    if not caller.may("operator"):
        raise RequestError(
            403, f"{own} may not act for {person:.80}", "the role 'operator' may act for others"
        )
    return person
