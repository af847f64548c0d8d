"""A process as an owner of instances, however it shows that it lives."""

from __future__ import annotations

from typing import Protocol


class Owner(Protocol):
    """This process, and what it knows of the others.

    Attributes:
        name: Its name, empty before it has registered.
    """

    name: str

    def register(self) -> str:
        """Return this owner's name, which is alive from now on.

        Raises:
            ServiceUnavailable: It was, and others may have taken what it owned; see `disown`.
        """

    def disown(self) -> None:
        """Own nothing any more, and be another owner from now on."""

    def holds(self) -> bool:
        """Return whether the others certainly still see this owner as alive."""

    def renew(self) -> bool:
        """Extend the time that this owner is alive; return whether it still is."""

    def is_alive(self, name: str) -> bool:
        """Return whether the owner with this name lives."""

    def living(self) -> set[str]:
        """Return the names of all owners that live."""

    def bury(self, name: str) -> None:
        """Make sure, inside a transaction, that a dead owner stays dead."""

    def close(self) -> None:
        """Give up all that this owner has."""
