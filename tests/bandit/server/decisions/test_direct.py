"""Direct predictions are those of the general endpoint, byte by byte, or are left to it."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from mlkit.bandit._posterior_table import (
    DecisionSigner,
    DirectPredictor,
    PosteriorTable,
    ThompsonSampler,
)
from mlkit.bandit.server import metrics
from mlkit.bandit.server.api.endpoints import Endpoints
from mlkit.bandit.server.api.messages import Limits
from mlkit.bandit.server.decisions.decision import KEY_BYTES, DecisionIds
from mlkit.bandit.server.decisions.decision_log import DecisionLog
from mlkit.bandit.server.decisions.rails import Rails
from mlkit.bandit.server.processes import worker
from mlkit.bandit.server.settings import Settings
from mlkit.bandit.stores import memory_mapped
from mlkit.web.metrics import SharedCounters

NOW = 1.7e9
LIMITS = Limits(max_candidates=50, max_k=20)
ARMS = [
    "c1",
    "c2",
    "a/b é",
    "\u2028",
    "x" * 256,
    "half",
    "rare",
    "never",
    "long-" * 8,
    "\x7f",
    "😀",
]
# From Beta draws of a few pseudo-counts to such as are 1e-300, or exactly 0 or 1.
PARAMETERS = [(2, 30), (3, 50), (1, 50), (1, 1), (5, 5), (0.01, 1), (1e-3, 10), (1e-300, 1e15)]
PARAMETERS += [(1e15, 1e-300), (1e7, 1e7), (1, 1e15)]


class Server:
    """A worker's endpoints and application, without processes."""

    def __init__(self, directory: Path, table: PosteriorTable, **options: Any) -> None:
        own = Settings(directory, directory, limits=LIMITS, **options)
        self.counters = SharedCounters(metrics.LAYOUT, 1)
        self.ids = DecisionIds(bytes(KEY_BYTES), lambda: NOW)
        log = None if own.log is None else DecisionLog(own.log, 0, lambda: NOW)
        self.log = log
        row = self.counters.row(0)
        self.endpoints = Endpoints(
            own, self.ids, self.counters, row, started=time.monotonic(), log=log
        )
        self.endpoints.use_store(table, "test")
        self._application = worker.application(self.endpoints, own, self.counters, 0)

    def directly(self, body: bytes) -> bytes | None:
        return self.endpoints.predict_directly(body)

    def generally(self, body: bytes) -> tuple[int, bytes]:
        """Ask the application."""
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        path = {"path": "/predict", "raw_path": b"/predict", "query_string": b""}
        scope = {"type": "http", "method": "POST", "headers": [], **path}
        asyncio.run(self._application(scope, receive, send))
        return sent[0]["status"], sent[1]["body"]

    def apart(self, answer: bytes) -> tuple[Any, bytes]:
        """Return what the decision id of an answer says, and the rest of its bytes."""
        start = b'{"decision_id":"'
        assert answer.startswith(start)
        name, _, rest = answer.removeprefix(start).partition(b'"')
        return self.ids.resolve(name.decode()), rest


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PosteriorTable]:
    directory = tmp_path_factory.mktemp("table")
    path = directory / "posteriors.csv"
    rows = [f',"{arm}",{a},{b},0\n' for arm, (a, b) in zip(ARMS, PARAMETERS, strict=True)]
    pair = '"u é","c1",5,50,53\n'
    path.write_text("context,arm,a,b,pulls\n" + "".join(rows) + pair, encoding="utf-8")
    _, writer = memory_mapped.load(path, directory / "table")
    yield PosteriorTable.open(str(directory / "table"))
    del writer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, table: PosteriorTable) -> Server:
    return Server(tmp_path_factory.mktemp("server"), table)


def encoded(document: Any) -> bytes:
    return json.dumps(document, ensure_ascii=False).encode()


def check(server: Server, body: bytes) -> bool:
    """Check an answer against the general endpoint's; return whether there was one."""
    found = server.directly(body)
    if found is None:
        return False
    status, answer = server.generally(body)
    assert status == 200, answer
    assert server.apart(found) == server.apart(answer)
    return True


USUAL = [
    {"candidates": ["c1"], "seed": 1},
    {"candidates": ARMS, "k": 20, "seed": 2**64 - 1, "context": "u é"},
    {"candidates": ["c1", "c1", "unknown", "c2"], "k": 3, "seed": 0, "context": "new"},
    {"k": 1, "seed": 7, "context": None, "candidates": ["c2", "x" * 256], "features": None},
    {"propensities": False, "candidates": ["é" * 128] * 50, "seed": 10**18},
]


@pytest.mark.parametrize("document", USUAL)
@pytest.mark.parametrize("style", [{}, {"separators": (",", ":")}, {"indent": 3}])
@pytest.mark.parametrize("ascii_only", [False, True])
def test_usual_requests(server, document, style, ascii_only):
    text = json.dumps(document, ensure_ascii=ascii_only, **style)
    assert check(server, f"\r\n\t {text} \n".encode())


PLAIN = st.text(st.characters(codec="utf-8", exclude_characters='"\\', categories=["L", "N", "P"]))


SPREAD = given(
    candidates=st.lists(PLAIN.filter(bool).map(lambda text: text[:40]), min_size=1, max_size=50),
    separator=st.sampled_from([",", ", ", " ,", ",  ", ",\n"]),
    padding=st.text(" \n", max_size=70),
)


@settings(max_examples=80, deadline=None)
@SPREAD
def test_ids_of_any_length_at_any_place(server, candidates, separator, padding):
    """However quotes fall on the pieces in which the reader looks for them."""
    ids = separator.join(f'"{each}"' for each in candidates)
    for body in (
        f'{{{padding}"seed":1,"candidates":[{ids}]}}',
        f'{{{padding}"candidates":[{ids}],"seed":1,"context":"\\u0041"}}\n',
        f'{{{padding}"candidates":[{ids}{padding}],"seed":1,"k":3}}\r\n',
    ):
        assert check(server, body.encode())


@pytest.mark.nightly
@settings(max_examples=400, deadline=None)
@SPREAD
def test_many_ids_of_any_length_at_any_place(server, candidates, separator, padding):
    once = test_ids_of_any_length_at_any_place.hypothesis.inner_test
    once(server, candidates, separator, padding)


@pytest.mark.parametrize("end", ["", "]", "]}", "],", ",]", ' "x"]}', ',,"x"]}', ']"k":1}', '"'])
def test_a_list_that_ends_in_something_else_is_left(server, end):
    for count in range(1, 50):
        ids = ",".join(f'"arm-{number}"' for number in range(count))
        assert server.directly(f'{{"seed":1,"candidates":[{ids}{end}'.encode()) is None or (
            end == "]}"
        )


ESCAPED = [
    rb'{"candidates":["a\u0062","\u0063\u0031","c1"],"seed":1}',
    rb'{"\u0063andidates":["a\/b \u00E9"],"s\u0065ed":1,"context":"u \u00e9"}',
    rb'{"candidates":["\ud83d\ude00","\u2028","\u007f","\ud83D\uDE00x"],"seed":1,"k":4}',
    b'{"candidates":["\xc3\xa9\\u00e9\xc3\xa9","c1"],"seed":1,"context":"\xc3\xa9\\u0041"}',
    json.dumps(
        {"candidates": ["\u00e9" * 128, "\u20ac" * 85, "\U0001f600" * 64], "seed": 2}
    ).encode(),
    json.dumps({"candidates": [f"\u00e9{n}" for n in range(50)], "seed": 3, "k": 20}).encode(),
]


@pytest.mark.parametrize("body", ESCAPED, ids=range(len(ESCAPED)))
def test_usual_escapes(server, body):
    assert check(server, body)


LEFT = [
    b"",
    b" ",
    b"{}",
    b"[]",
    b"null",
    b'{"candidates":["c1"],"seed":1}{}',
    b'{"candidates":["c1"],"seed":1',
    b'{"candidates":["c1",],"seed":1}',
    b'{"candidates":["c1"]"seed":1}',
    b'{"candidates":["c1"],"seed":1,}',
    b'\xef\xbb\xbf{"candidates":["c1"],"seed":1}',
    b'{"candidates":[],"seed":1}',
    b'{"candidates":null,"seed":1}',
    b'{"candidates":"c1","seed":1}',
    b'{"candidates":[1],"seed":1}',
    b'{"candidates":[["c1"]],"seed":1}',
    b'{"candidates":[""],"seed":1}',
    b'{"candidates":["' + b"x" * 257 + b'"],"seed":1}',
    rb'{"candidates":["a\nb"],"seed":1}',
    rb'{"candidates":["a\"b"],"seed":1}',
    rb'{"candidates":["a\u0022b"],"seed":1}',
    rb'{"candidates":["a\u005cb"],"seed":1}',
    rb'{"candidates":["a\u0000b"],"seed":1}',
    rb'{"candidates":["\ud83d"],"seed":1}',
    rb'{"candidates":["\ude00\ud83d"],"seed":1}',
    rb'{"candidates":["\ud83d\u0041"],"seed":1}',
    rb'{"candidates":["\u00e"],"seed":1}',
    rb'{"candidates":["\u0x41"],"seed":1}',
    rb'{"candidates":["\u+041"],"seed":1}',
    rb'{"candidates":["\x41"],"seed":1}',
    rb'{"candidates":["\u0041',
    b'{"candidates":["\\',
    json.dumps({"candidates": ["\u00e9" * 128 + "x"], "seed": 1}).encode(),
    b'{"candidates":["a\nb"],"seed":1}',
    b'{"candidates":["a\x00b"],"seed":1}',
    b'{"candidates":["\xff"],"seed":1}',
    b'{"candidates":["\xed\xa0\x80"],"seed":1}',
    b'{"candidates":["\xc0\x80"],"seed":1}',
    b'{"candidates":["c1"],"seed":1,"\xff":2}',
    b'{"candidates":["c1"],"seed":-1}',
    b'{"candidates":["c1"],"seed":18446744073709551616}',
    b'{"candidates":["c1"],"seed":01}',
    b'{"candidates":["c1"],"seed":1.0}',
    b'{"candidates":["c1"],"seed":1e3}',
    b'{"candidates":["c1"],"seed":"1"}',
    b'{"candidates":["c1"],"seed":1,"k":0}',
    b'{"candidates":["c1"],"seed":1,"k":21}',
    b'{"candidates":["c1"],"seed":1,"k":null}',
    b'{"candidates":["c1"],"seed":1,"k":true}',
    b'{"candidates":["c1"],"seed":1,"seed":2}',
    b'{"candidates":["c1"],"seed":1,"candidates":["c2"]}',
    b'{"candidates":["c1"],"seed":1,"context":""}',
    b'{"candidates":["c1"],"seed":1,"context":7}',
    b'{"candidates":["c1"],"seed":1,"context":nul}',
    b'{"candidates":["c1"],"seed":1,"features":{}}',
    b'{"candidates":["c1"],"seed":1,"propensities":true}',
    b'{"candidates":["c1"],"seed":1,"propensity":false}',
    b'{"Candidates":["c1"],"seed":1}',
    json.dumps({"candidates": ["c1"] * 51, "seed": 1}).encode(),
    b'[{"candidates":["c1"],"seed":1}]',
    b"[" * 100_000,
]


@pytest.mark.parametrize("body", LEFT, ids=range(len(LEFT)))
def test_what_is_left_to_the_general_endpoint(server, body):
    assert server.directly(body) is None


IDS = st.sampled_from(ARMS) | st.text(max_size=40)
DOCUMENTS = st.fixed_dictionaries(
    {"candidates": st.lists(IDS, max_size=52), "seed": st.integers(-1, 2**64)},
    optional={
        "k": st.integers(-1, 22) | st.none() | st.floats(),
        "context": st.none() | IDS | st.integers(),
        "features": st.none() | st.dictionaries(IDS, st.integers(), max_size=2),
        "propensities": st.booleans(),
        "else": st.none(),
    },
)
FEW = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@FEW
@given(document=DOCUMENTS, ascii_only=st.booleans(), indent=st.none() | st.integers(0, 2))
def test_any_document(server, document, ascii_only, indent):
    text = json.dumps(document, ensure_ascii=ascii_only, indent=indent)
    check(server, text.encode("utf-8", "surrogatepass"))


@FEW
@given(data=st.data(), document=st.sampled_from(USUAL))
def test_any_change_of_a_few_bytes(server, data, document):
    body = bytearray(encoded(document))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(body) - 1))
        what = data.draw(st.sampled_from(b'"\\{}[],: 0129e.-ntu\x00\n\x7f\xc3\xa9\xff'))
        end = at + data.draw(st.integers(0, 2))
        body[at:end] = bytes([what])
    check(server, bytes(body))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**64 - 1))
@example(seed=0)
def test_scores_of_any_size_are_written_alike(server, seed):
    assert check(server, encoded({"candidates": ARMS, "k": 20, "seed": seed}))


def test_without_a_seed_no_two_answers_are_alike(server):
    body = json.dumps({"candidates": ["half"] * 20}).encode()
    answers = [server.directly(body) for _ in range(50)]
    answers += [server.generally(body)[1] for _ in range(50)]
    scores = {tuple(json.loads(each)["scores"]) for each in answers}
    assert len(scores) == 100
    assert len({json.loads(each)["decision_id"] for each in answers}) == 100


@pytest.mark.parametrize("context", [None, "", "u", "é" * 128])
@pytest.mark.parametrize("count", [0, 1, 10, 23, 24, 25, 55, 56, 57, 1000])
@pytest.mark.parametrize("kind", [0, 32, 64])
def test_ids_carry_their_parts_and_a_mac(context, count, kind):
    """The MAC is that of Python's BLAKE2b, for messages of one block and of several."""
    key, shown = bytes(range(KEY_BYTES)), bytes(range(256)) * 20
    shown = shown[: 2 + 4 * count]
    named = None if context is None else context.encode()
    signer = DecisionSigner(key, 2**64 - 2)
    found = [signer.sign(shown, named, NOW + 0.25, kind) for _ in range(3)]
    raw = [base64.urlsafe_b64decode(each + b"=" * (-len(each) % 4)) for each in found]
    flags = kind | 2 | (0 if named is None else 128)
    for nonce, each in zip((2**64 - 1, 0, 1), raw, strict=True):
        head = bytes([flags]) + int(1000 * NOW + 250).to_bytes(6) + nonce.to_bytes(8)
        body = head + shown + (named or b"")
        assert each == body + hashlib.blake2b(body, key=key, digest_size=16).digest()


@pytest.mark.parametrize("size", [1, 63, 64])
def test_keys_of_any_size(size):
    key = bytes(range(size))
    raw = base64.urlsafe_b64decode(DecisionSigner(key, 0).sign(b"", None, 0.0) + b"==")
    assert raw[15:] == hashlib.blake2b(raw[:15], key=key, digest_size=16).digest()


@pytest.mark.parametrize("key", [b"", bytes(65)])
def test_keys_of_wrong_sizes_are_refused(key):
    with pytest.raises(ValueError, match="key: must have 1 to 64 bytes"):
        DecisionSigner(key, 0)


def test_only_what_was_answered_is_counted_and_logged(table):
    values = memoryview(bytearray(32)).cast("d")
    arguments = table, ThompsonSampler(1), DecisionSigner(b"k", 0)
    bounds = {"max_candidates": 9, "max_k": 9, "default_k": 1}
    predictor = DirectPredictor(*arguments, values, (3, 2, 1, 0), **bounds)
    assert predictor.predict(encoded({"candidates": ["c1", "none"]}), NOW)
    predictor.count()
    assert values.tolist() == [1, 1, 0, 2]
    assert predictor.predict(b"{}", NOW) is None
    for method in (predictor.count, predictor.last):
        with pytest.raises(RuntimeError, match="was not answered"):
            method()
    with pytest.raises(ValueError, match="places"):
        DirectPredictor(*arguments, values, (0, 1, 2, 4), **bounds)
    with pytest.raises(ValueError, match="counters"):
        DirectPredictor(*arguments, values.cast("B"), (0, 1, 2, 3), **bounds)


def test_both_count_alike(tmp_path, table):
    body = encoded({"candidates": ["c1", "c2", "none"], "context": "u é"})
    direct, general = Server(tmp_path, table), Server(tmp_path, table)
    assert direct.directly(body)
    general.generally(body)
    counters = metrics.LAYOUT.counters.values()
    sums = [[each.counters.sums()[at] for at in counters] for each in (direct, general)]
    assert sums[0] == sums[1]
    assert direct.counters.sums()[metrics.LAYOUT.counters[metrics.UNKNOWN_CONTEXTS]] == 2


@pytest.mark.parametrize(
    "options",
    [
        {"rails": Rails(min_share=0.01)},
        {"rails": Rails(blocked=frozenset({"c1"}))},
        {"kill_switch": Path("/nowhere/switch"), "fallback": ("c1",)},
    ],
)
def test_where_more_is_to_be_done_the_general_endpoint_does_it(tmp_path, table, options):
    server = Server(tmp_path, table, **options)
    assert server.directly(b'{"candidates":["c1"]}') is None
    assert server.generally(b'{"candidates":["c1"]}')[0] == 200


@pytest.mark.parametrize("body", [*map(encoded, USUAL), *ESCAPED])
def test_both_log_alike(tmp_path, table, body):
    """The lines are the same bytes, but for the nonce of the decision id."""
    lines = []
    for name in ("direct", "general"):
        (tmp_path / name).mkdir()
        server = Server(tmp_path, table, log=tmp_path / name)
        if name == "direct":
            assert server.directly(body)
        else:
            server.generally(body)
        server.log.close()
        (path,) = (tmp_path / name).iterdir()
        found = path.read_bytes()
        document = json.loads(found)
        decision = server.ids.resolve(document["decision_id"])
        lines.append((decision, found.replace(document["decision_id"].encode(), b"")))
    assert lines[0] == lines[1]


def test_a_logged_decision_can_be_made_again_by_its_seed(tmp_path, table):
    server = Server(tmp_path, table, log=tmp_path / "log")
    (tmp_path / "log").mkdir()
    for _ in range(3):
        assert server.directly(encoded({"candidates": ARMS, "k": 3}))
    assert server.directly(encoded({"candidates": ARMS, "k": 3, "seed": 5}))
    server.log.close()
    (path,) = (tmp_path / "log").iterdir()
    found = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert len({each["seed"] for each in found}) == 4
    assert found[3]["seed"] == 5
    for each in found:
        same = {"candidates": ARMS, "k": 3, "seed": each["seed"]}
        again = json.loads(server.directly(encoded(same)))
        assert (again["arms"], again["scores"]) == (each["arms"], each["scores"])


def test_decisions_whose_propensities_are_logged_are_left_to_the_general_endpoint(tmp_path, table):
    """And only those: each is logged once, with them or without."""
    server = Server(tmp_path, table, log=tmp_path / "log", propensities=0.3)
    (tmp_path / "log").mkdir()
    left = []
    for number in range(400):
        body = encoded({"candidates": ARMS[:5], "k": 2, "seed": number % 3})
        if server.directly(body) is None:
            left.append(number)
            assert server.generally(body)[0] == 200
    server.log.close()
    (path,) = (tmp_path / "log").iterdir()
    found = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert len(found) == 400
    assert [at for at, line in enumerate(found) if line["propensities"] is not None] == left
    assert 60 < len(left) < 180  # 0.3 of them, within 6 standard deviations
    assert all(sum(found[at]["first"]) == pytest.approx(1) for at in left)


def test_what_was_left_is_logged_with_propensities_also_among_equal_requests(tmp_path, table):
    server = Server(tmp_path, table, log=tmp_path / "log", propensities=1.0)
    (tmp_path / "log").mkdir()
    bodies = [encoded({"candidates": ARMS[:count]}) for count in (2, 3, 2)]
    assert [server.directly(body) for body in bodies] == [None] * 3
    for body in reversed(bodies):
        assert server.generally(body)[0] == 200
    server.log.close()
    (path,) = (tmp_path / "log").iterdir()
    found = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert [len(line["first"]) for line in found] == [2, 3, 2]


def test_with_a_candidate_version_the_general_endpoint_answers(tmp_path, table):
    server = Server(tmp_path, table, share=0.5)
    body = b'{"candidates":["c1"]}'
    server.endpoints.use_store(table, "test", "", (table, "other", "base"))
    assert server.directly(body) is None
    server.endpoints.use_store(table, "other", "base")  # promoted
    assert server.directly(body)


def test_while_the_posteriors_are_loaded_the_general_endpoint_says_so(tmp_path):
    counters = SharedCounters(metrics.LAYOUT, 1)
    ids = DecisionIds(bytes(KEY_BYTES))
    own = Settings(tmp_path, tmp_path)
    endpoints = Endpoints(own, ids, counters, counters.row(0), started=0.0)
    assert endpoints.predict_directly(b'{"candidates":["c1"]}') is None
