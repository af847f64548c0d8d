"""What an attempt on a worker's machine leaves for its log, beside its result."""

from __future__ import annotations

from typing import Annotated

import msgspec

LONGEST = 100_000
"""Characters of a stream that travel."""
_MARK = 50


class Printed(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is kept of an attempt for its log; nothing is decided from it.

    Attributes:
        duration: In seconds.
        peak: The most memory that it took, in bytes.
        host: The machine and the process of the worker.
    """

    stdout: str = ""
    stderr: str = ""
    duration: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    peak: Annotated[int, msgspec.Meta(ge=0, le=2**53)] = 0
    host: Annotated[str, msgspec.Meta(max_length=255)] = ""

    def shorten(self) -> Printed:
        """Return it with the beginning and the end of each stream that is too long."""
        stdout, stderr = _shorten(self.stdout), _shorten(self.stderr)
        return msgspec.structs.replace(self, stdout=stdout, stderr=stderr)


def _shorten(text: str) -> str:
    if len(text) <= LONGEST:
        return text
    half = (LONGEST - _MARK) // 2
    return f"{text[:half]}\n[{len(text) - 2 * half} characters left out]\n{text[-half:]}"
