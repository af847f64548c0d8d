"""Known vulnerabilities before and after, by Debian's tracker and by what `grype` prints."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess

import pytest
from image.archives import Member, layer, saved

from mlkit.errors import BadData, ServiceUnavailable
from mlkit.image.filesystem.archive import open_image
from mlkit.image.filesystem.inventory import take
from mlkit.image.packages.versions import is_older
from mlkit.image.packages.vulnerabilities import Vulnerability, open_scanner

STATUS = """\
Package: libssl3
Status: install ok installed
Architecture: amd64
Source: openssl (3.0.11-1~deb12u2)
Version: 3.0.11-1~deb12u2+b1

Package: zlib1g
Status: install ok installed
Architecture: amd64
Source: zlib
Version: 1:1.2.13.dfsg-1

Package: bash
Status: install ok installed
Architecture: amd64
Version: 5.2.15-2+b2

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1
"""


def state(status, fixed=None, urgency="not yet assigned", release="bookworm"):
    found = {"status": status, "urgency": urgency, "repositories": {release: "1"}}
    return {"releases": {release: found | ({} if fixed is None else {"fixed_version": fixed})}}


TRACKER = {
    "openssl": {
        "CVE-2023-0001": state("resolved", "3.0.9-1"),
        "CVE-2024-0002": state("resolved", "3.0.13-1~deb12u1"),
        "CVE-2024-0003": state("open"),
        "CVE-2024-0004": state("open", urgency="unimportant"),
        "CVE-2024-0005": state("undetermined"),
        "CVE-2024-0006": state("open", release="trixie"),
        "CVE-2024-0007": state("resolved", "0"),
    },
    "zlib": {"CVE-2023-45853": state("open")},
    "bash": {"CVE-2022-3715": state("resolved", "5.2-1")},
    "gone": {"CVE-2020-1": state("open")},
    "libssl3": {"CVE-2020-2": state("open")},
}
GRYPE = """#!/bin/sh
case "$1" in docker-archive:/*) ;; *) exit 9;; esac
tar -tf "${1#docker-archive:}" | grep -q manifest.json || exit 8
[ -z "$GRYPE_FAILS" ] || { echo 'failed to load vulnerability db' >&2; exit 1; }
cat "$GRYPE_SAYS"
"""


def image(tmp_path, status=STATUS, release="VERSION_CODENAME=bookworm\n"):
    """Return an archive with a database of packages."""
    members = (Member("var/lib/dpkg/status", status), Member("etc/os-release", release))
    return saved(tmp_path / "image.tar", layer(*members))


def find(scanner, path):
    with open_image(path) as opened:
        return scanner.find(take(opened))


def tracker(tmp_path, data=TRACKER):
    path = tmp_path / "tracker.json"
    path.write_text(json.dumps(data))
    return open_scanner(str(path))


def test_the_tracker_is_asked_by_source_package_version_and_release(tmp_path):
    installed = "3.0.11-1~deb12u2+b1"
    assert find(tracker(tmp_path), image(tmp_path)) == [
        Vulnerability("CVE-2023-45853", "zlib1g", "1:1.2.13.dfsg-1"),
        Vulnerability("CVE-2024-0002", "libssl3", installed, "3.0.13-1~deb12u1"),
        Vulnerability("CVE-2024-0003", "libssl3", installed),
    ]


def test_a_release_that_the_file_does_not_know_is_refused(tmp_path):
    path = image(tmp_path, release="ID=ubuntu\nVERSION_CODENAME=noble\n")
    with pytest.raises(BadData, match=r"tracker\.json: has no release 'noble'"):
        find(tracker(tmp_path), path)


def test_an_image_without_packages_has_none(tmp_path):
    assert find(tracker(tmp_path), image(tmp_path, status="", release="")) == []


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "7", '{"a": 7}', '{"a": {"b": 7}}', '{"matches": {}}', "[" * 99999]
)
def test_another_file_is_refused_before_any_work(tmp_path, text):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(BadData, match=r"x\.json"):
        open_scanner(str(tmp_path / "x.json"))


@pytest.mark.parametrize(
    "odd", [{"b": 7}, {"b": {"releases": 7}}, {"b": {"releases": {"bookworm": 7}}}]
)
def test_a_damaged_file_is_bad_data(tmp_path, odd):
    with pytest.raises(BadData, match=r"tracker\.json: damaged"):
        find(tracker(tmp_path, TRACKER | {"bash": odd}), image(tmp_path))


@pytest.fixture
def grype(tmp_path, monkeypatch):
    """Put a program on PATH that answers as grype does."""
    (folder := tmp_path / "bin").mkdir()
    (folder / "grype").write_text(GRYPE)
    (folder / "grype").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("GRYPE_SAYS", str(tmp_path / "says.json"))
    return tmp_path / "says.json"


def match(identity, versions=()):
    found = {"id": identity, "severity": "High", "fix": {"versions": list(versions)}}
    return {"vulnerability": found, "artifact": {"name": "zlib1g", "version": "1"}}


def test_grype_is_given_the_image_and_read(grype, tmp_path):
    twice = [match("CVE-2"), match("CVE-1", ["2", "3"]), match("CVE-2")]
    grype.write_text(json.dumps({"matches": twice}))
    assert find(open_scanner("grype"), image(tmp_path)) == [
        Vulnerability("CVE-1", "zlib1g", "1", "2"),
        Vulnerability("CVE-2", "zlib1g", "1"),
    ]


def test_grype_that_fails_is_told_with_its_reason(grype, tmp_path, monkeypatch):
    for text in ("", "[]", '{"matches": [7]}'):
        grype.write_text(text)
        with pytest.raises(ServiceUnavailable, match="grype: its output is not understood"):
            find(open_scanner("grype"), image(tmp_path))
    monkeypatch.setenv("GRYPE_FAILS", "1")
    with pytest.raises(ServiceUnavailable, match="grype fails: failed to load"):
        find(open_scanner("grype"), image(tmp_path))


def test_what_is_not_there_is_told_before_any_work(mlkit, tmp_path):
    (tmp_path / "bin").mkdir()
    only = os.environ | {"PATH": str(tmp_path / "bin")}
    done = mlkit("image", "slim", "no-such-image", "--vulnerabilities=grype", env=only)
    assert done.returncode == 69
    assert "error: --vulnerabilities: no program grype" in done.stderr
    done = mlkit("image", "slim", "no-such-image", "--vulnerabilities=nowhere.json")
    assert done.returncode == 66


def test_versions_are_ordered_as_dpkg_orders_them():
    dpkg = shutil.which("dpkg")
    if dpkg is None:
        pytest.skip("needs the program dpkg")
    rng = random.Random(1)
    tails = ["~", "0", "a", ".", "~~", "+", "-0", "-1", "-1~deb12u1", "-1+b2", "", "-1.0"]

    def version():
        epoch, tail = rng.choice(["", "", "0:", "1:"]), rng.choice(tails)
        return f"{epoch}{rng.choice('01')}{''.join(rng.choices('0123456789.+~ab', k=4))}{tail}"

    for _ in range(300):
        one = version()
        other = one + rng.choice(tails[:6]) if rng.random() < 0.5 else version()
        command = [dpkg, "--compare-versions", one, "lt", other]
        older = subprocess.run(command, capture_output=True, check=False).returncode == 0
        assert is_older(one, other) == older, (one, other)
    assert not is_older("1.0", "1.0-0")
    assert not is_older("1.0-0", "1.0")
