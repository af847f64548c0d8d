"""The HTTP status of each error of mlkit, in one place."""

from __future__ import annotations

from mlkit.bpmn.journal.records import Refused, TakenOver
from mlkit.errors import (
    BadData,
    InputMissing,
    MlkitError,
    ServiceUnavailable,
    UsageError,
    Waiting,
)
from mlkit.web.errors import ProblemDocuments, RequestError

_STATUS: tuple[tuple[type[MlkitError], int], ...] = (
    (Refused, 409),
    (TakenOver, 409),
    (UsageError, 400),
    (BadData, 422),
    (InputMissing, 404),
    (Waiting, 503),
    (ServiceUnavailable, 503),
    (MlkitError, 500),
)
"""The first class that an error belongs to decides."""


class Problems(ProblemDocuments):
    """The errors of mlkit as problem documents, with the hints of the command line."""

    def translate(self, error: Exception) -> RequestError | None:
        """Return the answer to an error of mlkit."""
        for kind, status in _STATUS:
            if isinstance(error, kind):
                retry = ((b"retry-after", b"1"),) if status == 503 else ()
                hint, code = error.hint or "", error.exit_code
                return RequestError(status, error.message, hint, retry, code)
        return None
