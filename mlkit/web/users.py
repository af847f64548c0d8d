"""The users file: who may log in, their password hashes, and what they and their groups may do.

    # NAME   RIGHTS               PASSWORD
    ann      operator,deployer    $argon2id$v=19$m=65536,t=3,p=4$...
    bob      participant@loans    $argon2id$...
    @owners  viewer#finance

A line of a group has no password; `-` stands for no rights, or for no password.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import re
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from mlkit.errors import BadData, ConfigurationError, InputMissing, MlkitError
from mlkit.files import replacing
from mlkit.web.access import NONE, Roles, read_roles
from mlkit.web.passwords import PREFIX

HINT = "a line is NAME RIGHTS PASSWORD or @GROUP RIGHTS"
_NAME = re.compile(r"[^\s,/@#\x00-\x1f\x7f][^\s,/\x00-\x1f\x7f]{0,199}")
GROUP = "@"
"""Begins the line of a group."""
logger = logging.getLogger("mlkit.web")


class User(NamedTuple):
    """Somebody who may log in.

    Attributes:
        name: Their id.
        roles: What they may do, beside what their groups may.
        password: The hash of the password; None: they log in elsewhere.
    """

    name: str
    roles: Roles
    password: str | None = None


class Users(NamedTuple):
    """What a users file holds: users by name, and what groups may do."""

    users: Mapping[str, User]
    groups: Mapping[str, Roles]

    def roles(self, name: str, groups: Iterable[str]) -> Roles:
        """Return what somebody may do: by their line, and by those of their groups."""
        own = self.users[name].roles if name in self.users else frozenset()
        return own.union(*(self.groups.get(each, frozenset()) for each in groups))


NOBODY = Users({}, {})
"""What there is where there is no users file."""


def require_name(name: str) -> str:
    """Return a name that a user may have.

    Raises:
        BadData: It is none.
    """
    if not _NAME.fullmatch(name) or not name.isprintable() or name == NONE:
        hint = "up to 200 characters, without spaces, commas and slashes; not beginning with @ or #"
        raise BadData(f"{name!r:.80} is not a name of a user", hint=hint)
    return name


def read_users(path: Path, roles: Collection[str], hint: str) -> Users:
    """Read a users file.

    Args:
        path: The file.
        roles: The roles that there are.
        hint: What makes a file that is missing.

    Raises:
        InputMissing: It cannot be read.
        ConfigurationError: Other users of the system may read it.
        BadData: A line is none, or names somebody twice.
    """
    return parse_users(_text(path, hint), str(path), roles)


def parse_users(text: str, place: str, roles: Collection[str]) -> Users:
    """Read the text of a users file.

    Raises:
        BadData: A line is none, or names somebody twice.
    """
    users: dict[str, User] = {}
    groups: dict[str, Roles] = {}
    seen: set[str] = set()
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        where = f"{place}:{number}"
        if words[0] in seen:
            raise BadData(f"{where}: {words[0]!r:.80} appears twice", hint=HINT)
        seen.add(words[0])
        if words[0].startswith(GROUP) and len(words) == 2:
            groups[words[0][1:]] = read_roles(where, words[1], roles)
        else:
            user = _user(where, words, roles)
            users[user.name] = user
    return Users(users, groups)


def _user(place: str, words: list[str], roles: Collection[str]) -> User:
    if len(words) != 3 or not (words[2] == NONE or words[2].startswith(PREFIX)):
        raise BadData(f"{place}: not a line of a users file", hint=HINT)
    try:
        name = require_name(words[0])
    except BadData as error:
        raise BadData(f"{place}: {error.message}", hint=error.hint) from None
    password = None if words[2] == NONE else words[2]
    return User(name, read_roles(place, words[1], roles), password)


def _text(path: Path, hint: str) -> str:
    try:
        with path.open("rb") as opened:
            others = os.fstat(opened.fileno()).st_mode & 0o077
            content = opened.read()
    except OSError as error:
        raise InputMissing(f"{path}: {error.strerror}", hint=hint) from error
    if others:
        hint = f"chmod 600 {path}"
        raise ConfigurationError(f"{path}: other users of the system may read it", hint=hint)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadData(f"{path}: not UTF-8", hint=HINT) from error


class UsersFile:
    """A users file that is read again when it changes.

    One that is broken keeps the users that were read last, and a line of the log states why.

    Raises:
        MlkitError: The file cannot be used at first.
    """

    def __init__(self, path: Path, roles: Collection[str], hint: str) -> None:
        self.path = path
        self._roles = roles
        self._hint = hint
        self._lock = threading.Lock()
        self._version = _stamp(path)
        self._users = read_users(path, roles, hint)

    @property
    def users(self) -> Users:
        """The users of the file as it is now, or as it was when it was last valid."""
        with self._lock:
            version = _stamp(self.path)
            if version != self._version:
                self._version = version
                try:
                    self._users = read_users(self.path, self._roles, self._hint)
                except MlkitError as error:
                    logger.error("the users file is not read again: %s", error.message)
            return self._users


def _stamp(path: Path) -> tuple[int, ...] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino


@contextlib.contextmanager
def changing(path: Path, hint: str, create: bool = False) -> Iterator[list[str]]:
    """Change the lines of a users file: one process at a time, and whole or not at all.

    Args:
        path: The file.
        hint: What makes a file that is missing.
        create: Whether one that is missing is made, readable by its owner alone.

    Yields:
        The lines, to be changed in place.

    Raises:
        MlkitError: The file cannot be read or written.
    """
    with _lock(path, hint, create):
        lines = _text(path, hint).splitlines()
        yield lines
        with replacing(path, 0o600) as file:
            file.write("".join(f"{each}\n" for each in lines).encode())


@contextlib.contextmanager
def _lock(path: Path, hint: str, create: bool) -> Iterator[None]:
    flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0)
    while True:
        try:
            handle = os.open(path, flags, 0o600)
        except OSError as error:
            raise InputMissing(f"{path}: {error.strerror}", hint=hint) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            # Whoever had the lock before has put another file in its place.
            if _is_at(handle, path):
                yield
                return
        finally:
            os.close(handle)


def _is_at(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def find_line(lines: list[str], name: str) -> int | None:
    """Return which line is about a user or `@GROUP`; None: there is none."""
    for number, line in enumerate(lines):
        if line.split()[:1] == [name]:
            return number
    return None
