"""What a container starts: exec form or shell form, and whether the shell is needed."""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from mlkit.errors import BadData
from mlkit.image.command import launch
from mlkit.image.command.launch import BUILTINS
from mlkit.image.filesystem.inventory import FileSystem, Inventory

SHELLS = {"sh", "bash", "dash", "ash"}
HARMLESS = {"-e", "-o", "-eo", "pipefail", "errexit"}
"""Options of a shell that mean nothing where it starts one program."""
FEATURES = set("|&;<>()$`*?[]{}~#!\n")
"""Characters that, outside quotes, only a shell understands."""
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Command:
    """What a container starts.

    Attributes:
        entrypoint: The entrypoint, in exec form.
        arguments: What follows: the command.
        form: `exec`, or `shell` where it was written as a line for a shell.
        shell: The shell that stays necessary, and why; empty if none does.
        converted: It was a shell's line, and is in exec form now.
        launched: The line for our launcher, where only `$VAR` is left of the shell.
        guess: The words as the image's own environment has them: for the static closure only.
    """

    entrypoint: tuple[str, ...]
    arguments: tuple[str, ...]
    form: Literal["exec", "shell"]
    shell: str = ""
    converted: bool = False
    launched: str = ""
    guess: tuple[str, ...] = ()

    @property
    def argv(self) -> tuple[str, ...]:
        """Return all words."""
        return self.entrypoint + self.arguments

    @property
    def words(self) -> tuple[str, ...]:
        """Return the words that may name files."""
        return self.guess or self.argv


def parse(config: dict[str, Any], arguments: Sequence[str] = ()) -> Command:
    """Read a config's Entrypoint and Cmd, and take the shell out where none of it is used.

    A converted shell-form entrypoint drops Cmd, as the shell did.

    Args:
        config: The image's config.
        arguments: What the user runs it with, in place of Cmd.
    """
    entrypoint = tuple(config.get("Entrypoint") or ())
    command = tuple(arguments or config.get("Cmd") or ())
    line = shell_line(entrypoint) or (None if entrypoint else shell_line(command))
    if line is None:
        return Command(entrypoint, command, "exec")
    words, variables = plain_words(line), environment(config)
    launched = line if words is None and launch.suffices(line, variables) else ""
    if words is None and not launched:
        return Command(entrypoint, command, "shell", shell=f"`{line}` uses the shell")
    words = words or (f"/{launch.PROGRAM}", line)
    guess = launch.guess(line, variables) if launched else ()
    begin, rest = (words, ()) if shell_line(entrypoint) else ((), words)
    return Command(begin, rest, "shell", "", True, launched, guess)


def shell_line(argv: Sequence[str]) -> str | None:
    """Return the line of `sh -c LINE` or `bash -o pipefail -c LINE`; None for anything else."""
    if "-c" not in argv or posixpath.basename(argv[0]) not in SHELLS:
        return None
    at = argv.index("-c")
    plain = all(each in HARMLESS for each in argv[1:at])
    return argv[at + 1] if plain and len(argv) > at + 1 else None


def plain_words(line: str) -> tuple[str, ...] | None:
    """Split a shell's line that uses nothing of the shell; None if it does.

    A leading `exec` is dropped: without a shell there is nothing to replace.
    """
    if FEATURES & set(_outside_quotes(line)) or ('"' in line and set("$`\\") & set(line)):
        return None
    try:
        words = shlex.split(line)
    except ValueError:
        return None
    words = words[1:] if words[:1] == ["exec"] else words
    plain = words and words[0] not in BUILTINS and "=" not in words[0]
    return tuple(words) if plain else None


def _outside_quotes(line: str) -> str:
    kept, quote = [], ""
    for letter in line:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        else:
            kept.append(letter)
    return "".join(kept)


def environment(config: dict[str, Any]) -> dict[str, str]:
    """Return the config's environment."""
    pairs = (each.partition("=") for each in config.get("Env") or ())
    return {name: value for name, _, value in pairs}


def commands(files: FileSystem, config: dict[str, Any]) -> frozenset[str]:
    """List the names in the directories of PATH: no other word without a slash is a program."""
    folders = environment(config).get("PATH", DEFAULT_PATH).split(":")
    places = (files.walk(folder)[0] for folder in folders)
    found = (files.children.get(place, ()) for place in places if place is not None)
    return frozenset(name for names in found for name in names)


def find_program(files: FileSystem, config: dict[str, Any], word: str) -> str | None:
    """Find a command's file as the engine does: by PATH, or from the working directory."""
    if "/" in word:
        place = posixpath.join(config.get("WorkingDir") or "/", word)
        return place if files.resolve(place) else None
    for folder in environment(config).get("PATH", DEFAULT_PATH).split(":"):
        place = posixpath.join(folder, word)
        entry = files.resolve(place)
        if entry and entry.kind == "file":
            return place
    return None


def original_argv(inventory: Inventory) -> list[str]:
    """Return what the image starts as it is.

    Raises:
        BadData: It starts nothing.
    """
    config = inventory.image.config
    argv = [*(config.get("Entrypoint") or ()), *(config.get("Cmd") or ())]
    if not argv:
        hint = "set an ENTRYPOINT or CMD"
        raise BadData(f"{inventory.image.source}: it has no command to start", hint=hint)
    return argv
