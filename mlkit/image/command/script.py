"""Shell scripts as entrypoints: those that only set variables and exec start without a shell."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from mlkit.image.command import launch
from mlkit.image.command.entrypoint import SHELLS, Command, environment, find_program
from mlkit.image.filesystem.inventory import Inventory
from mlkit.image.proof.findings import Finding

OPTION = "-script"
"""Marks for the launcher that a script follows."""
LONGEST = 1 << 16
INITS = {"tini", "tini-static", "dumb-init", "docker-init"}
SHEBANG = re.compile(r"#!\s*(?:/usr/bin/env\s+)?(?:/\S*/)?(?:sh|bash|dash|ash)(?:\s|$)")
BARE = re.compile(r"#![^-\n]*(?:\s-e)?\s*")
"""A first line without options that would matter."""
SETTINGS = re.compile(r"set(?:\s+-(?:[eu]+|[eu]*o\s+(?:pipefail|errexit|nounset)))+\s*")
NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)=(.*)", re.ASCII | re.DOTALL)
DEFAULT = re.compile(r':\s+("?)\$\{([A-Za-z_]\w*):=([\w./:@%+,-]*)\}\1\s*', re.ASCII)
OWN = re.compile(
    r"PWD|OLDPWD|PPID|UID|EUID|RANDOM|LINENO|SECONDS|SHLVL|IFS|OPTIND|PS\d|BASH\w*|_|HOSTTYPE"
    r"|OSTYPE|MACHTYPE|GROUPS|DIRSTACK|FUNCNAME|SHELLOPTS|ENV"
)
"""Variables that shells set, or that change what they do."""
ALL = '"$@"'


@dataclass(frozen=True)
class Script:
    """A shell script that a container starts with.

    Attributes:
        path: Where it is.
        text: The same for our launcher; empty if it needs a shell.
        problem: The line that needs one.
        words: What it starts in the end, with the image's environment.
    """

    path: str
    text: str = ""
    problem: str = ""
    words: tuple[str, ...] = ()


class NeedsShell(ValueError):
    """A line that only a shell understands."""


def note(script: Script) -> Finding:
    """Return whether a script needs its shell."""
    if script.text:
        observed = (
            f"it starts with {script.path}, a shell script that only sets variables and execs"
        )
        return Finding("shell-script", observed, "`mlkit image slim` starts it without a shell")
    observed = (
        f"it starts with {script.path}, a shell script that needs its shell ({script.problem})"
    )
    return Finding("shell-script", observed, "keep the shell, or do that in the app")


def find(inventory: Inventory, argv: Sequence[str]) -> tuple[int, int, Script] | None:
    """Find the script that a command starts with, behind an init if there is one.

    Returns:
        From which word to which one the script and its shell stand, and the script.
    """
    config = inventory.image.config
    begin = _behind_init(argv)
    end, named = begin + 1, posixpath.basename(argv[begin]) in SHELLS
    if named:
        end += 1 + (argv[end : end + 1] == ["-e"])
        if end > len(argv) or argv[end - 1].startswith("-"):
            return None
    place = find_program(inventory.files, config, argv[end - 1])
    entry = inventory.files.resolve(place) if place else None
    if place is None or entry is None or entry.kind != "file" or entry.size > LONGEST:
        return None
    text = inventory.read(entry).decode(errors="replace")
    if not named and not SHEBANG.match(text):
        return None
    return begin, end, translate(place, text, environment(config), tuple(argv[end:]))


def _behind_init(argv: Sequence[str]) -> int:
    if posixpath.basename(argv[0]) not in INITS:
        return 0
    if "--" in argv[:-1]:
        return list(argv).index("--") + 1
    return 1 if len(argv) > 1 and not argv[1].startswith("-") else 0


def translate(
    path: str, text: str, variables: Mapping[str, str], arguments: tuple[str, ...] = ()
) -> Script:
    """Translate a script for the launcher, if it only sets variables and execs.

    Args:
        path: Where it is.
        text: What it holds.
        variables: The image's environment.
        arguments: What it is started with: its `"$@"`.
    """
    first = text.split("\n")[0]
    if first.startswith("#!") and not BARE.fullmatch(first):
        return Script(path, problem=f"line 1: {first[:80]}")
    reader = _Reader(dict(variables))
    for number, line in enumerate(text.split("\n"), 1):
        plain = line.strip(" \t")
        try:
            reader.take(plain)
        except NeedsShell:
            return Script(path, problem=f"line {number}: {plain[:80]}")
        if plain.startswith("exec "):
            words = _guess(reader.lines[-1], reader.known, arguments)
            return Script(path, "\n".join(reader.lines), words=words)
    return Script(path, problem="it does not end with exec")


class _Reader:
    """Translates a script line by line.

    Attributes:
        lines: What the launcher is given.
        known: The variables so far, with the image's environment.
    """

    def __init__(self, known: dict[str, str]) -> None:
        self.lines: list[str] = []
        self.known = known
        self._exported: set[str] = set()
        self._strict = False

    def take(self, line: str) -> None:
        """Translate a line.

        Raises:
            NeedsShell: Only a shell understands it.
        """
        if not line or line.startswith("#"):
            return
        if SETTINGS.fullmatch(line):
            self._strict |= re.search(r"-\w*u|nounset", line) is not None
            return
        default = DEFAULT.fullmatch(line)
        if default:
            self._assign(f"{default[2]}=${{{default[2]}:-{default[3]}}}")
            return
        if self._strict and launch.names(line, without_default=True) - self.known.keys():
            raise NeedsShell(line)  # set -u ends there
        words = _words(line)
        if words[0] == "exec":
            self.lines.append(_find_started(words, self.known))
        elif words[0] == "export":
            self._export(words[1:])
        else:
            for word in words:
                self._assign(word)

    def _export(self, words: list[str]) -> None:
        if not words:
            raise NeedsShell("export")
        for word in words:
            if "$" in word and launch.bare(word):  # some shells split it, some do not
                raise NeedsShell(word)
            name = word.partition("=")[0]
            self._exported.add(name)
            if name != word:
                self._assign(word)
            elif NAME.fullmatch(word) and not OWN.fullmatch(word):
                self.lines.append(f"export {word}")
            else:
                raise NeedsShell(word)

    def _assign(self, word: str) -> None:
        match = ASSIGNMENT.fullmatch(word)
        if match is None or OWN.fullmatch(match[1]) or _own(word):
            raise NeedsShell(word)
        self.known[match[1]] = " ".join(launch.guess(match[2], self.known))
        self.lines.append(("export " if match[1] in self._exported else "") + word)


def _words(line: str) -> list[str]:
    """Split a line as the launcher does; the arguments, `"$@"`, are a word of their own."""
    found, rest = [], line.replace(ALL, "\0")
    if "$@" in rest or "\0" in line:
        raise NeedsShell(line)
    for part in rest.split():
        if "\0" in part and part != "\0":
            raise NeedsShell(line)
    pieces = rest.split("\0")
    for number, piece in enumerate(pieces):
        if piece.strip(" \t") and not launch.LINE.fullmatch(piece):
            raise NeedsShell(line)
        found += launch.WORD.findall(piece) + ([ALL] if number < len(pieces) - 1 else [])
    return found


def _find_started(words: list[str], known: dict[str, str]) -> str:
    first = words[1] if len(words) > 1 else ""
    line = " ".join(words[1:]).replace(ALL, "x")
    if not first or "=" in first or first.startswith("-") or _own(line):
        raise NeedsShell(line)
    if any(launch.PATTERNS & set(known.get(name, "")) for name in launch.bare(line)):
        raise NeedsShell(line)
    return "exec " + " ".join(words[1:])


def _own(text: str) -> bool:
    """Return whether a text uses a variable that shells set."""
    return any(OWN.fullmatch(name) for name in launch.names(text))


def _guess(line: str, known: Mapping[str, str], arguments: tuple[str, ...]) -> tuple[str, ...]:
    found: list[str] = []
    for word in _words(line)[1:]:
        found += arguments if word == ALL else launch.guess(word, known)
    return tuple(found)


def without_shell(inventory: Inventory, command: Command) -> tuple[Command, Script | None]:
    """Start a command's script by our launcher, if that does all that the shell did.

    Returns:
        The command, changed if it could be, and the script that it starts with.
    """
    found = find(inventory, command.argv) if command.argv and not command.launched else None
    if found is None:
        return command, None
    begin, end, script = found
    if not script.text:
        return command, script
    ours = (f"/{launch.PROGRAM}", OPTION, script.text)
    fixed = len(command.entrypoint)
    if begin < fixed < end:
        problem = "its name is among the arguments, which may be others"
        return command, replace(script, text="", problem=problem)
    argv = (*command.argv[:begin], *ours, *command.argv[end:])
    cut = fixed + (len(ours) - (end - begin) if end <= fixed else 0)
    words = (*command.argv[:begin], *script.words)
    return replace(
        command, entrypoint=argv[:cut], arguments=argv[cut:], launched=script.text, guess=words
    ), script
