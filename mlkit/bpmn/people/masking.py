"""Secrets are masked: variables that a form marks, or that have the name of a secret.

A name is taken apart into words (`dbPassword`, `DB_PASSWORD_2`: db, password). It is that of a
secret where a word is `password`, `passwd`, `passphrase`, `pwd`, `secret` or `credential` (or the
plural), where the last word is `token` or `apikey`, or the last two are `api key`, `private key`,
`access key`, `signing key` or `encryption key`. What a secret holds is masked in texts too, such
as logs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from mlkit.bpmn.definition.model import Person

if TYPE_CHECKING:
    from mlkit.bpmn.definition.model import FormField
    from mlkit.bpmn.engine.engine import Engine
    from mlkit.bpmn.engine.state import State

MASKED = "******"
_VARIABLES = ("variables", "inputs", "decided")
"""Entries of documents whose keys are names of variables, or of decisions."""
SHORTEST = 6
"""Characters of a secret that is masked within texts; shorter ones would mask half of a log."""
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_ANYWHERE = {
    "password", "passwords", "passwd", "passphrase", "pwd", "secret", "secrets", "credential",
    "credentials",
}  # fmt: skip
_LAST = {"token", "apikey", "api key", "private key", "access key", "signing key", "encryption key"}


@lru_cache(10_000)
def is_secret(name: str) -> bool:
    """Return whether a name is that of a secret."""
    words = [each.lower() for each in _WORD.findall(name)]
    return bool(_ANYWHERE & set(words)) or bool(_LAST & {*words[-1:], " ".join(words[-2:])})


@dataclass(frozen=True, slots=True)
class Mask:
    """What is hidden of some variables.

    Attributes:
        marked: The variables that forms mark; `address.pin` is a part of one.
        texts: What secrets hold, longest first.
    """

    marked: frozenset[str] = frozenset()
    texts: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, variables: Iterable[Mapping[str, Any]], marked: frozenset[str] = frozenset()
    ) -> Mask:
        """Return the mask of variables, as they are stored."""
        names = cls(marked)
        found = {
            text
            for each in variables
            for value in names._secrets(each)
            for leaf in _leaves(value)
            for text in _list_spellings(leaf)
        }
        return cls(marked).with_texts(found)

    def with_texts(self, texts: Iterable[str]) -> Mask:
        """Return a mask that hides some texts too."""
        found = {*self.texts, *texts}
        return Mask(self.marked, tuple(sorted(found, key=lambda text: (-len(text), text))))

    def hides(self, name: str) -> bool:
        """Return whether a variable, or a part of one (`address.pin`), is a secret."""
        return name in self.marked or any(is_secret(part) for part in name.split("."))

    def hides_field(self, field: FormField, prefix: str = "") -> bool:
        """Return whether what is filled into a field is a secret: by its mark, or by its name.

        Args:
            field: The field of a form.
            prefix: What precedes its id in the names of variables: `rows.` for a field of rows.
        """
        return field.secret or self.hides(f"{prefix}{field.id}")

    def variables(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return variables with their secrets masked."""
        return {name: self.value(name, each) for name, each in given.items()}

    def value(self, name: str, value: Any) -> Any:
        """Return the value of a variable, or of a part of one, with its secrets masked."""
        if self.hides(name):
            return value if value is None else MASKED
        if isinstance(value, Mapping):
            return {key: self.value(f"{name}.{key}", each) for key, each in value.items()}
        if isinstance(value, list):
            return [self.value(name, each) for each in value]
        return self.text(value) if isinstance(value, str) else value

    def text(self, text: str) -> str:
        """Return a text without what secrets hold."""
        for each in self.texts:
            text = text.replace(each, MASKED)
        return text

    def document(self, document: Any) -> Any:
        """Return a document without what secrets hold, those among its variables included."""
        if isinstance(document, Mapping):
            return {
                key: self.variables(each)
                if key in _VARIABLES and isinstance(each, Mapping)
                else self.document(each)
                for key, each in document.items()
            }
        if isinstance(document, list):
            return [self.document(each) for each in document]
        return self.text(document) if isinstance(document, str) else document

    def _secrets(self, variables: Mapping[str, Any], prefix: str = "") -> Iterator[Any]:
        for name, value in variables.items():
            if self.hides(f"{prefix}{name}"):
                yield value
                continue
            for each in value if isinstance(value, list) else [value]:
                if isinstance(each, Mapping):
                    yield from self._secrets(each, f"{prefix}{name}.")


NO_MASK = Mask()
"""Hides what has the name of a secret, and nothing else."""


def of_instance(engine: Engine, state: State) -> Mask:
    """Return the mask of an instance: of all scopes that it has now, and all its forms."""
    return Mask.of((each.variables for each in state.scopes.values()), find_marked(engine))


def find_marked(engine: Engine) -> frozenset[str]:
    """Return the variables that the forms of a diagram mark as secrets."""
    nodes = [each.node for each in engine.graph.behaviors.values()]
    asked = [each.work.form for each in nodes if isinstance(each.work, Person)]
    forms = [*asked, *(each.form for each in nodes)]
    return frozenset(name for form in forms for name in find_marked_fields(form))


def find_marked_fields(form: Iterable[FormField], prefix: str = "") -> Iterator[str]:
    """Yield the fields that a form marks as secrets; `rows.pin` for a field of each row."""
    for each in form:
        if each.secret:
            yield f"{prefix}{each.id}"
        yield from find_marked_fields(each.fields, f"{prefix}{each.id}.")


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping | list):
        for each in value.values() if isinstance(value, Mapping) else value:
            yield from _leaves(each)
    elif value is not None and not isinstance(value, bool):
        yield str(value)


def _list_spellings(text: str) -> set[str]:
    """Return a secret as it may be written: as it is, within JSON, and as Python shows it."""
    if len(text) < SHORTEST:
        return set()
    return {
        text,
        json.dumps(text)[1:-1],
        json.dumps(text, ensure_ascii=False)[1:-1],
        repr(text)[1:-1],
    }
