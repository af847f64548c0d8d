"""The documentation as a site: the same Markdown that reads well without it."""

from __future__ import annotations

import re
from typing import Any

from mlkit import __version__

project = "mlkit"
author = "the authors of mlkit"
release = version = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = f"mlkit {__version__}"
exclude_patterns = ["reports"]
myst_heading_anchors = 4
# Fences say what a block is for those who run it; highlighting needs a language that it knows.
highlight_language = "none"
suppress_warnings = ["misc.highlighting_failure"]
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "show-inheritance": True}
napoleon_use_rtype = False

CONTENTS = {
    "Bandits": [
        "bandit",
        "bandit-tutorial",
        "serving",
        "bandit-policies",
        "bandit-time",
        "bandit-simulation",
        "bandit-evaluation",
    ],
    "Pairs": ["pairs", "pairs-backtest", "pairs-live", "pairs-jobs", "pairs-cluster"],
    "Pipelines": [
        "bpmn",
        "bpmn-guide",
        "bpmn-reference",
        "bpmn-schedules",
        "bpmn-server",
        "bpmn-access",
        "bpmn-console",
        "bpmn-people",
        "bpmn-external-tasks",
        "bpmn-journal",
        "feel",
        "dmn",
    ],
    "Images": ["image"],
    "Reference": ["cli", "api", "glossary"],
    "The project": ["architecture", "decisions/README", "releasing"],
}
"""The order of the pages; the Markdown itself stays free of directives."""


def adapt(app: Any, page: str, source: list[str]) -> None:
    """Append the tables of contents that the navigation is made from.

    Links to files beside the documentation, which the site does not have, become their paths.
    """
    source[0] = re.sub(r"\[([^\]]+)\]\((?:\.\./)+(?!\w+\.md)([^)]+)\)", r"\1 (`\2`)", source[0])
    if page == "index":
        for caption, pages in CONTENTS.items():
            source[0] += _table(pages, f":hidden:\n:caption: {caption}")
    elif page == "decisions/README":
        source[0] += _table(["*"], ":hidden:\n:glob:")


def _table(pages: list[str], options: str) -> str:
    return f"\n\n```{{toctree}}\n{options}\n\n" + "\n".join(pages) + "\n```\n"


def setup(app: Any) -> None:
    """Register what changes pages as they are read."""
    app.connect("source-read", adapt)
