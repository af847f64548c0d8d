"""Runs of `mlkit`: each a process of its own, forked where the imports have been made before.

Most of what a command costs is imports. A process per run of pytest makes them once, and forks for
each command a child that has its arguments, directory, environment and streams. What a child had
to import, its parent imports for those that come later.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

# Read when something is imported: where a command's differ, it gets a new interpreter.
AT_IMPORT = ("PYTHON", "LD_", "OPENBLAS_", "OMP_", "MALLOC_", "FORCE_COLOR", "PY_COLORS",
             "GITHUB_ACTIONS", "TERMINAL_WIDTH", "MLKIT_SIMD", "LANG", "LC_")  # fmt: skip
# Of commands that are not forked: these libraries start threads when they are imported.
WITH_THREADS = ("distributed", "dask", "grpc", "confluent_kafka")
OPTIONS = {"capture_output", "check", "cwd", "env", "input", "stdin", "text", "timeout"}
LIBRARIES = tuple(
    {str(Path(each)) for each in (sys.prefix, sys.base_prefix, Path(json.__file__).parents[1])}
)


def run_mlkit(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run `mlkit`, as `subprocess.run` with captured output would.

    Args:
        arguments: The command's words.
        options: Those of `subprocess.run`.
    """
    words = [str(each) for each in arguments]
    options = {"capture_output": True, "text": True} | options
    plain = options.keys() <= OPTIONS and options["capture_output"] and options["text"]
    if not plain or not _is_alike(options.get("env") or os.environ):
        command = [sys.executable, "-m", "mlkit", *words]
        return subprocess.run(command, **({"check": False} | options))
    return _fork(words, options)


def _is_alike(environment: Mapping[str, str]) -> bool:
    """Return whether an environment does not change what an import does."""
    if _FORKER is None:
        return _at_import(environment) == _at_import(os.environ)
    return _at_import(environment) == _FORKER.environment


def _at_import(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(AT_IMPORT)}


class _Forker:
    """The process that forks; it ends when this one does."""

    def __init__(self) -> None:
        self.environment = _at_import(os.environ)
        self.socket, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with other:
            command = [sys.executable, __file__, str(other.fileno())]
            self.process = subprocess.Popen(
                command, pass_fds=[other.fileno()], stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )  # fmt: skip
        atexit.register(self.close)

    def close(self) -> None:
        """Let it end."""
        self.socket.close()
        self.process.wait(60)


_FORKER: _Forker | None = None
_STARTING = threading.Lock()


def _forker() -> _Forker:
    global _FORKER
    with _STARTING:
        if _FORKER is None or _FORKER.process.poll() is not None:
            _FORKER = _Forker()
        return _FORKER


def _fork(words: list[str], options: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    given = options.get("input")
    stdin = subprocess.PIPE if given is not None else options.get("stdin", subprocess.DEVNULL)
    request = {
        "arguments": words,
        "directory": str(options.get("cwd") or Path.cwd()),
        "environment": dict(options.get("env") or os.environ),
    }
    with contextlib.ExitStack() as stack:
        answers, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        stack.enter_context(answers)
        inner, pipes = _open_streams(stdin)
        try:
            body = os.memfd_create("request")
            inner.append(body)
            os.write(body, json.dumps(request).encode())
            socket.send_fds(_forker().socket, [b"."], [body, theirs.fileno(), *inner[:3]])
        finally:
            theirs.close()
            for each in inner:
                os.close(each)
        child = int(answers.recv(64) or b"0")
        assert child, "the process that forks has ended"
        process = _Adopted(child, answers, pipes)
        stack.enter_context(process)
        out, err = process.communicate(given, timeout=options.get("timeout"))
        return _concluded(words, process, out, err, options)


def _concluded(
    words: list[str], process: _Adopted, out: str, err: str, options: dict[str, Any]
) -> subprocess.CompletedProcess[str]:
    code = process.wait()
    done = subprocess.CompletedProcess(["mlkit", *words], code, out, err)
    if options.get("check"):
        done.check_returncode()
    return done


def _open_streams(stdin: Any) -> tuple[list[int], dict[str, Any]]:
    """Return the child's ends of its three streams, and ours as files."""
    inner: list[int] = []
    pipes: dict[str, Any] = {"stdin": None}
    if stdin == subprocess.PIPE:
        reading, writing = os.pipe()
        inner.append(reading)
        pipes["stdin"] = os.fdopen(writing, "w")
    elif stdin == subprocess.DEVNULL:
        inner.append(os.open(os.devnull, os.O_RDONLY))
    else:
        inner.append(os.dup(stdin if isinstance(stdin, int) else stdin.fileno()))
    for name in ("stdout", "stderr"):
        reading, writing = os.pipe()
        inner.append(writing)
        pipes[name] = os.fdopen(reading)
    return inner, pipes


class _Adopted:
    """A child of the process that forks."""

    def __init__(self, child: int, answers: socket.socket, pipes: dict[str, Any]) -> None:
        self.child = child
        self.answers = answers
        self.pipes = pipes

    def __enter__(self) -> _Adopted:
        return self

    def __exit__(self, *_: object) -> None:
        for each in self.pipes.values():
            if each is not None:
                with contextlib.suppress(BrokenPipeError):
                    each.close()

    def communicate(self, given: str | None, timeout: float | None) -> tuple[str, str]:
        """Write the input and read the output, each by a thread; kill a child that takes long."""
        found = {"stdout": "", "stderr": ""}

        def read(name: str) -> None:
            found[name] = self.pipes[name].read()

        threads = [threading.Thread(target=read, args=(name,), daemon=True) for name in found]
        if given is not None:
            threads.append(threading.Thread(target=self._write, args=(given,), daemon=True))
        for each in threads:
            each.start()
        for each in threads:
            each.join(timeout)
            if each.is_alive():
                os.kill(self.child, signal.SIGKILL)
                raise subprocess.TimeoutExpired("mlkit", timeout or 0.0, found["stdout"])
        return found["stdout"], found["stderr"]

    def _write(self, given: str) -> None:
        with contextlib.suppress(BrokenPipeError), self.pipes["stdin"] as stdin:
            stdin.write(given)

    def wait(self) -> int:
        """Return the exit code, once the process that forks knows it."""
        return int(self.answers.recv(64))


# -- the process that forks ------------------------------------------------------------------


def _serve(number: int) -> dict[str, Any] | None:
    """Fork a child for each request; return the request in a child, and None at the end."""
    selector = selectors.DefaultSelector()
    requests = socket.socket(fileno=number)
    selector.register(number, selectors.EVENT_READ)
    importlib.import_module("mlkit.cli.main")
    while True:
        for key, _ in selector.select():
            if key.fd != number:
                selector.unregister(key.fileobj)
                _conclude(key.fd, *key.data)
                continue
            _, files, _, _ = socket.recv_fds(requests, 16, 8)
            if not files:
                return None
            request = _begin(files, selector)
            if request is not None:
                requests.detach()  # closed already
                return request


def _begin(files: list[int], selector: selectors.BaseSelector) -> dict[str, Any] | None:
    """Fork; return the request in the child, and None in the parent."""
    body, answers, *streams = files
    request: dict[str, Any] = json.loads(os.pread(body, os.fstat(body).st_size, 0))
    imported = os.memfd_create("imported")
    child = os.fork()
    if child:
        os.write(answers, str(child).encode())
        for each in (body, *streams):
            os.close(each)
        selector.register(os.pidfd_open(child), selectors.EVENT_READ, (child, answers, imported))
        return None
    for key in list(selector.get_map().values()):  # what belongs to its brothers, and the requests
        for each in (key.fd, *(key.data or ())[1:]):
            os.close(each)
    selector.close()
    for number, each in enumerate(streams):
        os.dup2(each, number)
    for each in (body, answers, *streams):
        os.close(each)
    return request | {"imported": imported}


def _conclude(pidfd: int, child: int, answers: int, imported: int) -> None:
    """Answer with the exit code of a child that has ended; import what it did."""
    os.close(pidfd)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with contextlib.suppress(BrokenPipeError):
        os.write(answers, str(status).encode())
    os.close(answers)
    names = os.pread(imported, os.fstat(imported).st_size, 0).decode().split()
    os.close(imported)
    for name in names:
        if name not in sys.modules:
            with contextlib.suppress(Exception):
                importlib.import_module(name)


def _imported(known: frozenset[str]) -> Iterator[str]:
    """Yield the modules of libraries, and of mlkit, that were imported since."""
    ours = str(Path(sys.modules["mlkit"].__file__ or "").parent)
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        inside = file is not None and file.startswith((*LIBRARIES, ours))
        if name not in known and inside and not name.startswith(("__", *WITH_THREADS)):
            yield name


def _become(request: dict[str, Any]) -> NoReturn:
    """Do in a forked child what `python -m mlkit` does."""
    known, imported = frozenset(sys.modules), request["imported"]
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["directory"])
    for name, number, mode in (("stdin", 0, "r"), ("stdout", 1, "w"), ("stderr", 2, "w")):
        # Those that there were are not closed with the new ones.
        setattr(sys, f"_before_{name}", getattr(sys, name))
        errors = "backslashreplace" if name == "stderr" else "strict"
        buffering = 1 if name == "stderr" else -1
        made = open(number, mode, buffering, errors=errors, closefd=False)  # noqa: SIM115
        setattr(sys, name, made)
        setattr(sys, f"__{name}__", made)
    import mlkit.cli.main as command

    sys.argv = [str(Path(command.__file__).parents[1] / "__main__.py"), *request["arguments"]]
    try:
        command.main()
    finally:
        os.write(imported, "\n".join(_imported(known)).encode())
    sys.exit(0)


def _main(number: int) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    request = _serve(number)
    if request is not None:
        _become(request)


if __name__ == "__main__":
    _main(int(sys.argv[1]))
