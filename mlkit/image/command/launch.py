"""Lines of a shell whose only feature is `$VAR`: our launcher starts them without the shell."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping

PROGRAM = "mlkit-launch"
"""Where the launcher lies in a result."""
VARIABLE = r"\$(?:[A-Za-z_]\w*+|\{[A-Za-z_]\w*+(?::?-[\w./:@%+,-]*+)?\})"
PLAIN = r"[^\s'\"$|&;<>()`*?\[\]{}~#!\\]"
QUOTED = rf"'[^']*+'|\"(?:[^\"$`\\]|{VARIABLE})*+\""
WORD = re.compile(rf"(?:{PLAIN}++|{QUOTED}|{VARIABLE})++", re.ASCII)
LINE = re.compile(rf"[ \t]*+(?:{WORD.pattern}(?:[ \t]++|$))++", re.ASCII)
"""Read in one way only: a line of a stranger must not take longer than its length."""
PARTS = re.compile(rf"({QUOTED})|\$(?:(\w++)|\{{(\w++)(:?-)?([^}}]*+)\}})", re.ASCII)
INSIDE = re.compile(VARIABLE, re.ASCII)
PATTERNS = set("*?[\\")
"""What the shell takes for a pattern of file names in an unquoted value."""
BUILTINS = {
    *(".", ":", "alias", "cd", "eval", "exit", "export", "if", "for", "read", "set", "source"),
    *("test", "trap", "ulimit", "umask", "exec", "command", "builtin", "unset", "readonly"),
    *("local", "shift", "hash", "type", "while", "until", "case", "time", "wait", "return"),
}


def suffices(line: str, environment: Mapping[str, str]) -> bool:
    """Return whether the launcher does with a line all that a shell would.

    Args:
        line: What follows `sh -c`.
        environment: The image's; an unquoted value that is a pattern needs the shell.
    """
    if not LINE.fullmatch(line):
        return False
    words = WORD.findall(line)
    replaced = words[0] == "exec"
    first = words[1:2] if replaced else words[:1]
    if not first or "=" in first[0] or first[0].startswith("-") or (first[0] in BUILTINS):
        return False
    if not replaced and set("$'\"") & set(first[0]):
        return False
    return not any(PATTERNS & set(environment.get(name, "")) for name in bare(line))


def names(line: str, *, without_default: bool = False) -> set[str]:
    """Name the variables that a line uses, or those of them that it gives no default."""
    found = (each.strip("${}") for each in INSIDE.findall(re.sub(r"'[^']*'", "", line)))
    parts = [each.partition("-") for each in found]
    return {name.removesuffix(":") for name, dash, _ in parts if not (without_default and dash)}


def inside(text: str, environment: Mapping[str, str]) -> str:
    """Expand the variables in a word."""
    return INSIDE.sub(lambda found: _value(found[0], environment), text)


def bare(line: str) -> set[str]:
    """Name the variables outside quotes."""
    return {found[2] or found[3] for found in PARTS.finditer(line) if not found[1]}


def guess(line: str, environment: Mapping[str, str]) -> tuple[str, ...]:
    """Expand a line with the image's environment, to see which files it may name."""
    expanded = inside(line, environment)
    try:
        words = shlex.split(expanded)
    except ValueError:  # a value holds a quote
        return ()
    return tuple(words[1:] if words[:1] == ["exec"] else words)


def _value(text: str, environment: Mapping[str, str]) -> str:
    name, _, fallback = text.strip("${}").partition("-")
    return environment.get(name.removesuffix(":")) or fallback
