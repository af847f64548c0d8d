"""What a store of features offers to a server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Protocol

Row = Mapping[str, Any]
"""Features by name, as the store has them; their values are checked by the reader."""


class Subject(StrEnum):
    """What an id is of."""

    ARM = "arm"
    CONTEXT = "context"


class SourceFailed(Exception):
    """The store did not answer, or not as it should; the text describes how, without logins."""


class FeatureSource(Protocol):
    """A store of features. It may be asked again before it has answered."""

    async def fetch(
        self, subject: Subject, ids: Sequence[str], names: Sequence[str]
    ) -> Mapping[str, Row | None]:
        """Return the features of many ids.

        Args:
            subject: What the ids are of.
            ids: Different ids.
            names: The features that are wanted; others may come too.

        Returns:
            Rows by id; without an id that the store does not know. None: what the store has of
            the id is no row.

        Raises:
            SourceFailed: There is no answer that could be used.
        """

    async def close(self) -> None:
        """Close connections."""
