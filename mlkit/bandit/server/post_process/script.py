"""Business rules as a function in a Python file.

    FEATURES = ["brand"]                        # of arms, from the store

    def post_process(request, ranking):
        return [arm["arm"] for arm in ranking if arm["brand"] != "acme"]

`request` has `context`, `features`, `k` and `seed`; `ranking` has all candidates, best first, each
with `arm`, `score` and the features, None where one is not known. What comes back are arms of the
ranking; the first k are shown.
"""

from __future__ import annotations

import runpy
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlkit.errors import ConfigurationError, InputMissing

Row = dict[str, Any]
_HINT = "it defines post_process(request, ranking), which returns ids of arms of the ranking"
OWN = ("arm", "score")


class ScriptFailed(Exception):
    """The function raised an exception, or returned what is no list of arms of the ranking."""


class Script:
    """A function in a Python file, which runs in the worker.

    Attributes:
        features: The features of arms that it reads.

    Args:
        path: The file.

    Raises:
        InputMissing: It cannot be read.
        ConfigurationError: It cannot be run, or has no such function.
    """

    def __init__(self, path: Path) -> None:
        names = _run(path)
        function, features = names.get("post_process"), names.get("FEATURES", ())
        if not callable(function):
            raise ConfigurationError(f"{path}: no function post_process", hint=_HINT)
        is_list = isinstance(features, list | tuple)
        if not is_list or not all(isinstance(each, str) and each for each in features):
            raise ConfigurationError(f"{path}: FEATURES is not a list of names", hint=_HINT)
        if taken := [each for each in features if each in OWN]:
            raise ConfigurationError(
                f"{path}: FEATURES: {taken[0]!r} is defined already", hint=_HINT
            )
        self._function: Callable[[Row, list[Row]], Any] = function
        self.features = tuple(dict.fromkeys(features))

    def choose(
        self,
        request: Row,
        ranking: Sequence[tuple[str, float]],
        known: Mapping[str, Mapping[str, Any]],
    ) -> list[str]:
        """Return the arms to show, best first.

        Raises:
            ScriptFailed: There is no such list.
        """
        nothing: Mapping[str, Any] = {}
        rows = [
            {"arm": arm, "score": score}
            | {name: known.get(arm, nothing).get(name) for name in self.features}
            for arm, score in ranking
        ]
        try:
            found = list(self._function(request, rows))
        except Exception as error:  # whatever the file of an operator raises
            raise ScriptFailed(f"post_process raised {type(error).__name__}: {error}") from error
        arms = {arm for arm, _ in ranking}
        for each in found:
            if not isinstance(each, str) or each not in arms:
                raise ScriptFailed(
                    f"post_process returned {each!r:.80}, which is not an arm of the ranking"
                )
        if len(set(found)) < len(found):
            raise ScriptFailed("post_process returned an arm twice")
        return found


def _run(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise InputMissing(f"{path}: no such file", hint="--post-process names it")
    try:
        return runpy.run_path(str(path), run_name="post_process")
    except (Exception, SystemExit) as error:  # whatever the file of an operator raises
        text = f"{path}: {type(error).__name__}: {error}"
        raise ConfigurationError(text, hint="the file must run without errors") from error
