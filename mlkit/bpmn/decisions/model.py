"""Decision models as they are drawn: elements, boxed expressions, types. No behaviour."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeAlias


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with a model.

    Attributes:
        where: The element, with the rule and column of a table.
        line: In the file.
        message: What is wrong.
        severity: `error` or `warning`.
    """

    where: str
    line: int
    message: str
    severity: str = "error"


@dataclass(frozen=True, slots=True)
class Literal:
    """An expression as text."""

    text: str
    type_ref: str = ""
    line: int = 0


@dataclass(frozen=True, slots=True)
class Cell:
    """A unary test or an output of a rule."""

    text: str
    line: int = 0


@dataclass(frozen=True, slots=True)
class Input:
    """A column that a table asks for.

    Attributes:
        label: What the column is called.
        expression: What it looks at.
        allowed: Unary tests that the value passes; empty without any.
    """

    label: str
    expression: Literal
    allowed: str = ""


@dataclass(frozen=True, slots=True)
class Output:
    """A column that a table fills.

    Attributes:
        name: The name of the entry, where there are several outputs.
        type_ref: Its type.
        values: The values that it may have, in their order; empty without any.
        default: Its value if no rule matches.
    """

    name: str
    type_ref: str = ""
    values: str = ""
    default: Literal | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of a table: tests of the inputs, outputs, and notes that are not evaluated."""

    tests: tuple[Cell, ...]
    outputs: tuple[Cell, ...]
    line: int = 0
    annotations: tuple[Cell, ...] = ()


_SEVERAL = ("RULE ORDER", "OUTPUT ORDER", "COLLECT")


@dataclass(frozen=True, slots=True)
class Table:
    """A decision table.

    Attributes:
        policy: `UNIQUE`, `ANY`, `PRIORITY`, `FIRST`, `RULE ORDER`, `OUTPUT ORDER` or `COLLECT`.
        aggregation: `SUM`, `COUNT`, `MIN`, `MAX` or nothing.
        annotations: The names of the columns with notes.
    """

    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]
    rules: tuple[Rule, ...]
    policy: str = "UNIQUE"
    aggregation: str = ""
    type_ref: str = ""
    line: int = 0
    annotations: tuple[str, ...] = ()

    @property
    def is_single(self) -> bool:
        """Return whether it has one result, and no list of them."""
        return bool(self.aggregation) or self.policy not in _SEVERAL


class Variable(NamedTuple):
    """A name with a type."""

    name: str
    type_ref: str = ""


@dataclass(frozen=True, slots=True)
class Context:
    """A boxed context; an entry without a variable is its result."""

    entries: tuple[tuple[Variable | None, Boxed], ...]
    type_ref: str = ""


@dataclass(frozen=True, slots=True)
class Listing:
    """A boxed list."""

    items: tuple[Boxed, ...]
    type_ref: str = ""


@dataclass(frozen=True, slots=True)
class Relation:
    """A boxed relation: a list of contexts with the same entries."""

    columns: tuple[Variable, ...]
    rows: tuple[tuple[Boxed, ...], ...]
    type_ref: str = ""


@dataclass(frozen=True, slots=True)
class Invocation:
    """A call of a function with arguments by name."""

    function: Boxed
    bindings: tuple[tuple[str, Boxed], ...]
    type_ref: str = ""


@dataclass(frozen=True, slots=True)
class FunctionDefinition:
    """A boxed function.

    Attributes:
        kind: `FEEL`; others (`Java`, `PMML`) are not run.
    """

    parameters: tuple[Variable, ...]
    body: Boxed | None
    kind: str = "FEEL"
    type_ref: str = ""


@dataclass(frozen=True, slots=True)
class Conditional:
    """A boxed `if`."""

    condition: Boxed
    chosen: Boxed
    other: Boxed
    type_ref: str = ""


@dataclass(frozen=True, slots=True)
class Filter:
    """A boxed filter."""

    items: Boxed
    match: Boxed
    type_ref: str = ""


@dataclass(frozen=True, slots=True)
class Iterator:
    """A boxed `for`, `some` or `every`."""

    kind: str
    variable: str
    items: Boxed
    body: Boxed
    type_ref: str = ""


Boxed: TypeAlias = (
    Literal | Table | Context | Listing | Relation | Invocation | FunctionDefinition | Conditional
    | Filter | Iterator
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ItemDefinition:
    """A type that a model defines.

    Attributes:
        base: The type that it is made of; empty with components.
        components: The entries of a context.
        allowed: Unary tests of a value (of each item, if it is a collection).
        constraint: Unary tests of the whole value.
        is_function: Whether its values are functions.
    """

    name: str
    base: str = ""
    components: tuple[ItemDefinition, ...] = ()
    is_collection: bool = False
    allowed: str = ""
    constraint: str = ""
    is_function: bool = False
    line: int = 0


@dataclass(frozen=True, slots=True)
class InputData:
    """Data that comes from outside."""

    id: str
    variable: Variable
    line: int = 0


@dataclass(frozen=True, slots=True)
class Decision:
    """A decision with its logic.

    Attributes:
        requires: References to input data and decisions.
        knows: References to business knowledge models and services.
        version_tag: The version that Camunda 7 or 8 knows it by.
    """

    id: str
    variable: Variable
    logic: Boxed | None
    requires: tuple[str, ...] = ()
    knows: tuple[str, ...] = ()
    line: int = 0
    version_tag: str = ""


@dataclass(frozen=True, slots=True)
class Knowledge:
    """A business knowledge model: a function that decisions call."""

    id: str
    variable: Variable
    function: FunctionDefinition | None
    knows: tuple[str, ...] = ()
    line: int = 0


@dataclass(frozen=True, slots=True)
class Service:
    """A decision service: some decisions as one function."""

    id: str
    variable: Variable
    outputs: tuple[str, ...]
    encapsulated: tuple[str, ...] = ()
    input_decisions: tuple[str, ...] = ()
    input_data: tuple[str, ...] = ()
    line: int = 0


Element: TypeAlias = InputData | Decision | Knowledge | Service


@dataclass(frozen=True, slots=True)
class Import:
    """Another model, seen under a name."""

    name: str
    namespace: str
    location: str = ""
    line: int = 0


@dataclass(frozen=True, slots=True)
class Model:
    """A file of decisions."""

    name: str
    namespace: str
    path: Path
    elements: tuple[Element, ...]
    types: tuple[ItemDefinition, ...] = ()
    imports: tuple[Import, ...] = ()
    problems: tuple[Problem, ...] = field(default=())
