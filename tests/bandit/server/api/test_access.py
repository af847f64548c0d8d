"""Who may do what: several tokens with roles, on all ways to the same answers."""

from __future__ import annotations

import pytest

from mlkit.bandit.server.settings import ROLES
from mlkit.errors import BadData
from mlkit.web.access import read_tokens

TOKENS = """\
# the shop
shop predict,feedback shop
watch observe
boss operate,observe boss
root
"""
EVENT = {"event_id": "e", "arm": "c1", "reward": 1}
DOES = {
    "predict": ("POST", "/predict", {"k": 1}),
    "feedback": ("POST", "/feedback", EVENT),
    "arms": ("PUT", "/arms/new", {}),
    "observe": ("GET", "/versions", None),
    "operate": ("POST", "/promote", None),
}
MAY = {"shop": {"predict", "feedback"}, "watch": {"observe"}, "boss": {"operate", "observe"}}


def test_a_token_may_do_what_its_roles_allow(start, tmp_path):
    (tmp_path / "tokens").write_text(TOKENS)
    server = start("--workers", "1", "--token-file", "tokens")
    for token, roles in (MAY | {"root": set(DOES), "other": set()}).items():
        bearer = {"authorization": f"Bearer {token}"}
        for role, what in DOES.items():
            found = server.call(*what, **bearer)
            refused = 401 if token == "other" else 403
            assert (found.status == refused) == (role not in roles), (token, role, found)
    named = server.call("POST", "/promote", authorization="Bearer shop")
    assert named.body["error"] == "shop may not do this"
    assert "'operate'" in named.body["hint"]
    assert server.call("POST", "/promote", authorization="Bearer root").status == 409
    assert server.call("GET", "/health").status == 200


@pytest.mark.parametrize("roles", ["admin", "predict@shop", "predict#shop", "predict,", "Predict"])
def test_what_is_no_role_is_refused_by_the_line(tmp_path, roles):
    path = tmp_path / "tokens"
    path.write_text(f"good predict\nsecret {roles}\n")
    with pytest.raises(BadData, match=r"tokens:2: no such role") as raised:
        read_tokens(path, ROLES, in_parts=False)
    assert "secret" not in f"{raised.value.message}{raised.value.hint}"
    assert raised.value.hint == "roles: predict, feedback, arms, observe, operate"
