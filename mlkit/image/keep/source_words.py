"""Which words of a text may name a program: by the language, or the kind of settings, that it is.

A word that stands in code for nothing of the kind costs the bytes of a program; one that is passed
over costs the user's trust.
"""

from __future__ import annotations

import ast
import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from mlkit.image.keep.python_imports import find_imported, tree_of

Language = Literal["shell", "python", "quoting", "other", "service", "settings", "unknown"]
WORD = re.compile(r"[^\s;|&()<>'\"`{}\[\]$=,:]+")
LITERAL = re.compile(
    r"'((?:[^'\\\n]|\\.)*+)'?|\"((?:[^\"\\\n]|\\.)*+)\"?|`((?:[^`\\]|\\[\s\S])*+)`?"
)
"""Takes what it has read even where no quote ends it: so it reads each letter once."""
MINIFIED = 2_000
"""Letters of a line in which a quote within a pattern may have turned inside into outside."""
SHELLS = {"sh", "bash", "dash", "ash", "ksh", "zsh", "busybox", "execlineb", "with-contenv"}
SUFFIXES: dict[str, Language] = {
    **dict.fromkeys(("sh", "bash", "zsh", "ksh", "ash"), "shell"),
    **dict.fromkeys(("py", "pyw"), "python"),
    **dict.fromkeys(("js", "mjs", "cjs", "ts", "mts", "cts", "jsx", "tsx", "java"), "quoting"),
    **dict.fromkeys(("jsp", "jspf", "jspx", "tag", "gsp", "vue", "svelte", "astro"), "quoting"),
    **dict.fromkeys(("groovy", "kt", "kts", "scala", "go", "rs", "cs", "fs"), "quoting"),
    **dict.fromkeys(("pl", "pm", "t", "cgi", "psgi", "rb", "ru", "rake", "erb"), "other"),
    **dict.fromkeys(("gemspec", "php", "phtml", "inc", "r", "rmd", "lua", "tcl"), "other"),
    **dict.fromkeys(("ex", "exs", "erl", "escript", "awk", "jl", "scm", "el", "clj"), "other"),
    **dict.fromkeys(("yml", "yaml", "toml", "ini", "conf", "cfg", "cnf", "properties"), "settings"),
    **dict.fromkeys(("json", "env", "xml", "hcl", "config", "service", "timer"), "settings"),
}  # fmt: skip
PROSE = ("md", "rst", "txt", "html", "htm", "css", "svg", "csv", "tsv", "po", "map", "log", "pem",
         "crt", "key", "xhtml", "jsonl", "lock")  # fmt: skip
"""Suffixes of what neither starts programs nor sets them."""
SERVICE = re.compile(
    rb"^[ \t]*(?:command|cmd|Exec(?:Start|Stop|Reload|Condition)\w*|exec-start|program|\"script\""
    rb"|(?:start|stop|restart) program)[ \t]*[=:]",
    re.MULTILINE,
)
"""Settings of supervisord, systemd, circus, monit, pm2 and the like."""
PREFIXES = "-@:+!"
"""What a unit of systemd may have before the name of a program."""
EMBEDDED = re.compile(
    rb"popen|os\.execute|\bsystem\s*\(|\bexec\s*[\[(]|subprocess|child_process|ProcessBuilder"
    rb"|getRuntime|proc_open|shell_exec|passthru"
)
"""Code within settings that starts programs: Lua and Perl of nginx, templates, and the like."""
TABLES = re.compile(
    r"(?:^|/)(?:etc/(?:ana)?cron[^/]*(?:/.*)?|spool/cron/.*|crontabs?/[^/]+|Procfile|etc/inittab"
    r"|etc/logrotate\.(?:conf|d/[^/]+)|up|down)$"
)
"""Tables of cron, of init, of logrotate; lines of execline of a one-shot service of s6."""
PYTHON_STARTS = re.compile(
    rb"subprocess|\bos\.(?:popen|system|exec|spawn|posix_spawn)|\bpty\b|pexpect|plumbum|\binvoke\b"
    rb"|create_subprocess|\bshutil\.which|commands\.getoutput|\bfabric\b|\bsh\b|loop\.subprocess"
)
QUOTING_STARTS = re.compile(
    rb"child_process|\bexeca\b|shelljs|\bspawn|Bun\.|Deno\.|ProcessBuilder|getRuntime|\bProcess\b"
    rb"|os/exec|process::Command|\bzx\b|promisify|scala\.sys|\.execute\(\)"
    rb"|\bapps\s{0,4}:\s{0,4}\["  # what pm2 starts
)
OTHER_STARTS = re.compile(
    rb"`|\bqx\b|%x|\bexec|\bsystem|\bspawn|popen|passthru|proc_open|shell_exec|Open3|IPC::|processx"
    rb"|\bpipe\b|os\.execute|open_port|System\.cmd|Process"
)
MODULE = re.compile(r"(?:[^\W\d]\w*)(?:\.[^\W\d]\w*)*")
RUN_MODULE = re.compile(r"(?:^|\s)-m[\s'\",]{1,8}([A-Za-z_][\w.]*)")
RUN_CODE = re.compile(r"-c\s{1,8}(?:'([^'\n]*)'|\"([^\"\n]*)\")")
BY_NAME = re.compile(rb"import_module|__import__|runpy|run_module|['\"]-m['\"]|\s-m\s|find_spec")
"""Without this in its text a Python source starts no module of the standard library by name."""
COMMENT = re.compile(r"^[ \t]*+[#;].*$|\s#\s.*$", re.MULTILINE)


@dataclass
class Words:
    """The words of a text that may name programs and modules.

    Attributes:
        programs: Words that may name a program.
        modules: Names that may be those of Python's modules.
        literals: Whole literals, spaces and all.
        by_name: Modules of the standard library may be started or imported by name.
        starts: The text has a way to start programs.
        shell: It is for a shell, or hands lines to one.
        service: It declares what a supervisor starts.
    """

    programs: set[str] = field(default_factory=set)
    modules: set[str] = field(default_factory=set)
    literals: set[str] = field(default_factory=set)
    by_name: bool = False
    starts: bool = False
    shell: bool = False
    service: bool = False


def words_of(path: str, data: bytes) -> Words:
    """Read the words of a text of the app's own; none of what is not text, or prose."""
    if b"\0" in data[:8192]:
        return Words()
    language = language_of(path, data)
    if language == "python":
        return _of_python(data)
    text = data.decode(errors="replace")
    if language == "quoting":
        found = _of_literals(text, bool(QUOTING_STARTS.search(data)))
        found.shell = b"exec" in data
        return found
    if language == "settings":
        found = _of_all(COMMENT.sub("", text), starts=bool(EMBEDDED.search(data)))
        found.shell = found.starts
        return found
    if language in {"shell", "service"}:
        found = _of_all(COMMENT.sub("", text), starts=True)
        found.shell = True
        found.service = language == "service"
        found.programs |= {each.lstrip(PREFIXES) for each in found.programs if found.service}
        return found
    if language == "other":
        found = _of_all(text, starts=bool(OTHER_STARTS.search(data)))
        found.shell = found.starts
        found.programs |= {each.lower() for each in found.programs}  # MiniMagick::Tool::Convert
        return found
    return Words()


def language_of(path: str, data: bytes) -> Language:
    """Recognise the language of a text by its first line, its name, or its content."""
    program = interpreter(data)
    name = posixpath.basename(path)
    suffix = name.rpartition(".")[2].lower() if "." in name[1:] else ""
    if program:
        return _spoken_by(program)
    if TABLES.search(path):
        return "service"
    language = "unknown" if suffix in PROSE else SUFFIXES.get(suffix, "settings")
    return "service" if language == "settings" and SERVICE.search(data) else language


def interpreter(data: bytes) -> str:
    """Return the name of the program that a script's first line names; empty if it has none."""
    words = first_line(data)
    return posixpath.basename(words[0]) if words else ""


def first_line(data: bytes) -> list[str]:
    """Return the program of a script's first line and its arguments, without `env` before it."""
    line = data[:1024].split(b"\n", 1)[0]
    if not line.startswith(b"#!"):
        return []
    words = line[2:].decode(errors="replace").split()
    if words and posixpath.basename(words[0]) == "env":
        rest = words[1:]
        while rest and (rest[0].startswith("-") or "=" in rest[0]):
            glued = rest[0].removeprefix("-S") if rest[0].startswith("-S") else ""
            rest = [glued, *rest[1:]] if glued else rest[1:]
        return rest
    return words


def _spoken_by(program: str) -> Language:
    plain = program.rstrip("0123456789.")
    if plain in SHELLS:
        return "shell"
    if plain.startswith(("python", "pypy")):
        return "python"
    return "quoting" if plain in {"node", "nodejs", "bun", "deno", "ts-node", "tsx"} else "other"


def _of_all(text: str, starts: bool) -> Words:
    found = Words(set(WORD.findall(text)), starts=starts)
    found.modules = _find_started_modules(text)
    found.literals = {each for parts in LITERAL.findall(text) for each in parts if " " in each}
    return found


def _of_literals(text: str, starts: bool) -> Words:
    found = Words(starts=starts)
    found.literals = {each for parts in LITERAL.findall(text) for each in parts if each}
    for each in found.literals:
        found.programs.update(WORD.findall(each))
    if any(len(line) > MINIFIED for line in text.splitlines()):
        found.programs.update(WORD.findall(text))
    found.modules = _find_started_modules(text)
    return found


def _of_python(data: bytes) -> Words:
    tree = tree_of(data)
    if not tree.body and data.strip():  # of another Python: all its words may count
        return _of_all(data.decode(errors="replace"), starts=bool(PYTHON_STARTS.search(data)))
    found = Words(literals=set(_constants(tree)), starts=bool(PYTHON_STARTS.search(data)))
    found.by_name = bool(BY_NAME.search(data))
    found.shell = b"shell" in data or bool(re.search(rb"\b(?:system|popen|getoutput)\b", data))
    for text in found.literals:
        found.programs.update(WORD.findall(text))
        if MODULE.fullmatch(text.partition(":")[0]):
            found.modules.add(text.partition(":")[0])
        found.modules |= _find_started_modules(text)
        if "import " in text:
            found.modules |= find_imported(text.encode(errors="replace"))
    return found


def _find_started_modules(text: str) -> set[str]:
    """List the modules that `python -m NAME` and `python -c "import NAME"` in a text start."""
    found = set(RUN_MODULE.findall(text))
    for parts in RUN_CODE.findall(text):
        found |= find_imported("".join(parts).encode(errors="replace"))
    return found


def _constants(tree: ast.AST) -> Iterator[str]:
    """List the texts of a tree, but for those that only document."""
    todo: list[ast.AST] = [tree]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue
        if isinstance(node, ast.Constant):
            if isinstance(node.value, str):
                yield node.value
            elif isinstance(node.value, bytes):
                yield node.value.decode(errors="replace")
        todo += ast.iter_child_nodes(node)


ASSIGNED = r"[ \t]{0,80}(?:[A-Za-z_]\w{0,80}=\S{0,200}[ \t]{1,8}){0,16}+([A-Za-z_][\w.+-]{0,80})"
BEGINS = re.compile(rf"(?:^|[;|&(`!]){ASSIGNED}", re.MULTILINE)
FOLLOWS = re.compile(
    rf"\b(?:exec|then|do|else|if|while|until|command|nohup|env|xargs|sudo|time)[ \t]{ASSIGNED}"
)


def commands_of_script(data: bytes) -> set[str]:
    """List the words where a script for a shell has commands: of scripts that packages hold."""
    text = COMMENT.sub("", data.decode(errors="replace"))
    return {*BEGINS.findall(text), *FOLLOWS.findall(text)}
