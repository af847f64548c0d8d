"""Probes: how an app is exercised, while it is traced and when it is compared."""

from __future__ import annotations

import http.client
import re
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from mlkit.errors import UsageError
from mlkit.image.run import forward, host_command
from mlkit.image.run.engine.container import Container
from mlkit.image.run.tunnel import over

Kind = Literal["http", "tcp", "exec", "log", "exit", "command"]
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
HTTP = re.compile(rf"(?:({'|'.join(METHODS)}) )?(?:(\d+))?(/[!-~]*?)(?:=(\d{{3}}))?")
PAUSE = 0.05
LARGEST_BODY = 64 << 20
"""Bytes of a body that are compared."""
HUNG = 124
"""The code of a command that took too long, as `timeout` gives it."""
OVER_NETWORK: frozenset[Kind] = frozenset({"http", "tcp", "command"})
"""Kinds that need a relay in the app's network."""
UNAVAILABLE = {502, 503, 504}
"""What a server answers that is not ready yet, or whose own children are not: it is asked again."""


@dataclass(frozen=True)
class Probe:
    """One question to a running container.

    Attributes:
        text: As the user wrote it.
        kind: What is asked; `command` runs on this machine.
        argument: Path, command or expression.
        port: Of `http` and `tcp`.
        method: Of `http`.
        expected: The status of `http` or the code of `exit`, if one is demanded.
        headers: What `http` sends.
        body: What `http` sends.
        ports: What a `command` can reach, the most important first.
        explored: Nobody has asked for it: it was found, and may vary from run to run.
    """

    text: str
    kind: Kind
    argument: str = ""
    port: int = 0
    method: str = "GET"
    expected: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    ports: Sequence[int] = ()
    explored: bool = False

    @property
    def shows_little(self) -> bool:
        """Return whether it asks for a port or for `/` only."""
        plain = self.method in {"GET", "HEAD"} and self.argument in {"/", ""}
        return self.kind == "tcp" or (self.kind == "http" and plain)


@dataclass(frozen=True)
class Answer:
    """What a probe got.

    Attributes:
        probe: Its text.
        held: The app answered, with the status demanded.
        status: HTTP status or exit code.
        headers: HTTP headers, lower-case names.
        body: Body, or output.
        problem: Why it does not hold.
        explored: Nobody has asked for it.
    """

    probe: str
    held: bool
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    problem: str = ""
    explored: bool = False


def parse(text: str, ports: list[int]) -> Probe:
    """Read a probe.

    `http:[METHOD ][PORT]/PATH[=STATUS]`, `tcp:PORT`, `exec:COMMAND`, `log:REGEX`, `exit:CODE`.
    Without a port `http` takes the first exposed one.

    Raises:
        UsageError: It is none of these.
    """
    kind, _, rest = text.partition(":")
    try:
        if kind == "http" and (match := HTTP.fullmatch(rest)):
            method, port, path, status = match.groups()
            number = _port(port) if port else ports[0] if ports else 80
            return Probe(
                text, "http", path, number, method or "GET", int(status) if status else None
            )
        if kind == "tcp":
            return Probe(text, "tcp", port=_port(rest))
        if kind == "exec" and shlex.split(rest):
            return Probe(text, "exec", rest)
        if kind == "log" and rest:
            log_pattern(rest)
            return Probe(text, "log", rest)
        if kind == "exit":
            return Probe(text, "exit", expected=int(rest))
    except ValueError as error:
        raise UsageError(f"--probe {text}: {error}") from error
    hint = "http:[METHOD ][PORT]/PATH[=STATUS], tcp:PORT, exec:COMMAND, log:REGEX or exit:CODE"
    raise UsageError(f"--probe {text}: not understood", hint=hint)


def log_pattern(text: str) -> Any:
    """Return the pattern of a log probe, which RE2 matches in a time linear to the log.

    Raises:
        ValueError: It is none.
    """
    import re2

    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(f"(?m){text}", options)
    except re2.error as error:
        # RE2 reports some of its messages as bytes.
        problem = error.args[0] if error.args else "not a regular expression"
        raise ValueError(problem.decode() if isinstance(problem, bytes) else problem) from None


def _port(text: str) -> int:
    number = int(text)
    if not 0 < number < 1 << 16:
        raise ValueError("a port is a number from 1 to 65535")
    return number


def command(line: str, ports: Sequence[int]) -> Probe:
    """Make a probe of the user's own test command, which runs on this machine.

    Args:
        line: For a shell.
        ports: What it can reach, the most important first.

    Raises:
        UsageError: The line is empty.
    """
    if not line.strip():
        raise UsageError("--exec: an empty command")
    return Probe(f"command: {line}", "command", line, ports=tuple(dict.fromkeys(ports)))


def ask(probe: Probe, app: Container, relay: Container, patience: float) -> Answer:
    """Ask again and again until the probe holds, the app has ended, or time is up.

    Args:
        probe: The question.
        app: The container that is asked.
        relay: A container in its network namespace that holds our relay.
        patience: Seconds.
    """
    if probe.explored:
        return ask_once(probe, app, relay)
    once = ASK[probe.kind]
    until = time.monotonic() + patience
    while True:
        # Looked at first: what an app does last is seen by one more question after its end.
        last = time.monotonic() > until or not app.state().running
        answer = once(probe, app, relay)
        early = answer.status in UNAVAILABLE - {probe.expected}
        early |= (
            probe.kind == "exec" and not answer.held
        )  # a client fails as long as its server starts
        answered = answer.held or answer.status is not None
        if last or (answered and not early):
            return answer
        time.sleep(PAUSE)


def ask_once(probe: Probe, app: Container, relay: Container) -> Answer:
    """Ask one question, whatever the answer."""
    return replace(ASK[probe.kind](probe, app, relay), explored=probe.explored)


def _http(probe: Probe, app: Container, relay: Container) -> Answer:
    try:
        tunnel = relay.tunnel(["/relay", str(probe.port)])
    except ConnectionError:
        return Answer(probe.text, False, problem="the container has ended")
    try:
        tunnel.settimeout(15)
        if tunnel.receive() != b"+":
            return Answer(probe.text, False, problem=f"nothing listens on port {probe.port}")
        connection = over(tunnel, 15)
        headers = {"Host": "localhost", **probe.headers}
        connection.request(probe.method, probe.argument, probe.body, headers)
        response = connection.getresponse()
        headers = {name.lower(): value for name, value in response.getheaders()}
        body = response.read(LARGEST_BODY)
    except (OSError, http.client.HTTPException) as error:
        return Answer(probe.text, False, problem=f"no answer: {error!r}")
    finally:
        tunnel.hang_up()
    held = probe.expected in {None, response.status}
    problem = "" if held else f"status {response.status}"
    return Answer(probe.text, held, response.status, headers, body, problem)


def _tcp(probe: Probe, app: Container, relay: Container) -> Answer:
    held = _listens(relay, probe.port)
    return Answer(probe.text, held, problem="" if held else f"nothing listens on {probe.port}")


def _listens(relay: Container, port: int) -> bool:
    try:
        tunnel = relay.tunnel(["/relay", str(port)])
    except ConnectionError:
        return False
    try:
        tunnel.settimeout(15)
        return tunnel.receive() == b"+"
    except OSError:
        return False
    finally:
        tunnel.hang_up()


def _command(probe: Probe, app: Container, relay: Container) -> Answer:
    """Run the user's command once something listens; it is not asked again if it fails."""
    if probe.ports and not any(_listens(relay, port) for port in probe.ports):
        ports = ", ".join(map(str, probe.ports))
        return Answer(probe.text, False, problem=f"nothing listens on {ports}")
    with forward.forward(relay, probe.ports) as ours:
        where = host_command.address(forward.HOST, ours, app.id)
        code, output = host_command.run(probe.argument, where)
    said = host_command.last_line(output)
    how = f"it took more than {host_command.LONGEST} s" if code is None else f"exit code {code}"
    problem = "" if code == 0 else f"{how}: {said}" if said else how
    return Answer(probe.text, code == 0, HUNG if code is None else code, problem=problem)


def _exec(probe: Probe, app: Container, relay: Container) -> Answer:
    code, output = app.execute(shlex.split(probe.argument))
    problem = "" if code == 0 else f"exit code {code}"
    return Answer(probe.text, code == 0, code, body=output, problem=problem)


def _log(probe: Probe, app: Container, relay: Container) -> Answer:
    held = log_pattern(probe.argument).search(app.logs()) is not None
    return Answer(probe.text, held, problem="" if held else "not in the log")


def _exit(probe: Probe, app: Container, relay: Container) -> Answer:
    code = app.state().exit_code
    held = code == probe.expected
    problem = "" if held else "still running" if code is None else f"exit code {code}"
    return Answer(probe.text, held, code, problem=problem)


ASK: dict[Kind, Callable[[Probe, Container, Container], Answer]] = {
    "http": _http,
    "tcp": _tcp,
    "exec": _exec,
    "log": _log,
    "exit": _exit,
    "command": _command,
}
