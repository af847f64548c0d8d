"""A bill of materials as an attestation: an in-toto statement about one manifest.

With a key, `cosign` makes and signs the statement; its bundle is what is attached, and
`cosign verify-attestation` finds it in a registry.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mlkit.errors import ServiceUnavailable
from mlkit.image.filesystem.referrers import Attachment
from mlkit.scratch import scratch

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://cyclonedx.org/bom"
PLAIN, BUNDLE = "application/vnd.in-toto+json", "application/vnd.dev.sigstore.bundle"
COSIGN = "cosign"
# A release that does not know this fails: nothing is entered in a public log unasked.
OFFLINE = "--tlog-upload=false"
# Releases differ in which of these they know: 2.4 made the first one, 3.0 the second.
OPTIONAL = ("--new-bundle-format", "--use-signing-config=false")
SIGNING = 120.0
"""Seconds that a signature may take: the key may be at a service."""
Attest = Callable[[str], Attachment]
"""Returns what is attached to a manifest with this digest."""


@dataclass(frozen=True)
class Attester:
    """Attests the bill of materials of an image.

    Attributes:
        bill: The bill, a CycloneDX document.
        name: What the image is called.
        key: As `cosign` takes it: a file, or the address of a key service; None: not signed.
    """

    bill: str
    name: str
    key: str | None = None

    def __call__(self, digest: str) -> Attachment:
        """Attest it of the image whose manifest has this digest.

        Raises:
            ServiceUnavailable: `cosign` fails.
        """
        if self.key is None:
            annotations = {"in-toto.io/predicate-type": PREDICATE}
            return Attachment(PLAIN, self.statement(digest), annotations)
        annotations = {
            "dev.sigstore.bundle.content": "dsse-envelope",
            "dev.sigstore.bundle.predicateType": PREDICATE,
        }
        return Attachment(*self._sign(digest, self.key), annotations)

    def statement(self, digest: str) -> bytes:
        """Write the statement: the same bill and digest, the same bytes."""
        algorithm, _, value = digest.partition(":")
        document = {
            "_type": STATEMENT,
            "subject": [{"name": self.name, "digest": {algorithm: value}}],
            "predicateType": PREDICATE,
            "predicate": json.loads(self.bill),
        }
        return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()

    def _sign(self, digest: str, key: str) -> tuple[str, bytes]:
        """Have `cosign` state and sign it; return the media type of the bundle, and the bundle."""
        check_signing()
        with scratch("mlkit-image-") as folder:
            bill, bundle = folder / "bill.json", folder / "bundle.json"
            bill.write_text(self.bill)
            command = ["attest-blob", "--yes", "--key", key, "--type", "cyclonedx"]
            command += ["--predicate", str(bill), "--hash", digest.partition(":")[2]]
            command += ["--bundle", str(bundle), OFFLINE, *_optional(), self.name]
            _run(command)
            return _read(bundle)


def check_signing() -> None:
    """Make sure, before any work is done, that something can be signed.

    Raises:
        ServiceUnavailable: `cosign` is not installed.
    """
    if shutil.which(COSIGN) is None:
        hint = "install cosign, or leave --sign-key out: the attestation is then unsigned"
        raise ServiceUnavailable(f"--sign-key: no program {COSIGN}", hint=hint)


def _optional() -> list[str]:
    """Return those options that the installed release knows."""
    known = set(re.findall(r"--[a-z-]+", _run(["attest-blob", "--help"])))
    return [each for each in OPTIONAL if each.partition("=")[0] in known]


def _run(arguments: list[str]) -> str:
    """Run `cosign`, which asks nothing: `COSIGN_PASSWORD` has the password of the key."""
    try:
        done = subprocess.run(
            [COSIGN, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=SIGNING,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ServiceUnavailable(f"{COSIGN} does not sign: {error}") from error
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or ["no message"]
        hint = "--sign-key is what cosign takes for --key; its password is in COSIGN_PASSWORD"
        raise ServiceUnavailable(f"{COSIGN} does not sign: {lines[-1]}", hint=hint)
    return done.stdout.decode(errors="replace")


def _read(path: Path) -> tuple[str, bytes]:
    try:
        data = path.read_bytes()
        media_type = str(json.loads(data)["mediaType"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        media_type, data = f"({error})", b""
    if not media_type.startswith(BUNDLE):
        hint = "a release since 2.4 is needed"
        raise ServiceUnavailable(f"{COSIGN} wrote no bundle of Sigstore", hint=hint)
    return media_type, data
