"""Which candidates a model has had: at most one at a time, and none that has ended comes back."""

from __future__ import annotations

from typing import NamedTuple

from mlkit.bandit.server.processes.protocol import StartCandidate, Switch


class Course(NamedTuple):
    """What has become of candidates so far.

    Attributes:
        candidate: The hash of the one that answers; None: none does.
        share: Its share of the traffic.
        ended: Hashes of those that were promoted or rolled back.
    """

    candidate: str | None = None
    share: float = 0.0
    ended: frozenset[str] = frozenset()

    def after(self, request: StartCandidate | Switch) -> Course:
        """Return the course after a request; the same, if the request has no effect."""
        if isinstance(request, StartCandidate):
            if request.digest in self.ended or self.candidate not in (None, request.digest):
                return self
            return self._replace(candidate=request.digest, share=request.share)
        if self.candidate is None or request.candidate not in ("", self.candidate):
            return self
        return Course(None, 0.0, self.ended | {self.candidate})
