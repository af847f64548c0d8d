"""Signed links: one task, one person, a limited time.

A link is a bearer secret: whoever has it may do what its person may do with its task. It is bound
to the assignment too, so that a task that is given to somebody else leaves no key behind.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from itsdangerous import BadSignature, URLSafeSerializer

from mlkit.errors import BadData, ConfigurationError, InputMissing, UsageError
from mlkit.files import replacing

LIFETIME = 14 * 86400.0
"""Seconds for which a link is good."""
KEY_BYTES = 32
FILE_NAME = "links.key"


class _Named(NamedTuple):
    """What errors call what a token stands for, and what they advise."""

    name: str
    of_forged: str
    of_expired: str


_LINK = _Named("link", "open it as the mail has it, all of it", "log in, or ask for the task again")
_FORM = _Named("form", "open the page again, and fill it there", "open the page again")


class Forged(BadData):
    """A link, or a form, that this server has not made."""


class Expired(BadData):
    """A link whose time is over."""


@dataclass(frozen=True, slots=True)
class Link:
    """What a link stands for.

    Attributes:
        task: `INSTANCE/ACTIVATION`.
        person: Whose link it is.
        expires: When it ends, in seconds since 1970.
    """

    task: str
    person: str
    expires: float


class Links:
    """Makes and reads the links of a server.

    Args:
        key: The secret.
        lifetime: Seconds for which a link is good.
    """

    def __init__(self, key: bytes, lifetime: float = LIFETIME) -> None:
        self.lifetime = lifetime
        self._links = URLSafeSerializer(key, salt="mlkit.task-link")
        self._forms = URLSafeSerializer(key, salt="mlkit.task-form")
        self._uploads = URLSafeSerializer(key, salt="mlkit.upload")

    def make(self, task: str, person: str, now: float | None = None) -> str:
        """Return the token of a link."""
        expires = (time.time() if now is None else now) + self.lifetime
        return self._write(self._links, task, person, int(expires))

    def read(self, token: str, now: float | None = None) -> Link:
        """Return what a token stands for.

        Raises:
            Forged: This server has not made it.
            Expired: Its time is over.
        """
        return self._read(self._links, token, now, _LINK)

    def form(self, task: str, person: str, now: float | None = None) -> str:
        """Return the token that the form of a page sends back: no other site can know it."""
        expires = (time.time() if now is None else now) + self.lifetime
        return self._write(self._forms, task, person, int(expires))

    def require_form(self, token: str, task: str, person: str, now: float | None = None) -> None:
        """Refuse a form that was not filled on a page for this task and person.

        Raises:
            Forged: It was not.
            Expired: The page is too old.
        """
        found = self._read(self._forms, token, now, _FORM)
        if (found.task, found.person) != (task, person):
            raise Forged("the form is not for this task and person", hint="open the task again")

    def sign_file(self, task: str, reference: Mapping[str, Any]) -> str:
        """Return the token by which a form that comes back names a file that was uploaded."""
        return str(self._uploads.dumps([task, dict(reference)]))

    def upload(self, task: str, token: str) -> dict[str, Any]:
        """Return the reference to a file that was uploaded for a task.

        Raises:
            Forged: It was not.
        """
        try:
            found, reference = self._uploads.loads(token)
        except (BadSignature, ValueError, TypeError):
            found, reference = "", {}
        if found != task or not isinstance(reference, dict):
            raise Forged("the file was not uploaded for this task", hint="choose it again")
        return reference

    def _write(self, kind: URLSafeSerializer, task: str, person: str, expires: int) -> str:
        return str(kind.dumps([task, person, expires]))

    def _read(self, kind: URLSafeSerializer, token: str, now: float | None, named: _Named) -> Link:
        try:
            task, person, expires = kind.loads(token)
            link = Link(str(task), str(person), float(expires))
        except (BadSignature, ValueError, TypeError) as error:
            hint = named.of_forged
            raise Forged(f"the {named.name} is not one of this server", hint=hint) from error
        if (time.time() if now is None else now) > link.expires:
            raise Expired(f"the {named.name} has expired", hint=named.of_expired)
        return link


def key_of(state: Path, file: Path | None = None) -> bytes:
    """Return the secret of the links: of a file, else of the state folder, where it is made once.

    Raises:
        InputMissing: The file cannot be read.
        ConfigurationError: It is too short, or others may read it.
    """
    if file is None:
        file = state / FILE_NAME
        _make(file)
    return _read(file)


def require_key(state: Path) -> bytes:
    """Return the secret that a state folder has; see `key_of`.

    Raises:
        InputMissing: It has none, or it cannot be read.
    """
    file = state / FILE_NAME
    if not file.exists():
        hint = "without a server there are no links; the file of --secret-file is moved by itself"
        raise InputMissing(f"{file}: no key that signs links", hint=hint)
    return _read(file)


def require_no_other_key(state: Path, key: bytes) -> None:
    """Refuse a state folder that has a secret other than one that it is to have.

    Raises:
        UsageError: It has.
    """
    file = state / FILE_NAME
    if file.exists() and _read(file) != key:
        raise UsageError(
            f"{file}: another key that signs links is there",
            hint="remove it if no mail that it signed matters any more, or choose another --state",
        )


def keep_key(state: Path, key: bytes) -> None:
    """Let a state folder have a secret."""
    with replacing(state / FILE_NAME, 0o600) as file:
        file.write(key + b"\n")


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            others = os.fstat(opened.fileno()).st_mode & 0o077
            key = opened.read(65536).strip()
    except OSError as error:
        hint = "--secret-file names a file"
        raise InputMissing(f"{file}: {error.strerror}", hint=hint) from error
    if others:
        raise ConfigurationError(f"{file}: other users may read it", hint=f"chmod 600 {file}")
    if len(key) < KEY_BYTES:
        hint = f"`head -c {KEY_BYTES} /dev/urandom | base64 > FILE` makes one"
        raise ConfigurationError(f"{file}: a secret of at least {KEY_BYTES} bytes", hint=hint)
    return key


def _make(file: Path) -> None:
    """Make a key, once: of several servers that begin together, the first one's is used."""
    if file.exists():
        return
    part = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    try:
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "w") as opened:
            opened.write(secrets.token_hex(KEY_BYTES) + "\n")
            opened.flush()
            os.fsync(opened.fileno())
        try:
            os.link(part, file)
        except FileExistsError:
            return
    except OSError as error:
        raise ConfigurationError(f"{file}: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)
