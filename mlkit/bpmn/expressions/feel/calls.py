"""Calls: of built-in functions, chosen while compiling, and of functions that are values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mlkit.bpmn.expressions.feel import builtins
from mlkit.bpmn.expressions.feel.apply import apply, invoke
from mlkit.bpmn.expressions.feel.budget import Run
from mlkit.bpmn.expressions.feel.builtins.registry import Overload
from mlkit.bpmn.expressions.feel.frame import Code, Frame
from mlkit.bpmn.expressions.feel.values import Function
from mlkit.bpmn.expressions.tree import Node

if TYPE_CHECKING:
    from mlkit.bpmn.expressions.feel.compiler import Compiler


def compile_call(compiler: Compiler, node: Node) -> Code:
    """Return the closure of a call with arguments by position."""
    callee, *given = node.children
    arguments = [argument(compiler, each) for each in given]
    found = _builtin(compiler, callee)
    if found is None:
        return _dynamic(compiler, callee, arguments, None)
    overload = builtins.by_count(found, len(given))
    if overload is None:
        compiler.problems.append((callee.position, f"{found!r} does not take {_count(given)}"))
        return lambda frame: None
    return _calling(overload, arguments, callee.position)


def compile_named(compiler: Compiler, node: Node) -> Code:
    """Return the closure of a call with arguments by name."""
    callee, *given = node.children
    keys: tuple[str, ...] = node.value  # type: ignore[assignment]
    arguments = [argument(compiler, each) for each in given]
    found = _builtin(compiler, callee)
    if found is None:
        return _dynamic(compiler, callee, arguments, keys)
    overload = builtins.by_names(found, keys)
    if overload is None:
        problem = f"{found!r} has no parameters {', '.join(keys)}"
        compiler.problems.append((callee.position, problem))
        return lambda frame: None
    codes = dict(zip(keys, arguments, strict=True))
    return _calling(
        overload, [codes.get(each, _null) for each in overload.parameters], node.position
    )


def argument(compiler: Compiler, node: Node) -> Code:
    """Return the closure of an argument, which may be a built-in function by its name."""
    name = _builtin(compiler, node)
    if name is None:
        return compiler.compile(node)
    code, value = compiler.compile(node), builtin_value(name)

    def found(frame: Frame) -> Any:
        variable = code(frame)
        return value if variable is None else variable

    return found


def _null(frame: Frame) -> None:
    return None


def _count(given: Sequence[Any]) -> str:
    return f"{len(given)} argument{'' if len(given) == 1 else 's'}"


def _builtin(compiler: Compiler, callee: Node) -> str | None:
    """Return the name of the built-in function that is called, if it is one."""
    name = str(callee.value)
    if callee.op != "name" or compiler.is_bound(name) or name in compiler.known:
        return None
    return name if name in builtins.TABLE else None


def _calling(overload: Overload, arguments: list[Code], position: int) -> Code:
    function = overload.function

    def call(frame: Frame) -> Any:
        run = frame.run
        values = [each(frame) for each in arguments]
        run.position = position
        return invoke(run, function, values)

    return call


def _dynamic(
    compiler: Compiler, callee: Node, arguments: list[Code], keys: tuple[str, ...] | None
) -> Code:
    """Return the closure of a call of a value."""
    name = str(callee.value)
    free = callee.op == "name" and not compiler.is_bound(name) and name not in compiler.known
    if free and not compiler.dynamic:
        compiler.problems.append((callee.position, f"there is no function {name!r}"))
    code = compiler.compile(callee)
    position = callee.position

    def call(frame: Frame) -> Any:
        function = code(frame)
        values = [each(frame) for each in arguments]
        frame.run.position = position
        return apply(frame.run, function, values, keys)

    return call


def builtin_value(name: str) -> Function:
    """Return a built-in function as a value."""

    def call(run: Run, values: list[Any], keys: tuple[str, ...] | None) -> Any:
        return _apply_builtin(run, name, values, keys)

    return Function(builtins.TABLE[name][0].parameters, call, name)


def _apply_builtin(run: Run, name: str, values: list[Any], keys: tuple[str, ...] | None) -> Any:
    if keys is None:
        overload = builtins.by_count(name, len(values))
        return None if overload is None else invoke(run, overload.function, values)
    overload = builtins.by_names(name, keys)
    if overload is None:
        return None
    by_name = dict(zip(keys, values, strict=True))
    return invoke(run, overload.function, [by_name.get(each) for each in overload.parameters])
