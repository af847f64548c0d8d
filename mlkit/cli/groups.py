"""The groups and commands: they load on use, write their help, and check the settings file."""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from collections.abc import Callable, Collection, Mapping
from itertools import groupby
from typing import Any, ClassVar, TypeVar

import typer
from typer._click.core import Command as ClickCommand
from typer.core import TyperCommand, TyperGroup, TyperOption

from mlkit import config

Function = TypeVar("Function", bound=Callable[..., None])
Members = Mapping[str, tuple[str, str]]
"""Name -> (`module:attribute` of a function or a `typer.Typer`, help line), in order of use."""


def examples(*lines: str) -> Callable[[Function], Function]:
    """Return a decorator that keeps a command's examples, which its help shows last."""

    def keep(command: Function) -> Function:
        text = "\n\n".join(f"  {line}" for line in lines)
        command.epilog = f"Examples:\n\n{text}\n"  # type: ignore[attr-defined]
        return command

    return keep


def _on_a_terminal() -> bool:
    return sys.stdout is not None and sys.stdout.isatty()


class LeanOption(TyperOption):
    """An option of typer's that costs nothing where it is not given.

    typer converts each value with pydantic, whose import takes longer than that of typer; nothing
    needs no conversion. Help would convert the absent `--config`.

    Args:
        option: The option that typer has made.
    """

    def __init__(self, option: TyperOption) -> None:
        vars(self).update(vars(option))

    def process_value(self, ctx: Any, value: Any) -> Any:
        """Convert a value that is given, and check that it is given where it has to be."""
        if value is not None or self.required or self.multiple:
            return super().process_value(ctx, value)
        return None if self.callback is None else self.callback(ctx, self, None)

    def resolve_envvar_value(self, ctx: Any) -> str | None:
        """Return the variable of the option, by each of its flags' names."""
        found = super().resolve_envvar_value(ctx)
        if found is None and ctx.auto_envvar_prefix is not None:
            older = (f"{ctx.auto_envvar_prefix}_{each.upper()}" for each in aliases(self))
            found = next((value for each in older if (value := os.environ.get(each))), None)
        return found


def aliases(option: Any) -> list[str]:
    """Return the names of an option's flags in variables and settings files, but for its own.

    The rule of both names flags: where that of `--format` is not the parameter's, and where a flag
    has an older name, such as `--grace`.
    """
    long = (each.removeprefix("--") for each in option.opts if each.startswith("--"))
    return [name for each in long if (name := each.replace("-", "_")) != option.name]


class _LeanParameters(ClickCommand):
    """Commands and groups whose absent options cost nothing, and whose help names no variables.

    The variables follow one rule, MLKIT_<COMMAND>_<OPTION>, which the documentation states.
    """

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters and the help option."""
        # Not when the command is made: typer appends the options of completion afterwards.
        self.params = [_lean(each) for each in self.params]
        return super().get_params(ctx)

    def get_help(self, ctx: Any) -> str:
        """Return the help: in frames and colours for a terminal, plain text elsewhere.

        Plain text is what a pager, a search or an editor can use.
        """
        if not _on_a_terminal():
            return super().get_help(ctx)
        from mlkit.cli.frames import of_terminal

        formatter = of_terminal()
        self.format_help(ctx, formatter)
        return formatter.getvalue().rstrip("\n")

    def get_help_option(self, ctx: Any) -> Any:
        """Return the help option; a flag that is off, unlike one that is absent, is a boolean."""
        option = super().get_help_option(ctx)
        if option is not None:
            option.default = False
        return option


def _lean(parameter: Any) -> Any:
    """Return a parameter that costs nothing where it is absent; the same one the next time."""
    parameter.show_envvar = False
    if isinstance(parameter, TyperOption) and not isinstance(parameter, LeanOption):
        return LeanOption(parameter)
    return parameter


class Command(_LeanParameters, TyperCommand):
    """A command whose help lists options by their headings, and whole examples."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help without rich, whose import costs more than all else."""
        self.rich_markup_mode = None
        super().format_help(ctx, formatter)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the parts of the usage line: FILE is required, [FILE] not, FILE... repeated."""
        arguments = [each for each in self.get_params(ctx) if each.param_type_name == "argument"]
        return ["[OPTIONS]", *map(_usage, arguments)]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the arguments and options under the headings they are declared with.

        Options without a heading come first.
        """
        rows = [(each, each.get_help_record(ctx)) for each in self.get_params(ctx)]
        shown = [(_heading(each), record) for each, record in rows if record is not None]
        order = list(dict.fromkeys(["Arguments", "Options", *(name for name, _ in shown)]))
        shown.sort(key=lambda row: order.index(row[0]))
        for heading, records in groupby(shown, key=lambda row: row[0]):
            with formatter.section(heading):
                formatter.write_dl([record for _, record in records])

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the examples as they are: a wrapped command cannot be copied."""
        if self.epilog:
            formatter.write(f"\n{self.epilog}")


def _usage(argument: Any) -> str:
    name: str = argument.metavar or argument.name.upper()
    if name.startswith("["):
        name = name[1:-1]
    name = name.removesuffix("...") + ("..." if argument.nargs == -1 else "")
    return name if argument.required else f"[{name}]"


def _heading(parameter: Any) -> str:
    general = "Arguments" if parameter.param_type_name == "argument" else "Options"
    return getattr(parameter, "rich_help_panel", None) or general


class CommandGroup(_LeanParameters, TyperGroup):
    """A group that refuses settings which none of its commands reads.

    Attributes:
        shared: Settings of the group's own table, for all of its commands that have the option.
    """

    shared: ClassVar[frozenset[str]] = frozenset()

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the called command and check its part of the settings file."""
        name, command, rest = super().resolve_command(ctx, args)
        if name is not None and ctx.default_map:
            known = [*self.list_commands(ctx), *sorted(self.shared)]
            config.check_names(ctx.default_map, known, _place(ctx))
            if command is not None:
                self._inherit(ctx, name, command)
        return name, command, rest

    def _inherit(self, ctx: Any, name: str, command: Any) -> None:
        """Let a command have its part of the settings file, over what all of the group have."""
        table = ctx.default_map.get(name, {})
        known = getattr(command, "shared", None)
        if known is None:
            known = [str(option.name) for option in command.params]
            older = {old: str(each.name) for each in command.params for old in aliases(each)}
            config.check_names(table, [*known, *older], _place(ctx, name))
            table = {older.get(each, each): value for each, value in table.items()}
            ctx.default_map = {**ctx.default_map, name: table}
        shared = {each: ctx.default_map[each] for each in self.shared if each in ctx.default_map}
        inherited = {each: value for each, value in shared.items() if each in known}
        if inherited:
            ctx.default_map = {**ctx.default_map, name: {**inherited, **table}}


class LazyGroup(CommandGroup):
    """A group whose members are named by `module:attribute` and imported when called.

    Help lists every member, so their help lines stand in the table, where reading them costs
    nothing. Subclasses fill `members`; they are listed in that order.
    """

    members: ClassVar[Members] = {}

    def list_commands(self, ctx: Any) -> list[str]:
        """List the lazy members first, then the others."""
        return [*self.members, *super().list_commands(ctx)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Load a member, or find a command that is registered directly."""
        if cmd_name not in self.members:
            return super().get_command(ctx, cmd_name)
        return _load(cmd_name, self.members[cmd_name][0])

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the called command, or name a similar one."""
        names = self.list_commands(ctx)
        if args and args[0] not in names and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], names)
            meant = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
            ctx.fail(f"No such command '{args[0]}'.{meant}")
        return super().resolve_command(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help without loading any member: their help lines stand for them."""
        lines = {name: TyperCommand(name, help=line) for name, (_, line) in self.members.items()}
        listing = _Listing(
            name=self.name,
            help=self.help,
            params=self.params,
            commands={**lines, **self.commands},
            rich_markup_mode=None,
        )
        listing.format_help(ctx, formatter)


class _Listing(CommandGroup):
    """A group of commands that are there to be listed."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write each help line in full; it is wrapped where it is long."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, each.help) for name, each in self.commands.items()])


def group(name: str, text: str, members: Members, shared: Collection[str] = ()) -> typer.Typer:
    """Return the commands of a workload, which are imported when they are called.

    Args:
        name: Its name.
        text: Its help.
        members: Its commands.
        shared: Settings of its table for all commands that have the option.
    """
    fields = {"members": members, "shared": frozenset(shared), "__doc__": text}
    commands = type("Commands", (LazyGroup,), fields)
    return typer.Typer(
        name=name, cls=commands, add_completion=False, no_args_is_help=True, help=text
    )


def _load(name: str, place: str) -> Any:
    """Import a member and return it as a command."""
    module, attribute = place.split(":")
    found = getattr(importlib.import_module(module), attribute)
    if isinstance(found, typer.Typer):
        return typer.main.get_group(found)
    alone = typer.Typer(add_completion=False)
    alone.command(name, cls=Command, epilog=found.epilog)(found)
    return typer.main.get_command(alone)


def _place(ctx: Any, *more: str) -> str:
    """Name the settings table of a command: the file, and the command words after `mlkit`."""
    words = [*ctx.command_path.split()[1:], *more]
    file = ctx.find_root().meta["settings"]
    return f"{file}: [{'.'.join(words)}]" if words else str(file)
