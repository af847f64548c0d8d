"""The command groups: they load on use, and check the settings file against the options."""

from __future__ import annotations

import difflib
import importlib
from typing import Any, ClassVar

import typer
from typer.core import TyperGroup

from mlkit import config


class CommandGroup(TyperGroup):
    """A group that refuses settings which none of its commands reads."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the called command and check its part of the settings file."""
        name, command, rest = super().resolve_command(ctx, args)
        if name is not None and ctx.default_map:
            config.check_names(ctx.default_map, self.list_commands(ctx), _place(ctx))
            table = ctx.default_map.get(name)
            if table is not None and command is not None and not isinstance(command, TyperGroup):
                options = [option.name for option in command.params]
                config.check_names(table, options, _place(ctx, name))
        return name, command, rest


class LazyGroup(CommandGroup):
    """A group whose members are named by `module:attribute` and imported when called.

    `mlkit --help` lists every group, so their help lines stand in the table, where reading
    them costs nothing. Subclasses fill `members`: name -> (place of a `typer.Typer`, help
    line). They are listed in that order, before the commands that are registered directly.
    """

    members: ClassVar[dict[str, tuple[str, str]]] = {}

    def list_commands(self, ctx: Any) -> list[str]:
        """List the lazy members first, then the others."""
        return [*self.members, *super().list_commands(ctx)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Load a member, or find a command that is registered directly."""
        if cmd_name not in self.members:
            return super().get_command(ctx, cmd_name)
        module, attribute = self.members[cmd_name][0].split(":")
        return typer.main.get_command(getattr(importlib.import_module(module), attribute))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the called command, or say which name is near."""
        names = self.list_commands(ctx)
        if args and args[0] not in names and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], names)
            meant = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
            ctx.fail(f"No such command '{args[0]}'.{meant}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the list of commands without loading any member."""
        rows = [(name, help_line) for name, (_, help_line) in self.members.items()]
        rows += [(name, each.get_short_help_str(70)) for name, each in self.commands.items()]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def _place(ctx: Any, *more: str) -> str:
    """Name the settings table of a command: the file, and the command words after `mlkit`."""
    words = [*ctx.command_path.split()[1:], *more]
    file = ctx.find_root().meta["settings"]
    return f"{file}: [{'.'.join(words)}]" if words else str(file)
