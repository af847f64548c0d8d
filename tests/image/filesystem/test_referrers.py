"""What is attached to an image: in layouts, in a real registry, and in one with the newer API."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.server
import json
import os
import subprocess
import threading
import urllib.parse
import urllib.request

import pytest

from mlkit.errors import ServiceUnavailable, UsageError
from mlkit.image.filesystem import build, output, referrers
from mlkit.image.filesystem.archive import open_image
from mlkit.image.packages.attestation import PREDICATE, Attester
from mlkit.image.run.registry import Repository, split

BILL = json.dumps({"bomFormat": "CycloneDX", "specVersion": "1.6", "components": []})
COSIGN = """#!/bin/sh
# Signs as cosign does: the predicate becomes a statement in an envelope, written to --bundle.
[ "$2" = --help ] && { echo "  --new-bundle-format"; exit 0; }
echo "$@" > "$COSIGN_SEEN"
[ "$COSIGN_PASSWORD" = right ] || { echo "Error: signing: decrypt: wrong password" >&2; exit 1; }
while [ $# -gt 1 ]; do [ "$1" = --bundle ] && place=$2; shift; done
echo '{"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json", "dsseEnvelope": {}}' > "$place"
"""


def digest(data):
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@pytest.fixture
def image(tmp_path):
    """Return a layout of one small image, which has the name `it:1`."""
    (folder := tmp_path / "layout").mkdir()
    written = [build.write_layer([build.file("app", b"text")], tmp_path / "layer.tar")]
    document = build.document(written, {"Cmd": ["/app"]}, build.here())
    build.write_layout(document, written, "it:1", folder)
    return folder


@pytest.fixture
def cosign(tmp_path, monkeypatch):
    """Put a program on PATH that takes cosign's arguments; return where it notes them."""
    (folder := tmp_path / "bin").mkdir()
    (folder / "cosign").write_text(COSIGN)
    (folder / "cosign").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("COSIGN_SEEN", str(tmp_path / "seen"))
    monkeypatch.setenv("COSIGN_PASSWORD", "right")
    return tmp_path / "seen"


def blob(folder, descriptor):
    """Read a blob of a layout; it has the digest and size that its descriptor says."""
    data = (folder / "blobs" / descriptor["digest"].replace(":", "/")).read_bytes()
    assert (digest(data), len(data)) == (descriptor["digest"], descriptor["size"])
    return data


def test_a_layout_lists_the_attestation_of_its_image(image):
    (before,) = json.loads((image / "index.json").read_text())["manifests"]
    referrers.attach(image, Attester(BILL, "it:1")(before["digest"]))
    first, entry = json.loads((image / "index.json").read_text())["manifests"]
    assert first == before, "the image stays as it was"
    manifest = json.loads(blob(image, entry))
    assert entry["artifactType"] == manifest["artifactType"] == "application/vnd.in-toto+json"
    assert manifest["subject"] == {k: before[k] for k in ("mediaType", "digest", "size")}
    assert blob(image, manifest["config"]) == b"{}"
    statement = json.loads(blob(image, manifest["layers"][0]))
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["predicateType"] == PREDICATE == "https://cyclonedx.org/bom"
    sha = before["digest"].removeprefix("sha256:")
    assert statement["subject"] == [{"name": "it:1", "digest": {"sha256": sha}}]
    assert statement["predicate"] == json.loads(BILL)


def test_an_attested_layout_is_still_one_image_for_us_and_for_skopeo(image, need_program):
    skopeo = need_program("skopeo")
    subject = referrers.subject_of(image)
    referrers.attach(image, Attester(BILL, "it:1")(subject["digest"]))
    with open_image(image) as found:
        assert found.config == {"Cmd": ["/app"]}
        assert found.others == ("application/vnd.in-toto+json",)
    command = [skopeo, "inspect", "--format={{.Digest}}", f"oci:{image}:it:1"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == subject["digest"]


def test_an_attestation_that_comes_first_is_not_taken_for_the_image(image):
    referrers.attach(image, Attester(BILL, "it:1")(referrers.subject_of(image)["digest"]))
    index = json.loads((image / "index.json").read_text())
    index["manifests"].reverse()
    (image / "index.json").write_text(json.dumps(index))
    with open_image(image) as found:
        assert found.config == {"Cmd": ["/app"]}


def test_what_cosign_signs_is_attached_as_its_bundle(image, cosign):
    subject = referrers.subject_of(image)["digest"]
    attachment = Attester(BILL, "it:1", "cosign.key")(subject)
    assert attachment.media_type == "application/vnd.dev.sigstore.bundle.v0.3+json"
    assert attachment.annotations["dev.sigstore.bundle.predicateType"] == PREDICATE
    words = cosign.read_text().split()
    assert words[:2] == ["attest-blob", "--yes"]
    assert words[words.index("--key") + 1] == "cosign.key"
    assert words[words.index("--hash") + 1] == subject.removeprefix("sha256:")
    assert "--tlog-upload=false" in words, "no public log hears of it"
    assert "--new-bundle-format" in words
    assert "--use-signing-config=false" not in words, "a release that does not know it"


def test_cosign_that_fails_is_told_with_its_reason(image, cosign, monkeypatch):
    monkeypatch.setenv("COSIGN_PASSWORD", "wrong")
    with pytest.raises(ServiceUnavailable, match="does not sign: Error: signing: decrypt: wrong"):
        Attester(BILL, "it:1", "cosign.key")("sha256:" + 64 * "0")


def test_options_that_cannot_be_met_are_told_before_any_work(mlkit, tmp_path):
    (tmp_path / "bin").mkdir()
    only = os.environ | {"PATH": str(tmp_path / "bin")}
    done = mlkit("image", "slim", "no-such-image", "--attest")
    assert done.returncode == 2
    assert "error: --attest: only with --output oci:DIR or registry:REF" in done.stderr
    done = mlkit("image", "slim", "no-such-image", "-o", "oci:x", "--sign-key=k")
    assert done.returncode == 2
    command = ["image", "slim", "no-such-image", "-o", "oci:x", "--attest", "--sign-key=k"]
    done = mlkit(*command, env=only)
    assert done.returncode == 69
    assert "error: --sign-key: no program cosign" in done.stderr


def test_only_layouts_and_registries_have_something_beside_an_image(tmp_path):
    output.check_attaching(output.parse("registry:r.example/x:1", None, "x"))
    output.check_attaching(output.parse(f"oci:{tmp_path / 'x'}", None, "x"))
    for other in ("docker", str(tmp_path / "x.tar")):
        with pytest.raises(UsageError):
            output.check_attaching(output.parse(other, None, "x"))


def test_references_name_a_registry_a_repository_and_a_tag():
    assert split("app") == ("docker.io", "library/app", "latest")
    assert split("team/app:2") == ("docker.io", "team/app", "2")
    assert split("localhost/app") == ("localhost", "app", "latest")
    assert split("r.example:5000/a/b:1") == ("r.example:5000", "a/b", "1")


def ask(registry, path):
    """Ask a registry for a manifest or a blob."""
    word = base64.b64encode(b"user:secret").decode()
    accept = f"{referrers.INDEX}, {referrers.MANIFEST}"
    headers = {"Authorization": f"Basic {word}", "Accept": accept}
    request = urllib.request.Request(f"http://{registry}/v2/{path}", headers=headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.read()


def test_a_registry_without_the_api_lists_attestations_by_a_tag(image, registry, need_program):
    skopeo = need_program("skopeo")
    command = [skopeo, "--insecure-policy", "copy", "--dest-tls-verify=false"]
    command += ["--dest-creds=user:secret", f"oci:{image}:it:1", f"docker://{registry}/team/it:1"]
    subprocess.run(command, check=True, capture_output=True)
    subject = digest(ask(registry, "team/it/manifests/1"))
    stranger = Repository(registry, "team/it", None)
    with contextlib.closing(stranger), pytest.raises(ServiceUnavailable, match="401"):
        stranger.attach(subject, Attester(BILL, "it:1")(subject))
    known = Repository(registry, "team/it", {"username": "user", "password": "secret"})
    with contextlib.closing(known):
        first = known.attach(subject, Attester(BILL, "it:1")(subject))
        second = known.attach(subject, Attester(BILL, "other")(subject))
        known.attach(subject, Attester(BILL, "other")(subject))
    index = json.loads(ask(registry, f"team/it/manifests/{subject.replace(':', '-')}"))
    assert [each["digest"] for each in index["manifests"]] == [first, second], "each once"
    assert index["manifests"][0]["artifactType"] == "application/vnd.in-toto+json"
    manifest = json.loads(ask(registry, f"team/it/manifests/{first}"))
    assert manifest["subject"]["digest"] == subject
    statement = json.loads(ask(registry, f"team/it/blobs/{manifest['layers'][0]['digest']}"))
    assert statement["predicate"] == json.loads(BILL)


class Newer(http.server.BaseHTTPRequestHandler):
    """A registry that gives tokens and has the referrers API; uploads go to another path."""

    protocol_version = "HTTP/1.1"
    blobs: dict[str, bytes] = {}  # noqa: RUF012 - of one test
    manifests: dict[str, bytes] = {}  # noqa: RUF012

    def log_message(self, *_):
        """Say nothing."""

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def handle_any(self):
        length = int(self.headers.get("Content-Length", 0))
        data = self.rfile.read(length)
        host, path = self.headers["Host"], urllib.parse.urlsplit(self.path)
        if path.path == "/token":
            known = base64.b64encode(b"user:secret").decode() in self.headers["Authorization"]
            return self.answer(200 if known else 401, b'{"token": "good"}')
        if self.headers.get("Authorization") != "Bearer good":
            word = f'Bearer realm="http://{host}/token",service="r",scope="x"'
            return self.answer(401, WWW_Authenticate=word)
        name = path.path.rpartition("/")[2]
        if "/manifests/" in path.path and self.command == "PUT":
            self.manifests[name] = data
            named = json.loads(data).get("subject", {}).get("digest", "")
            return self.answer(201, OCI_Subject=named)
        if "/manifests/" in path.path and name in self.manifests:
            return self.answer(200, self.manifests[name], Content_Type=referrers.MANIFEST)
        if self.command == "POST":
            return self.answer(202, Location="/elsewhere/1?state=x")
        if path.path == "/elsewhere/1":
            asked = urllib.parse.parse_qs(path.query)
            assert asked["state"] == ["x"]
            self.blobs[asked["digest"][0]] = data
            return self.answer(201)
        return self.answer(200 if name in self.blobs else 404)

    do_GET = do_HEAD = do_POST = do_PUT = handle_any  # noqa: N815


def test_a_registry_with_the_api_gets_no_tag(image):
    entry = referrers.subject_of(image)
    manifest = blob(image, entry)
    Newer.manifests[entry["digest"]] = manifest
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Newer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            host = f"127.0.0.1:{server.server_port}"
            place = Repository(host, "it", {"Username": "user", "Password": "secret"})
            with contextlib.closing(place):
                found = place.attach(entry["digest"], Attester(BILL, "it:1")(entry["digest"]))
        finally:
            server.shutdown()
    assert set(Newer.manifests) == {entry["digest"], found}
    assert json.loads(Newer.manifests[found])["subject"]["size"] == len(manifest)
    (statement,) = [each for each in Newer.blobs.values() if each != b"{}"]
    assert json.loads(statement)["predicateType"] == PREDICATE
