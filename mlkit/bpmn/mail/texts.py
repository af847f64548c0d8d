"""The texts of mails: templates that come with the package, and those that replace them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, TemplateError, select_autoescape

from mlkit.errors import ConfigurationError, InputMissing

OWN = Path(__file__).parent / "templates"
NAMES = tuple(f"{kind}.{part}" for kind in ("task", "digest")
              for part in ("subject.txt", "txt", "html"))  # fmt: skip
"""The files that may be replaced."""


class Templates:
    """The templates of mails.

    Args:
        folder: Where files of the same names replace those of the package.

    Raises:
        InputMissing: The folder is not there.
        ConfigurationError: A template in it is broken.
    """

    def __init__(self, folder: Path | None = None) -> None:
        if folder is not None and not folder.is_dir():
            raise InputMissing(f"{folder}: no folder", hint="--mail-templates names a folder")
        self._environment = Environment(
            loader=FileSystemLoader([*([folder] if folder else []), OWN]),
            autoescape=select_autoescape(["html"], default=False),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        for name in NAMES:
            try:
                self._environment.get_template(name)
            except (TemplateError, OSError, UnicodeDecodeError) as error:
                raise _broken(name, error) from error

    def fill(self, name: str, context: Mapping[str, Any]) -> str:
        """Fill a template; values are escaped in HTML.

        Raises:
            ConfigurationError: The template asks for what is not there, or fails otherwise.
        """
        try:
            return self._environment.get_template(name).render(context)
        except Exception as error:  # A template is a program of the operator's.
            raise _broken(name, error) from error


def _broken(name: str, error: Exception) -> ConfigurationError:
    number = getattr(error, "lineno", None)
    line = f", line {number}" if number else ""
    hint = "see --mail-templates; docs/bpmn-people.md lists what templates may use"
    return ConfigurationError(f"mail template {name}{line}: {error}", hint=hint)
