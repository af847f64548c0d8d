"""The people file: who they are, where their mail goes, and which groups they belong to.

A TOML file with a table for each person:

    [[people]]
    id = "ann"
    name = "Ann Lee"
    email = "ann@example.org"
    groups = ["owners"]
    digest = true
"""

from __future__ import annotations

import logging
import re
import threading
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from email.errors import MessageError
from email.headerregistry import Address
from pathlib import Path
from typing import Any

from mlkit.bpmn.people.tasks import Task
from mlkit.errors import BadData, InputMissing, MlkitError

logger = logging.getLogger("mlkit.bpmn")
_KEYS = {"id", "name", "email", "groups", "digest"}
_ID = re.compile(r"[^\s,/\x00-\x1f\x7f]{1,200}")
_MAILBOX = re.compile(r"[^@\s<>,;:\x00-\x1f\x7f]+@[^@\s<>,;:\x00-\x1f\x7f]+")


@dataclass(frozen=True, slots=True)
class Member:
    """Somebody who may do user tasks.

    Attributes:
        id: The name that diagrams and commands use.
        name: What mails and pages call them.
        email: Where mail goes; empty: they get none.
        groups: The groups that they belong to.
        digest: Whether they get one mail a day instead of one per task.
    """

    id: str
    name: str
    email: str = ""
    groups: frozenset[str] = frozenset()
    digest: bool = False

    @property
    def address(self) -> Address | None:
        """The address of a mail header; None where they get no mail."""
        return Address(display_name=self.name, addr_spec=self.email) if self.email else None


class Directory:
    """People by their ids.

    Args:
        members: Each id once.
    """

    def __init__(self, members: Iterable[Member] = ()) -> None:
        self.members = {each.id: each for each in members}
        self._by_address: dict[str, Member | None] = {}
        for each in filter(lambda member: member.email, self.members.values()):
            address = each.email.casefold()
            self._by_address[address] = None if address in self._by_address else each
        self._reached = {group for each in self.members.values() if each.email
                         for group in each.groups}  # fmt: skip

    def get(self, person: str) -> Member | None:
        """Return somebody by their id, or by their address.

        None where nobody has it; an address that several have is that of none.
        """
        return self.members.get(person) or self._by_address.get(person.casefold())

    def id_of(self, person: str) -> str:
        """Return the id of somebody whom a login, a diagram or a command names, by id or address.

        Those who are not known are who they are called. Everything that compares people, or keeps
        something of one, asks this.
        """
        found = self.get(person)
        return person if found is None else found.id

    def names_of(self, person: str) -> tuple[str, ...]:
        """Return what diagrams may call somebody: their id and their address."""
        found = self.get(person)
        if found is None:
            return (person,)
        return (found.id, found.email) if found.email else (found.id,)

    def name_of(self, person: str) -> str:
        """Return what somebody is called; those who are not known by what they were given as."""
        found = self.get(person)
        return person if found is None else found.name

    def groups_of(self, person: str) -> frozenset[str]:
        """Return the groups of a person; none where they are not known."""
        found = self.get(person)
        return frozenset() if found is None else found.groups

    def may_do(self, task: Task, person: str) -> bool:
        """Return whether a task waits for a person: as its assignee, else as a candidate.

        A task for nobody in particular is for everybody.
        """
        if task.assignee is not None:
            return self._is(task.assignee, person)
        if not task.users and not task.groups:
            return True
        return any(self._is(each, person) for each in task.users) or bool(
            self.groups_of(person) & set(task.groups)
        )

    def _is(self, named: str, person: str) -> bool:
        return self.id_of(named) == self.id_of(person)

    def recipients(self, task: Task) -> list[Member]:
        """Return who is asked to do a task: its assignee, else its candidates, each once.

        Somebody whom a diagram names by an address gets mail without being in the file.
        """
        if task.assignee is not None:
            found = [self._find_by_name(task.assignee)]
        else:
            groups = set(task.groups)
            members = [each for each in self.members.values() if each.groups & groups]
            found = [*(self._find_by_name(each) for each in task.users), *members]
        return list({each.id: each for each in found if each is not None}.values())

    def list_unreached(self, task: Task) -> list[str]:
        """Return whom a task waits for and whom no mail reaches, by what the diagram calls them.

        People who are not in the file, or have no address in it; groups in which nobody has one.
        """
        if task.assignee is not None:
            return [] if self._is_reached(task.assignee) else [task.assignee]
        people = [each for each in task.users if not self._is_reached(each)]
        return [*people, *(each for each in task.groups if each not in self._reached)]

    def _is_reached(self, person: str) -> bool:
        found = self._find_by_name(person)
        return found is not None and bool(found.email)

    def _find_by_name(self, person: str) -> Member | None:
        found = self.get(person)
        if found is None and _MAILBOX.fullmatch(person) and _is_address(person):
            found = Member(person, person, person)
        return found


def read_people(path: Path) -> Directory:
    """Read a people file.

    Raises:
        InputMissing: It cannot be read.
        BadData: It is not a people file; the message names the place.
    """
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise InputMissing(f"{path}: {error.strerror}", hint="--people names a file") from error
    except UnicodeDecodeError as error:
        raise BadData(f"{path}: not UTF-8 text", hint="save it as UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise BadData(f"{path}: not TOML: {error}") from error
    hint = "a person is a table [[people]] with id, name, email and groups"
    unknown = sorted(set(document) - {"people"})
    listed = document.get("people", [])
    if unknown or not isinstance(listed, list):
        what = f"unknown table {unknown[0]!r}" if unknown else "`people` is not an array of tables"
        raise BadData(f"{path}: {what}", hint=hint)
    members: dict[str, Member] = {}
    for number, each in enumerate(listed, 1):
        try:
            member = _member(each)
            if member.id in members:
                raise ValueError(f"id {member.id!r} appears twice")
        except ValueError as error:
            raise BadData(f"{path}: person {number}: {error}", hint=hint) from None
        members[member.id] = member
    return Directory(members.values())


def _member(table: Any) -> Member:
    if not isinstance(table, dict):
        raise ValueError("is not a table")
    unknown = sorted(set(table) - _KEYS)
    if unknown:
        raise ValueError(f"unknown key {unknown[0]!r}")
    identifier = _text(table, "id")
    if not _ID.fullmatch(identifier):
        raise ValueError(f"id {identifier!r}: expected a name without spaces, commas and slashes")
    email = _text(table, "email")
    if email and not _is_address(email):
        raise ValueError(f"email {email!r} is not an address")
    digest = table.get("digest", False)
    if not isinstance(digest, bool):
        raise ValueError("digest is neither true nor false")
    name = " ".join(_text(table, "name").split()) or identifier
    return Member(identifier, name, email, _groups(table), digest)


def _text(table: Mapping[str, Any], key: str) -> str:
    value = table.get(key, "")
    if not isinstance(value, str):
        raise ValueError(f"{key} is not text")
    return value


def _groups(table: Mapping[str, Any]) -> frozenset[str]:
    value = table.get("groups", [])
    if not isinstance(value, list) or not all(isinstance(each, str) and each for each in value):
        raise ValueError("groups is not a list of names")
    return frozenset(value)


def _is_address(text: str) -> bool:
    if not _MAILBOX.fullmatch(text):
        return False
    try:
        return Address(addr_spec=text).addr_spec == text
    except (ValueError, MessageError, IndexError):
        return False


class PeopleFile:
    """A people file that is read again when it changes.

    A file that is broken, or missing for a while, keeps the people that were read last.

    Args:
        path: The file; None: nobody is known.

    Attributes:
        problem: What is wrong with the file as it is now; None where nothing is.

    Raises:
        InputMissing: The file cannot be read at first.
        BadData: It is not a people file at first.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self.problem: MlkitError | None = None
        self._lock = threading.Lock()
        self._noted: set[str] = set()
        self._version = self._stamp()
        self._directory = Directory() if path is None else read_people(path)

    @property
    def directory(self) -> Directory:
        """The people of the file as it is now, or as it was when it was last valid."""
        with self._lock:
            version = self._stamp()
            if self.path is not None and version != self._version:
                self._version = version
                try:
                    self._directory = read_people(self.path)
                    self._noted.clear()
                    self.problem = None
                    logger.info("%s: read again", self.path)
                except MlkitError as error:
                    self.problem = error
                    logger.error("%s; the people that were read last stay", error.message)
            return self._directory

    def note(self, person: str) -> bool:
        """Return whether somebody is noted for the first time since the file was read."""
        with self._lock:
            is_new = person not in self._noted
            self._noted.add(person)
            return is_new

    def _stamp(self) -> tuple[int, int, int] | None:
        try:
            found = None if self.path is None else self.path.stat()
        except OSError:
            return None
        return None if found is None else (found.st_mtime_ns, found.st_size, found.st_ino)
