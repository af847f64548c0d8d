"""Health checks: in exec form where they can be, and without curl and wget."""

from __future__ import annotations

import math
import posixpath
import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from mlkit.image.command import launch
from mlkit.image.command.entrypoint import environment, plain_words, shell_line

PROGRAM = "mlkit-health"
"""Where the prober lies in a result."""
TAIL = re.compile(
    r"(?:(?:[12&]?>>?\s{0,9}/dev/null|2>&1)|\|\|\s{0,9}(?:exit\s{1,9}1|false)\s{0,9};?)$"
)
"""What changes nothing: docker takes any exit code but 0 for unhealthy."""
LONGEST_TAIL = 64
"""Letters of a line's end in which that is looked for."""
HOST = r"localhost|\d+\.\d+\.\d+\.\d+|\[[0-9A-Fa-f:]+\]"
URL = re.compile(
    rf"(?:http://)?(?:{HOST})(?::(?:\d+|{launch.VARIABLE}))?(?:/(?:[^{{}}\[\]$]|{launch.VARIABLE})*)?",
    re.ASCII | re.IGNORECASE,
)
PROXIES = {"http_proxy", "all_proxy", "ALL_PROXY"}
SHORT = re.compile(r"-[A-Za-z]")


@dataclass(frozen=True)
class Health:
    """A health check for the result.

    Attributes:
        test: As the config has it.
        programs: Those of our programs that it needs.
    """

    test: tuple[str, ...]
    programs: frozenset[str] = frozenset()


def health(config: dict[str, Any]) -> Health | None:
    """Return the config's health check without shell, curl and wget, as far as that can be."""
    test = tuple((config.get("Healthcheck") or {}).get("Test") or ())
    if len(test) < 2 or test[0] not in {"CMD", "CMD-SHELL"}:
        return None
    line = test[1] if test[0] == "CMD-SHELL" else shell_line(test[1:])
    if line is None and "$" in "".join(test):  # nobody expands it
        return Health(test)
    words = list(map(shlex.quote, test[1:])) if line is None else _words(line, config)
    if words is None:
        return Health(test)
    probing = _probing(words, config)
    if probing:
        return _start([f"/{PROGRAM}", *probing], frozenset({PROGRAM}))
    return Health(test) if line is None else _start(words, frozenset())


def _words(line: str, config: dict[str, Any]) -> list[str] | None:
    """Split a shell's line into words, still quoted; None if it needs the shell."""
    line = line.rstrip()
    while found := TAIL.search(line, max(0, len(line) - LONGEST_TAIL)):
        line = line[: found.start()].rstrip()
    variables = environment(config)
    if not launch.suffices(line, variables) and plain_words(line) is None:
        return None
    words = launch.WORD.findall(line) if launch.LINE.fullmatch(line) else None
    return words[1:] if words and words[0] == "exec" else words


def _start(words: list[str], programs: frozenset[str]) -> Health:
    """Run words that are quoted for a shell, by the launcher if they hold variables."""
    line = " ".join(words)
    plain = plain_words(line)
    if plain is not None:
        return Health(("CMD", *plain), programs)
    return Health(("CMD", f"/{launch.PROGRAM}", line), programs | {launch.PROGRAM})


def _probing(words: list[str], config: dict[str, Any]) -> list[str]:
    """Return the prober's arguments for a curl or wget; none if it cannot stand in for it."""
    reader = READERS.get(posixpath.basename(words[0]))
    if reader is None or PROXIES & environment(config).keys():
        return []
    given = _single_options(words[1:])
    urls: list[str] = []
    options: list[str] = []
    try:
        for word in given:
            if word.startswith("-"):
                options.append(reader(word, given))
            else:
                urls.append(_url(word))
        arguments = ALWAYS[reader](options)
    except (KeyError, ValueError, StopIteration):
        return []
    return [*arguments, *urls] if len(urls) == 1 else []


def _single_options(words: list[str]) -> Iterator[str]:
    """Take `-fsSo/dev/null` and `--timeout=3` apart."""
    for raw in words:
        word = raw if "$" in raw else shlex.split(raw)[0] if shlex.split(raw) else ""
        if word.startswith("--"):
            yield from word.split("=", 1)
        elif SHORT.match(word) and word not in {"-nv"}:
            yield from _short(word)
        else:
            yield word


def _short(word: str) -> Iterator[str]:
    for place, letter in enumerate(word[1:], 1):
        yield f"-{letter}"
        if letter in "omXTtO" and word[place + 1 :]:
            yield word[place + 1 :]
            return


def _url(word: str) -> str:
    bare = word.strip("'\"")
    if not URL.fullmatch(bare):
        raise ValueError(word)
    url = bare if bare.lower().startswith("http://") else f"http://{bare}"
    return f'"{url}"' if "$" in url else shlex.quote(url)


def _curl(option: str, rest: Iterator[str]) -> str:
    if option in {"-o", "--output"}:
        _nowhere(next(rest))
    elif option in {"-m", "--max-time"}:
        return f"-time {math.ceil(float(next(rest)))}"
    elif option == "--connect-timeout":
        float(next(rest))
    elif option in {"-X", "--request"}:
        return {"GET": "", "HEAD": "-head"}[next(rest)]
    else:
        return CURL[option]
    return ""


def _wget(option: str, rest: Iterator[str]) -> str:
    if option in {"-O", "--output-document"}:
        _nowhere(next(rest))
        return "quiet"
    if option in {"-T", "--timeout"}:
        return f"-time {math.ceil(float(next(rest)))}"
    if option in {"-t", "--tries"}:
        int(next(rest))
        return ""
    return WGET[option]


def _nowhere(place: str) -> None:
    if place not in {"-", "/dev/null"}:
        raise ValueError(place)


def _of_curl(options: list[str]) -> list[str]:
    given = [each for each in options if each not in {"", "fail"}]
    return _apart(given if "fail" in options else ["-any", *given])


def _of_wget(options: list[str]) -> list[str]:
    if not {"quiet", "-spider"} & set(options):
        raise ValueError("it writes a file")
    return _apart(["-follow", *(each for each in options if each not in {"", "quiet"})])


def _apart(options: list[str]) -> list[str]:
    return [word for option in dict.fromkeys(options) for word in option.split(" ")]


CURL = {
    **dict.fromkeys(("-s", "--silent", "-S", "--show-error", "-v", "--verbose"), ""),
    **dict.fromkeys(("-f", "--fail", "--fail-with-body"), "fail"),
    **dict.fromkeys(("-I", "--head"), "-head"),
    **dict.fromkeys(("-L", "--location"), "-follow"),
}
WGET = {
    **dict.fromkeys(("-q", "--quiet", "-nv", "--no-verbose", "--no-check-certificate"), ""),
    "--spider": "-spider",
}
Reader = Callable[[str, Iterator[str]], str]
READERS: dict[str, Reader] = {"curl": _curl, "wget": _wget}
ALWAYS: dict[Reader, Callable[[list[str]], list[str]]] = {_curl: _of_curl, _wget: _of_wget}


def health_command(config: dict[str, Any]) -> list[str]:
    """Return the command of a health check in exec form; empty if there is none.

    A line is for the shell of the image's `SHELL`, as the engine has it.
    """
    test = (config.get("Healthcheck") or {}).get("Test") or ["NONE"]
    if test[0] == "CMD-SHELL":
        return [*(config.get("Shell") or ("/bin/sh", "-c")), test[1]]
    return list(test[1:]) if test[0] == "CMD" else []


def health_words(config: dict[str, Any]) -> list[str]:
    """List the words of the result's health check that may name programs of the image."""
    found = health(config)
    if found is None or PROGRAM in found.programs:
        return []
    if launch.PROGRAM in found.programs:
        return list(launch.guess(found.test[2], environment(config))[:1])
    command = health_command(config | {"Healthcheck": {"Test": list(found.test)}})
    line = found.test[1] if found.test[0] == "CMD-SHELL" else shell_line(command)
    return command[:1] + (re.split(r"[\s;|&()'\"]+", line) if line else [])
