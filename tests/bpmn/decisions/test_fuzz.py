"""Mutated models of the kit: each ends in problems or a refusal, and within the work allowed."""

from __future__ import annotations

import random
import re
import tarfile
from datetime import UTC, datetime

from bpmn.decisions.test_kit import ARCHIVE

from mlkit.bpmn import Decisions
from mlkit.bpmn.decisions.evaluation import MAX_WORK, Evaluation
from mlkit.bpmn.decisions.model import InputData
from mlkit.errors import MlkitError

NOW = datetime(2026, 1, 2, tzinfo=UTC)
MUTANTS = 150
PIECES = (
    b"<", b">", b'"', b"&lt;", b"null", b"-1", b"[", b"]", b"(", b")", b"{", b"..", b"?", b"not(",
    b"for i in 1..1000000000 return i", b"function(x) x(x)", b"9" * 400, b"\xff", b"\x00",
    b"<context/>", b"<decisionTable/>", b'isCollection="true"', b'href="#x"', b"COLLECT",
)  # fmt: skip


def mutated(source, content):
    """Return a model with some of its bytes removed, repeated, moved or replaced."""
    found = bytearray(content)
    for _ in range(source.randint(1, 4)):
        at = source.randrange(len(found))
        to = min(len(found), at + source.choice([1, 3, 20, 200]))
        kind = source.randrange(4)
        piece = bytes(found[at:to])
        if kind == 0:
            del found[at:to]
        elif kind == 1:
            found[at:at] = piece * source.choice([1, 2, 50])
        elif kind == 2:
            found[at:at] = source.choice(PIECES)
        else:
            there = source.randrange(len(found))
            found[there:there] = piece
    return bytes(found)


def rewritten(source, content):
    """Return a model whose XML stays sound: texts and attributes swap places or change."""
    parts = re.split(rb'(?<=>)([^<>]+)(?=</)|(?<==")([^"]*)(?=")', content)
    places = [at for at, each in enumerate(parts) if at % 3 and each is not None]
    for _ in range(source.randint(1, 3)):
        at = source.choice(places)
        sound = [each for each in PIECES if not re.search(rb'[<>"\xff\x00]', each)]
        kept = parts[at][: source.randrange(len(parts[at]) + 1)]
        parts[at] = source.choice([parts[source.choice(places)], kept + source.choice(sound)])
    return b"".join(each for each in parts if each is not None)


def models():
    with tarfile.open(ARCHIVE) as archive:
        for member in sorted(archive.getnames()):
            if member.endswith(".dmn"):
                file = archive.extractfile(member)
                assert file is not None
                yield file.read()


def test_mutated_models_end_in_problems_or_a_refusal(tmp_path):
    source, whole = random.Random(2026), list(models())
    refused = decided = 0
    path = tmp_path / "model.dmn"
    for _ in range(MUTANTS):
        path.write_bytes(source.choice([mutated, rewritten])(source, source.choice(whole)))
        try:
            decisions = Decisions(path)
        except MlkitError:
            refused += 1
            continue
        decisions.analyse()
        for each in decisions.loaded.model.elements[:8]:
            if not isinstance(each, InputData):
                evaluation = Evaluation(decisions.loaded, {"x": 1}, NOW)
                try:
                    evaluation.decide(each)
                except MlkitError:
                    refused += 1
                decided += 1
                assert evaluation.run.work >= -MAX_WORK
    assert refused > MUTANTS / 10
    assert decided > MUTANTS
