"""A real Keycloak on this machine: fetched by Maven, built once, started for a module of tests."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
import zipfile
from pathlib import Path
from typing import Any

import requests

HERE = Path(__file__).parent / "keycloak"
VERSION = "26.7.3"
ADMIN, PASSWORD = "admin", "the-admin"
PATIENCE = 300.0
"""Seconds for a step of the server: on a busy machine it starts in minutes."""
_QUARKUS = "io.quarkus.bootstrap"
_THREADS = f"{_QUARKUS}.forkjoin.QuarkusForkJoinWorkerThreadFactory"
_JAVA = (
    "-Xms64m", "-Xmx512m", "-XX:MaxMetaspaceSize=256m", "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1", "-Djava.util.logging.manager=org.jboss.logmanager.LogManager",
    f"-Djava.util.concurrent.ForkJoinPool.common.threadFactory={_THREADS}",
)  # fmt: skip
_PROGRAM = ("-cp", "lib/quarkus-run.jar", f"{_QUARKUS}.runner.QuarkusEntryPoint")
_BUILD = ("build", "--db=dev-mem", "--health-enabled=false")
_SHARED = ("conf", "lib", "providers", "themes")


class Unavailable(Exception):
    """Keycloak cannot be had here; the text says why."""


def install(folder: Path) -> Path:
    """Fetch and build Keycloak once in a folder that is kept; return where it is.

    Raises:
        Unavailable: A program is missing, or Maven cannot fetch it.
    """
    if not (shutil.which("mvn") and shutil.which("java")):
        raise Unavailable("needs the programs mvn and java")
    home, done = folder / f"keycloak-{VERSION}", folder / f"built-{VERSION}"
    if not done.exists():
        shutil.rmtree(home, ignore_errors=True)
        _fetch(folder)
        _run([*_command(home), *_BUILD], home)
        done.touch()
    return home


def _fetch(folder: Path) -> None:
    artifact = f"org.keycloak:keycloak-quarkus-dist:{VERSION}:zip"
    maven = ["mvn", "-q", "-B", "dependency:copy", f"-Dartifact={artifact}"]
    _run([*maven, f"-DoutputDirectory={folder}"], folder)
    archive = folder / f"keycloak-quarkus-dist-{VERSION}.zip"
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(folder)
    archive.unlink()


def _run(command: list[str], folder: Path) -> None:
    ran = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=2 * PATIENCE
    )
    if ran.returncode:
        raise Unavailable(f"{command[0]} failed: {(ran.stdout + ran.stderr)[-500:]}")


def _command(home: Path) -> list[str]:
    places = (f"-Dkc.home.dir={home}", f"-Djboss.server.config.dir={home / 'conf'}")
    return ["java", *_JAVA, *places, *_PROGRAM]


class Keycloak:
    """A server with the realm of `keycloak/realm.json`, whose database is in memory.

    Args:
        installed: Where it is installed.
        folder: Where this server has its files.

    Attributes:
        issuer: The URL of the realm.
    """

    def __init__(self, installed: Path, folder: Path) -> None:
        (folder / "data/import").mkdir(parents=True)
        shutil.copy(HERE / "realm.json", folder / "data/import")
        for each in _SHARED:
            (folder / each).symlink_to(installed / each)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.issuer = f"{self.url}/realms/main"
        self.log = folder / "log"
        options = (
            "start", "--optimized", "--import-realm", "--cache=local", "--http-enabled=true",
            "--http-host=127.0.0.1", f"--http-port={port}", "--hostname-strict=false",
        )  # fmt: skip
        environment = os.environ | {
            "KC_BOOTSTRAP_ADMIN_USERNAME": ADMIN, "KC_BOOTSTRAP_ADMIN_PASSWORD": PASSWORD,
        }  # fmt: skip
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [*_command(folder), *options], cwd=folder, stdout=log, stderr=log, env=environment
            )

    def wait(self) -> None:
        """Wait until it answers; fail where it ends before."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.log.read_text()[-3000:]
            try:
                if requests.get(self.issuer, timeout=60).ok:
                    return
            except requests.ConnectionError:
                time.sleep(0.2)
        raise AssertionError(f"Keycloak does not answer: {self.log.read_text()[-3000:]}")

    def stop(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()

    def rotate(self) -> None:
        """Let it sign by a new key, and know the old ones no more."""
        with self._administrator() as http:
            place = f"{self.url}/admin/realms/main"
            keys = "org.keycloak.keys.KeyProvider"
            found = self._answer(http.get(f"{place}/components", params={"type": keys}))
            old = [each for each in found if each["providerId"] == "rsa-generated"]
            assert old
            new = {
                "name": "next", "providerId": "rsa-generated", "providerType": keys,
                "parentId": old[0]["parentId"], "config": {"priority": ["200"]},
            }  # fmt: skip
            http.post(f"{place}/components", json=new, timeout=PATIENCE).raise_for_status()
            for each in old:
                gone = http.delete(f"{place}/components/{each['id']}", timeout=PATIENCE)
                gone.raise_for_status()

    def _administrator(self) -> requests.Session:
        """Return a session of the administrator."""
        given = {
            "grant_type": "password", "client_id": "admin-cli", "username": ADMIN,
            "password": PASSWORD,
        }  # fmt: skip
        place = f"{self.url}/realms/master/protocol/openid-connect/token"
        token = self._answer(requests.post(place, data=given, timeout=PATIENCE))["access_token"]
        http = requests.Session()
        http.headers["authorization"] = f"Bearer {token}"
        return http

    @staticmethod
    def _answer(response: requests.Response) -> Any:
        assert response.ok, response.text
        return response.json()
