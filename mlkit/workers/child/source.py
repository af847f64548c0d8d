"""What the text of a script shows before it runs: what it imports, and whether it is plain.

A plain script computes on its variables, with functions of modules that keep no state, and prints.
It cannot reach anything that outlives it (the environment, files, attributes of objects), so it may
run in the worker itself; all others run in a process of their own, which costs a fork. What is not
surely plain is not plain.

This file uses the standard library only.
"""

from __future__ import annotations

import ast
import builtins
import importlib
import inspect
import types
from typing import NamedTuple

_HARMLESS = frozenset((
    "abs", "all", "any", "ascii", "bin", "bool", "bytearray", "bytes", "chr", "complex", "dict",
    "divmod", "enumerate", "filter", "float", "format", "frozenset", "hash", "hex", "int",
    "isinstance", "issubclass", "iter", "len", "list", "map", "max", "min", "next", "oct", "ord",
    "pow", "print", "range", "repr", "reversed", "round", "set", "slice", "sorted", "str", "sum",
    "tuple", "zip", "None", "True", "False", "Ellipsis", "NotImplemented", "ArithmeticError",
    "AssertionError", "AttributeError", "BaseException", "Exception", "FloatingPointError",
    "IndexError", "KeyError", "LookupError", "NameError", "NotImplementedError", "OverflowError",
    "RecursionError", "RuntimeError", "StopIteration", "SyntaxError", "SystemExit", "TypeError",
    "UnicodeError", "ValueError", "ZeroDivisionError",
))  # fmt: skip
# Modules whose functions leave nothing behind; of those that have others too, the ones named.
_STATELESS: dict[str, frozenset[str]] = dict.fromkeys(
    (
        "base64",
        "binascii",
        "bisect",
        "cmath",
        "collections",
        "datetime",
        "difflib",
        "fractions",
        "functools",
        "hashlib",
        "heapq",
        "hmac",
        "html",
        "itertools",
        "json",
        "math",
        "numbers",
        "operator",
        "re",
        "statistics",
        "string",
        "textwrap",
        "unicodedata",
        "urllib.parse",
        "zlib",
        "zoneinfo",
    ),
    frozenset[str](),
) | {
    "decimal": frozenset({"Decimal"}),
    "time": frozenset({"monotonic", "perf_counter", "sleep", "strftime", "time"}),
    "uuid": frozenset({"UUID", "uuid4", "uuid5"}),
}
_BUILTIN = frozenset(dir(builtins))
# Attributes of frames, generators, coroutines and tracebacks lead to the worker's own variables.
_INNER = ("__", "f_", "gi_", "cr_", "ag_", "tb_")
_FORBIDDEN = (ast.AsyncFunctionDef, ast.AsyncFor, ast.AsyncWith, ast.Await, ast.ClassDef)


class Source(NamedTuple):
    """A script, compiled.

    Attributes:
        code: To execute.
        is_plain: Whether it can leave nothing behind.
        modules: What it imports, in its order; empty where the order could matter.
    """

    code: types.CodeType
    is_plain: bool
    modules: tuple[str, ...]


def read(text: str, name: str) -> Source:
    """Compile the text of a script.

    Args:
        text: The script, perhaps indented as the diagram is.
        name: What tracebacks call its file.

    Raises:
        SyntaxError: It is not Python.
    """
    tree = ast.parse(inspect.cleandoc("\n" + text), name)
    nodes = list(ast.walk(tree))
    return Source(compile(tree, name, "exec"), _is_plain(nodes), _modules(nodes))


def _is_plain(nodes: list[ast.AST]) -> bool:
    bound = {node.id for node in nodes if isinstance(node, ast.Name) and not _reads(node)}
    bound |= {node.name for node in nodes if isinstance(node, ast.FunctionDef)}
    bound |= {node.arg for node in nodes if isinstance(node, ast.arg)}
    modules: dict[str, str] = {}
    for node in nodes:
        if isinstance(node, ast.Import):
            modules |= {
                each.asname or each.name.partition(".")[0]: each.name for each in node.names
            }
    return not any(_reaches_out(node, bound, modules) for node in nodes)


def _reaches_out(node: ast.AST, bound: set[str], modules: dict[str, str]) -> bool:
    """Return whether a part of a script may change what outlives the script."""
    if isinstance(node, ast.Attribute):
        if not isinstance(node.ctx, ast.Load) or node.attr.startswith(_INNER):
            return True
        if isinstance(node.value, ast.Name) and node.value.id in modules:
            return not _is_stateless(modules[node.value.id], node.attr)
        return False
    if isinstance(node, ast.Name) and _reads(node):
        name = node.id
        unknown = name in _BUILTIN and name not in _HARMLESS and name not in bound
        return unknown or name.startswith("__")
    if isinstance(node, ast.Import):
        return any(each.name not in _STATELESS or "." in each.name for each in node.names)
    if isinstance(node, ast.ImportFrom):
        return not all(_is_stateless(node.module or "", each.name) for each in node.names)
    return isinstance(node, _FORBIDDEN)


def _is_stateless(module: str, name: str) -> bool:
    """Return whether a module offers a name that leaves nothing behind when it is used."""
    if module not in _STATELESS:
        return False
    allowed = _STATELESS[module]
    if allowed:
        return name in allowed
    found = getattr(importlib.import_module(module), name, None)
    return found is not None and not isinstance(found, types.ModuleType)


def _reads(node: ast.Name) -> bool:
    return isinstance(node.ctx, ast.Load)


def _modules(nodes: list[ast.AST]) -> tuple[str, ...]:
    """List the imported modules; none if the script may set variables before it imports them."""
    if any(isinstance(node, ast.Attribute) and "env" in node.attr for node in nodes):
        return ()
    found: dict[str, None] = {}
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= dict.fromkeys(each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found[node.module] = None
    return tuple(found)
