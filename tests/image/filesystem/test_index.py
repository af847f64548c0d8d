"""Indexes of several platforms: which images are slimmed, which refused, what joins the results."""

from __future__ import annotations

import base64
import hashlib
import json
import tarfile
import urllib.error
import urllib.request

import pytest
from image.archives import INDEX, Member, blob, index_layout, layer, layout, manifest, saved

from mlkit.errors import BadData, ServiceUnavailable, UsageError
from mlkit.image.filesystem import build, output, platforms
from mlkit.image.filesystem.archive import open_image, select_images
from mlkit.image.filesystem.image_source import select
from mlkit.image.filesystem.index import Listed
from mlkit.image.filesystem.index_layout import IndexLayout
from mlkit.image.filesystem.platforms import here
from mlkit.image.packages.attestation import Attester
from mlkit.image.result import Built

HERE = {"os": "linux", "architecture": here()}
RISCV = {"os": "linux", "architecture": "riscv64"}
ARM = {"os": "linux", "architecture": "arm", "variant": "v7"}
WINDOWS = {"os": "windows", "architecture": "amd64", "os.version": "10.0.20348.1"}
UNKNOWN = {"os": "unknown", "architecture": "unknown"}
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


@pytest.fixture(autouse=True)
def riscv_runs(monkeypatch):
    """Stand in for a registered emulator of riscv64, and of nothing else."""
    monkeypatch.setattr(platforms, "runs", lambda each: each in {here(), "riscv64"})


def image(path, platform, text="1", **more):
    """Write an image for a platform; return its entry in an index."""
    architecture = (platform or HERE)["architecture"]
    entry = manifest(path, layer(Member("a", text)), config={"Cmd": ["/a"]},
                     architecture=architecture)  # fmt: skip
    return entry | {"mediaType": MANIFEST} | ({"platform": platform} if platform else {}) | more


def attestation(path, subject):
    """Write an attestation about an image, as BuildKit does; return its entry."""
    notes = {"vnd.docker.reference.type": "attestation-manifest",
             "vnd.docker.reference.digest": subject["digest"]}  # fmt: skip
    return image(path, HERE, "attested") | {"platform": UNKNOWN, "annotations": notes}


def test_what_can_be_run_is_selected_and_the_rest_is_refused_by_name(tmp_path):
    ours, riscv = image(tmp_path, HERE), image(tmp_path, RISCV)
    others = [image(tmp_path, each, "2") for each in (ARM, WINDOWS, UNKNOWN)]
    odd = image(tmp_path, {"os": "linux", "architecture": "z80"})
    index_layout(tmp_path, ours, attestation(tmp_path, riscv), *others, odd, riscv)
    found = select_images(tmp_path, None)
    assert [each.name for each in found.images] == [f"linux/{here()}", "linux/riscv64"]
    assert {each.platform: each.reason for each in found.refused} == {
        "linux/arm/v7": "no emulator is registered (binfmt_misc)",
        "windows/amd64 (10.0.20348.1)": "not Linux",
        "unknown/unknown": "an unknown platform",
        "linux/z80": "an unknown architecture",
    }
    (dropped,) = found.dropped
    assert (dropped.kind, dropped.platform) == ("attestation-manifest", "linux/riscv64")
    with open_image(tmp_path, platform=found.images[1]) as opened:
        assert opened.document["architecture"] == "riscv64"
        assert opened.others == (), "what becomes of the rest is reported of the whole index"


def test_platforms_that_are_named_are_selected(tmp_path):
    later = {"os": "linux", "architecture": "arm", "variant": "v6"}
    entries = [image(tmp_path, each) for each in (HERE, ARM, later, RISCV)]
    index_layout(tmp_path, *entries)
    found = select(str(tmp_path), ["linux/riscv64", "linux/arm/v6"])
    assert [each.name for each in found.images] == ["linux/arm/v6", "linux/riscv64"]
    assert {each.reason for each in found.refused} == {"not asked for"}
    with pytest.raises(BadData, match="no image for linux/s390x in the index, which holds linux/"):
        select(str(tmp_path), ["linux/riscv64", "linux/s390x"])
    with pytest.raises(BadData, match=r"two of linux/arm, linux/arm/v7 are the same image"):
        select(str(tmp_path), ["linux/arm", "linux/arm/v7"])


def test_the_plain_platform_is_preferred_to_a_variant(tmp_path):
    newer = {"os": "linux", "architecture": "amd64", "variant": "v3"}
    plain = {"os": "linux", "architecture": "amd64"}
    index_layout(tmp_path, image(tmp_path, newer, "3"), image(tmp_path, plain, "1"))
    for wanted, text in (("linux/amd64", b"1"), ("linux/amd64/v3", b"3")):
        with (
            open_image(tmp_path, platform=wanted) as opened,
            tarfile.open(fileobj=opened.layers[0].open()) as tar,
        ):
            assert tar.extractfile("a").read() == text


def test_images_without_a_platform_have_that_of_their_config(tmp_path):
    entry = image(tmp_path, None)
    signature = blob(tmp_path, {"config": {"mediaType": "application/vnd.x"}, "layers": []})
    index_layout(tmp_path, entry, signature, entry)
    found = select_images(tmp_path, None)
    assert [each.platform for each in found.images] == [HERE], "what is listed twice is one image"
    assert [each.kind for each in found.dropped] == ["application/vnd.x"]


def nested(path, times):
    """Write a layout whose index is in an index, and so on."""
    entry = image(path, HERE)
    for _ in range(times):
        entry = blob(path, {"manifests": [entry]}) | {"mediaType": INDEX}
    (path / "index.json").write_text(json.dumps({"manifests": [entry]}))
    return path


def test_indexes_may_nest_but_not_without_end(tmp_path):
    nested(tmp_path, 3)
    assert [each.name for each in select_images(tmp_path, None).images] == [f"linux/{here()}"]
    with open_image(tmp_path) as opened:
        assert opened.config == {"Cmd": ["/a"]}
    nested(tmp_path, 4)
    with pytest.raises(BadData, match="indexes nest more than 4 deep"):
        select_images(tmp_path, None)
    with pytest.raises(BadData, match="indexes nest more than 4 deep"), open_image(tmp_path):
        pass


def names_itself(path):
    """Write an index that lists the digest of a blob with other contents, its own entry."""
    digest = hashlib.sha256(b"itself").hexdigest()
    entry = {"digest": f"sha256:{digest}", "mediaType": INDEX}
    blob(path, b"")
    (path / "blobs" / "sha256" / digest).write_text(json.dumps({"manifests": [entry]}))
    return [entry]


def names_the_root(path):
    return [{"digest": "sha256:../../index.json", "mediaType": INDEX}]


def without_manifest(path):
    entry = image(path, HERE)
    (path / "blobs" / entry["digest"].replace(":", "/")).unlink()
    return [entry]


def without_layer(path):
    entry = image(path, HERE)
    found = json.loads((path / "blobs" / entry["digest"].replace(":", "/")).read_text())
    (path / "blobs" / found["layers"][0]["digest"].replace(":", "/")).unlink()
    return [entry]


def changed(path):
    entry = image(path, HERE)
    with (path / "blobs" / entry["digest"].replace(":", "/")).open("a") as file:
        file.write(" ")
    return [entry | {"size": entry["size"] + 1}]


def cut_layer(path):
    entry = image(path, HERE)
    found = json.loads((path / "blobs" / entry["digest"].replace(":", "/")).read_text())
    place = path / "blobs" / found["layers"][0]["digest"].replace(":", "/")
    place.write_bytes(place.read_bytes()[:-1])
    return [entry]


def disguised(path):
    """Write an index that is listed as the manifest of a platform."""
    inner = blob(path, {"manifests": [image(path, HERE)]})
    return [inner | {"mediaType": MANIFEST, "platform": HERE}]


HOSTILE = {
    "itself": (names_itself, "its digest does not match"),
    "the root": (names_the_root, "digest sha256:../../index.json: not understood"),
    "no manifest": (without_manifest, "is missing"),
    "no layer": (without_layer, "is missing"),
    "changed": (changed, "its digest does not match"),
    "cut layer": (cut_layer, "but its descriptor states"),
    "size": (lambda path: [image(path, HERE, size=7)], "bytes, but its descriptor states 7"),
    "twice": (
        lambda path: [image(path, HERE), image(path, HERE, "2")],
        f"two images for linux/{here()}",
    ),
    "variant": (
        lambda path: [image(path, {"os": "linux", "architecture": "amd64"}),
                      image(path, {"os": "linux", "architecture": "amd64", "variant": "v1"}, "2")],
        "two images for linux/amd64",
    ),
    "empty": (lambda path: [], "no image in the index, which holds nothing"),
    "attestations": (
        lambda path: [attestation(path, image(path, HERE))],
        "no image in the index, which holds attestation-manifest",
    ),
    "foreign": (
        lambda path: [image(path, ARM), image(path, WINDOWS)],
        "no image in the index can be run here: linux/arm/v7: no emulator",
    ),
    "disguised": (disguised, "an index, not the manifest of linux/"),
    "platform": (lambda path: [image(path, HERE) | {"platform": {"os": ["x"]}}], "not a platform"),
    "a word": (lambda path: ["x"], "not a readable image"),
    "digest": (lambda path: [{"digest": [], "platform": HERE}], "not a readable image"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_damaged_or_hostile_index_is_refused_in_one_line(tmp_path, name):
    make, message = HOSTILE[name]
    index_layout(tmp_path, *make(tmp_path))
    with pytest.raises(BadData) as found:
        select_images(tmp_path, None)
    assert message in str(found.value)
    assert "\n" not in str(found.value)


def test_an_index_that_lists_another_many_times_is_read_once(tmp_path):
    entry = image(tmp_path, HERE)
    for _ in range(3):
        inner = blob(tmp_path, {"manifests": [entry] * 2000})
        entry = inner | {"mediaType": INDEX}
    (tmp_path / "index.json").write_text(json.dumps({"manifests": [entry] * 2000}))
    assert len(select_images(tmp_path, None).images) == 1


def test_what_is_no_index_is_refused(tmp_path):
    archive = saved(tmp_path / "it.tar", layer(Member("a", "1")))
    with pytest.raises(BadData, match=r"it\.tar: one image, and no index"):
        select(str(archive), None)
    with pytest.raises(BadData, match="app:1: not an OCI layout, which several platforms need"):
        select("app:1", None)
    (tmp_path / "index.json").write_text("{}")
    with pytest.raises(BadData, match="not a readable image"):
        select(str(tmp_path), None)


def test_the_errors_of_the_command_come_before_any_work(mlkit, tmp_path):
    index_layout(tmp_path, *names_itself(tmp_path))
    for options, code, message in (
        (["--all-platforms", "-o", "oci:x"], 65, "its digest does not match"),
        (["--all-platforms"], 2, "several platforms: the engine keeps no index"),
        (["--all-platforms", "--platform", f"linux/{here()}"], 2, "contradict each other"),
        (["--all-platforms", "-o", "oci:x", "--seccomp", "s"], 2, "--seccomp: for one platform"),
        (["--platform", f"linux/{here()},linux/z80"], 2, "linux/z80: this machine cannot run it"),
    ):  # fmt: skip
        done = mlkit("image", "slim", tmp_path, *options)
        assert done.returncode == code, done.stderr
        assert done.stderr.startswith("error: ")
        assert message in done.stderr
    assert not (tmp_path / "x").exists()


def built(tmp_path, architecture, text, variant=None):
    """Return a result of one layer."""
    written = build.write_layer([build.file("app", text)], tmp_path / f"{text.hex()}.tar")
    document = build.document([written], {"Cmd": ["/app"]}, architecture, variant)
    return Built(document, [written], "sha256:0", "none", None)


BILL = json.dumps({"bomFormat": "CycloneDX", "specVersion": "1.6", "components": []})


def joined(tmp_path, place, attest=None):
    """Write an index of two results."""
    (staged := tmp_path / f"staged-{place.name}").mkdir()
    both = IndexLayout(staged)
    both.add(Listed(ARM, {}), built(tmp_path, "arm", b"arm", "v7"), attest)
    both.add(Listed(RISCV, {}), built(tmp_path, "riscv64", b"riscv"), attest)
    kind = "archive" if place.suffix else "oci"
    return output.put_index(output.Output(kind, str(place), "it:1"), both)


def test_results_are_joined_into_one_index_with_their_platforms(tmp_path):
    place = joined(tmp_path, tmp_path / "out")
    (root,) = json.loads((tmp_path / "out" / "index.json").read_text())["manifests"]
    assert root["annotations"] == {"org.opencontainers.image.ref.name": "it:1"}
    assert (root["mediaType"], root["digest"]) == (INDEX, place.digest)
    for each in (tmp_path / "out" / "blobs" / "sha256").iterdir():
        assert hashlib.sha256(each.read_bytes()).hexdigest() == each.name
    found = select_images(tmp_path / "out", ["linux/arm", "linux/riscv64"])
    assert [each.platform for each in found.images] == [ARM, RISCV]
    assert all(each.entry["mediaType"] == MANIFEST for each in found.images)
    with open_image(tmp_path / "out", platform="linux/arm/v7") as opened:
        assert (opened.document["architecture"], opened.document["variant"]) == ("arm", "v7")
        with tarfile.open(fileobj=opened.layers[0].open()) as tar:
            assert tar.extractfile("app").read() == b"arm"


def test_an_index_in_a_tar_is_always_the_same_and_read_again(tmp_path):
    first = joined(tmp_path, tmp_path / "one.tar")
    joined(tmp_path, tmp_path / "two.tar")
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()
    assert first.text == str(tmp_path / "one.tar")
    found = select_images(tmp_path / "one.tar", ["linux/riscv64"])
    assert [each.platform for each in found.refused] == ["linux/arm/v7"]


def test_attestations_lie_beside_the_image_of_their_platform(tmp_path):
    joined(tmp_path, tmp_path / "out", Attester(BILL, "it:1"))
    _, *entries = json.loads((tmp_path / "out" / "index.json").read_text())["manifests"]
    subjects = []
    for each in entries:
        data = (tmp_path / "out" / "blobs" / each["digest"].replace(":", "/")).read_text()
        subjects.append(json.loads(data)["subject"]["digest"])
    found = select_images(tmp_path / "out", ["linux/arm", "linux/riscv64"])
    assert subjects == [each.entry["digest"] for each in found.images]
    assert [each.kind for each in found.dropped] == ["application/vnd.in-toto+json"] * 2


def test_a_registry_has_the_index_only_if_it_has_all_of_it(tmp_path, monkeypatch, registry):
    def ask(path):
        word = base64.b64encode(b"user:secret").decode()
        headers = {"Authorization": f"Basic {word}", "Accept": f"{INDEX}, {MANIFEST}"}
        request = urllib.request.Request(f"http://{registry}/v2/team/{path}", headers=headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())

    target = output.Output("registry", f"{registry}/team/it:1", f"{registry}/team/it:1")
    (folder := tmp_path / "staged").mkdir()
    both = IndexLayout(folder)
    both.add(Listed(ARM, {}), built(tmp_path, "arm", b"arm", "v7"), Attester(BILL, "it:1"))
    both.add(Listed(RISCV, {}), built(tmp_path, "riscv64", b"riscv"))
    monkeypatch.setattr(output, "credentials", lambda host: None)
    with pytest.raises(ServiceUnavailable, match="team/it: the index was not pushed: 401"):
        output.put_index(target, both)
    known = {"username": "user", "password": "secret"}
    monkeypatch.setattr(output, "credentials", lambda host: known)
    lost = both.path(json.loads(both.read(both.members[1].digest))["layers"][0]["digest"])
    data = lost.read_bytes()
    lost.write_bytes(data[:-1])
    with pytest.raises(ServiceUnavailable, match="the index was not pushed"):
        output.put_index(target, both)
    with pytest.raises(urllib.error.HTTPError, match="404"):
        ask("it/manifests/1")
    lost.write_bytes(data)
    place = output.put_index(target, both)
    found = ask("it/manifests/1")
    assert [each["platform"] for each in found["manifests"]] == [ARM, RISCV]
    assert ask(f"it/manifests/{place.digest}") == found
    (listed,) = ask(f"it/manifests/{both.members[0].digest.replace(':', '-')}")["manifests"]
    assert listed["artifactType"] == "application/vnd.in-toto+json"


def test_a_layout_of_one_image_is_an_index_of_one(tmp_path):
    layout(tmp_path, layer(Member("a", "1")), config={"Cmd": ["/a"]})
    assert len(select_images(tmp_path, ["linux/amd64"]).images) == 1


def test_an_engine_keeps_no_index():
    with pytest.raises(UsageError, match="the engine keeps no index"):
        output.check_index(output.Output("docker", "x", "x"))
