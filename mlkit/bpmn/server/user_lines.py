"""Changes of a users file: each keeps all other lines, and the file stays sound."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mlkit.bpmn.server.roles import HOW_TO_ADD, ROLES
from mlkit.errors import InputMissing, UsageError
from mlkit.web.access import read_roles
from mlkit.web.passwords import hash_password
from mlkit.web.users import GROUP, Users, changing, find_line, parse_users, read_users, require_name

_KNOWN = tuple(ROLES)


def require_new(path: Path, name: str, rights: str) -> None:
    """Refuse a user who already exists, before anybody types a password.

    Raises:
        MlkitError: They are, the name or the rights are wrong, or the file cannot be used.
    """
    read_roles("--rights", rights, _KNOWN)
    if path.exists() and require_name(name) in read_users(path, _KNOWN, HOW_TO_ADD).users:
        raise _there(name)


def require_known(path: Path, name: str) -> None:
    """Refuse a user who is not there.

    Raises:
        MlkitError: They are not, or the file cannot be used.
    """
    if name not in read_users(path, _KNOWN, HOW_TO_ADD).users:
        raise _missing(path, name)


def add(path: Path, name: str, rights: str, password: str) -> None:
    """Add a user; the file is made where there is none.

    Raises:
        MlkitError: They are there already, the name, the rights or the password is wrong, or the
            file cannot be used.
    """
    require_name(name)
    read_roles("--rights", rights, _KNOWN)
    line = f"{name} {rights} {hash_password(password)}"
    with changing(path, HOW_TO_ADD, create=True) as lines:
        _sound(path, lines)
        if find_line(lines, name) is not None:
            raise _there(name)
        lines.append(line)


def set_password(path: Path, name: str, password: str) -> None:
    """Change the password of a user.

    Raises:
        MlkitError: They are not there, the password is wrong, or the file cannot be used.
    """
    stored = hash_password(password)
    with changing(path, HOW_TO_ADD) as lines:
        user = _sound(path, lines).users.get(name)
        number = find_line(lines, name)
        if user is None or number is None:
            raise _missing(path, name)
        lines[number] = f"{name} {lines[number].split()[1]} {stored}"


def set_rights(path: Path, name: str, rights: str) -> None:
    """Change what a user, or a `@GROUP`, may do; a group is added where it is not there.

    Raises:
        MlkitError: The user is not there, the rights are wrong, or the file cannot be used.
    """
    read_roles(name, rights, _KNOWN)
    is_group = name.startswith(GROUP)
    require_name(name.removeprefix(GROUP))
    with changing(path, HOW_TO_ADD) as lines:
        _sound(path, lines)
        number = find_line(lines, name)
        if number is None and not is_group:
            raise _missing(path, name)
        if number is None:
            lines.append(f"{name} {rights}")
        else:
            lines[number] = " ".join((name, rights, *lines[number].split()[2:]))


def remove(path: Path, name: str) -> None:
    """Remove a user or a `@GROUP`.

    Raises:
        MlkitError: They are not there, or the file cannot be used.
    """
    with changing(path, HOW_TO_ADD) as lines:
        _sound(path, lines)
        number = find_line(lines, name)
        if number is None:
            raise _missing(path, name)
        del lines[number]


def list_users(path: Path) -> list[dict[str, Any]]:
    """Return the users and groups of a file as documents have them.

    Raises:
        MlkitError: The file cannot be used.
    """
    found = read_users(path, _KNOWN, HOW_TO_ADD)
    users = [(each.name, each.roles, each.password is not None) for each in found.users.values()]
    groups = [(f"{GROUP}{name}", roles, False) for name, roles in found.groups.items()]
    return [
        {"name": name, "rights": sorted(roles), "password": password}
        for name, roles, password in (*users, *groups)
    ]


def _sound(path: Path, lines: list[str]) -> Users:
    return parse_users("\n".join(lines), str(path), _KNOWN)


def _there(name: str) -> UsageError:
    return UsageError(
        f"user {name} already exists", hint="`user passwd` and `user rights` change them"
    )


def _missing(path: Path, name: str) -> InputMissing:
    return InputMissing(
        f"{path}: there is no {name!r:.80}", hint=f"`mlkit bpmn user list --users {path}`"
    )
