"""Decision tables at random, in the notations of those who run them."""

from __future__ import annotations

import random
from typing import NamedTuple


class Table(NamedTuple):
    """A table of ranges and texts, in turns.

    Attributes:
        rows: Of each rule, the test of each column: the low end of a range of 50, or a text.
    """

    rows: list[list[int | str]]

    @property
    def inputs(self) -> dict[str, int | str]:
        """Inputs that match the rule in the middle."""
        row = self.rows[len(self.rows) // 2]
        return {
            f"x{at}": each if isinstance(each, str) else each + 25 for at, each in enumerate(row)
        }

    def dmn(self, policy: str = "FIRST") -> str:
        """Return the table as a model."""
        names = [f"x{at}" for at in range(len(self.rows[0]))]
        types = ["string" if isinstance(each, str) else "number" for each in self.rows[0]]
        data = "".join(
            f'<inputData id="{name}" name="{name}"><variable name="{name}" typeRef="{kind}"/>'
            "</inputData>"
            for name, kind in zip(names, types, strict=True)
        )
        needs = "".join(
            f'<informationRequirement><requiredInput href="#{each}"/></informationRequirement>'
            for each in names
        )
        inputs = "".join(
            f'<input><inputExpression typeRef="{kind}"><text>{name}</text></inputExpression>'
            "</input>"
            for name, kind in zip(names, types, strict=True)
        )
        rules = "".join(_rule(number, row) for number, row in enumerate(self.rows))
        return (
            '<definitions xmlns="https://www.omg.org/spec/DMN/20191111/MODEL/" name="m" '
            f'namespace="u">{data}<decision id="d" name="d"><variable name="d" typeRef="number"/>'
            f'{needs}<decisionTable id="t" hitPolicy="{policy}">{inputs}'
            f'<output name="y" typeRef="number"/>{rules}</decisionTable></decision></definitions>'
        )


def _rule(number: int, row: list[int | str]) -> str:
    tests = "".join(f"<inputEntry><text>{_test(each)}</text></inputEntry>" for each in row)
    return f"<rule>{tests}<outputEntry><text>{number}</text></outputEntry></rule>"


def _test(cell: int | str) -> str:
    return f'"{cell}"' if isinstance(cell, str) else f"[{cell}..{cell + 50}]"


def table(rules: int, columns: int = 4, seed: int = 1) -> Table:
    """Return a table."""
    source = random.Random(seed)

    def cell(column: int) -> int | str:
        low = source.randint(0, 1000)
        return f"v{source.randint(0, 50)}" if column % 2 else low

    return Table([[cell(at) for at in range(columns)] for _ in range(rules)])
