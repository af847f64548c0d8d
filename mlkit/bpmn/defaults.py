"""Defaults of pipelines, which options show without an import of what they set."""

from __future__ import annotations

from typing import Final

PORT: Final = 8080
MAX_BODY: Final = 4 << 20
"""Bytes of a request's body."""
MAX_UPLOAD: Final = 64 << 20
"""Bytes of a deployment, or of a form with files."""
MESSAGE_LIFE: Final = 604_800.0
"""Seconds for which a message is kept that nobody waits for."""
MAIL_FROM: Final = "mlkit@localhost"
ATTACH_LIMIT: Final = 10.0
"""Megabytes of the documents that a mail has attached."""
DIGEST_HOUR: Final = 8
WORKER_LOCK: Final = 60.0
"""Seconds for which a worker locks a task."""
WORKER_RETRIES: Final = 3
WORKER_PAUSE: Final = 10.0
"""Seconds before a failed task is tried again."""
