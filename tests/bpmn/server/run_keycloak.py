"""Log in at a real Keycloak, with a real browser: `make test-keycloak`.

Keycloak is fetched and built once, into pytest's cache, and starts in a quarter of a minute, or in
minutes where the machine is busy. What Keycloak does not do (claims that are wrong on purpose) is
in `test_oidc.py`, whose provider runs with every test run.
"""

from __future__ import annotations

import base64
import json
import time
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from bpmn.server import keycloak_server
from bpmn.server.conftest import Server
from browser import chromium  # noqa: F401 - a fixture

from mlkit.bpmn.server import user_lines
from mlkit.errors import BadData
from mlkit.web.oidc import Client, Provider

jwk = pytest.importorskip("joserfc.jwk")
jwt = pytest.importorskip("joserfc.jwt")
expect = pytest.importorskip("playwright.sync_api").expect
CLIENT, SECRET = "mlkit", "the-secret"
PASSWORDS = {"ann": "correct horse", "eve": "battery staple"}
REDIRECT = "http://127.0.0.1:9/oidc"
"""Where nobody listens: the test reads the code that the browser would bring there."""
PATIENCE = keycloak_server.PATIENCE
SHOWN = 120_000
"""Milliseconds: the first pages of a server that has just started take long."""


@pytest.fixture(scope="module")
def keycloak(request, tmp_path_factory):
    try:
        installed = keycloak_server.install(request.config.cache.mkdir("keycloak"))
    except keycloak_server.Unavailable as error:
        pytest.skip(str(error))
    made = keycloak_server.Keycloak(installed, tmp_path_factory.mktemp("keycloak"))
    try:
        made.wait()
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def server(tmp_path_factory, keycloak):
    folder = tmp_path_factory.mktemp("oidc")
    user_lines.add(folder / "users", "bob", "viewer", "another one")
    user_lines.set_rights(folder / "users", "@owners", "viewer")
    (folder / "secret").write_text(SECRET)
    made = Server(
        folder, "--oidc", keycloak.issuer, "--oidc-client", CLIENT, "--oidc-secret-file", "secret",
        "--users", "users",
    )  # fmt: skip
    yield made
    if made.process.poll() is None:
        assert made.stop() == 143
    made.http.close()


@pytest.fixture
def page(chromium):  # noqa: F811
    context = chromium.new_context()
    made = context.new_page()
    made.set_default_timeout(SHOWN)
    expect.set_options(timeout=SHOWN)
    yield made
    context.close()


def log_in(server, page, name):
    """Log in at Keycloak, where the browser has no session there yet."""
    page.goto(f"{server.url}/tasks")
    page.get_by_role("link", name="Log in with 127.0.0.1").click()
    fill_in(page, name)
    page.wait_for_url(f"{server.url}/**")


def fill_in(page, name):
    page.locator("#username").fill(name)
    page.locator("#password").fill(PASSWORDS[name])
    page.locator("#kc-login").click()


def me(server, page):
    return page.request.get(f"{server.url}/api/v1/me", timeout=SHOWN)


def test_rights_come_from_groups_and_end_with_the_logout(server, page):
    log_in(server, page, "ann")
    expect(page).to_have_url(f"{server.url}/tasks")
    expect(page.get_by_role("heading", level=1)).to_have_text("Tasks")
    found = me(server, page).json()
    assert found["name"] == "ann"
    assert found["roles"] == ["operator@loans", "participant@loans", "viewer", "viewer@loans"]
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("status")).to_contain_text("You are logged out.")
    assert me(server, page).status == 401
    # The session at Keycloak has not ended yet: its own page asks, and leads back.
    page.get_by_role("link", name="Log out at 127.0.0.1 too").click()
    page.locator("#kc-logout").click()
    page.wait_for_url(f"{server.url}/login?done=*")
    page.goto(f"{server.url}/tasks")
    page.get_by_role("link", name="Log in with 127.0.0.1").click()
    expect(page.locator("#username")).to_be_visible()


def test_somebody_without_rights_may_nothing(server, page):
    log_in(server, page, "eve")
    assert me(server, page).status == 403


def test_a_key_that_rotates_lets_people_in_as_before(server, keycloak, chromium):  # noqa: F811
    keycloak.rotate()
    deadline = time.monotonic() + PATIENCE
    status = 0
    while status != 200:
        # The server reads the keys again when it has not done so for some seconds.
        assert time.monotonic() < deadline
        context = chromium.new_context()
        page = context.new_page()
        page.set_default_timeout(SHOWN)
        log_in(server, page, "ann")
        status = me(server, page).status
        context.close()


# -- tokens ------------------------------------------------------------------------------------


def provider_of(keycloak) -> Provider:
    return Provider(Client(keycloak.issuer, CLIENT, SECRET), REDIRECT)


def fresh_token(keycloak, provider, page) -> tuple[str, str]:
    """Return an ID token that Keycloak has made for ann, and the nonce of its login."""
    url, flow = provider.begin()
    page.goto(url)
    with page.expect_request(lambda asked: asked.url.startswith(REDIRECT)) as back:
        fill_in(page, "ann")
    ask = {
        "grant_type": "authorization_code", "redirect_uri": REDIRECT,
        "code": parse_qs(urlsplit(back.value.url).query)["code"][0], "code_verifier": flow.verifier,
    }  # fmt: skip
    place = f"{keycloak.issuer}/protocol/openid-connect/token"
    answer = requests.post(place, data=ask, auth=(CLIENT, SECRET), timeout=PATIENCE)
    assert answer.ok, answer.text
    return answer.json()["id_token"], flow.nonce


def test_an_expired_token_is_refused(keycloak, page, monkeypatch):
    provider = provider_of(keycloak)
    token, nonce = fresh_token(keycloak, provider, page)
    claims = provider.claims(token, nonce)
    assert claims["preferred_username"] == "ann"
    later = claims["exp"] + 3600
    with monkeypatch.context() as patched:
        patched.setattr(time, "time", lambda: later)
        with pytest.raises(BadData, match="is not valid"):
            provider.claims(token, nonce)
    with pytest.raises(BadData, match="is not valid"):
        provider.claims(token, "of-another-login")


def test_a_forged_token_is_refused(keycloak, page):
    provider = provider_of(keycloak)
    token, nonce = fresh_token(keycloak, provider, page)
    head, body, signature = token.split(".")
    key = jwk.RSAKey.generate_key(2048)
    known = json.loads(_decoded(head))
    claims = {**json.loads(_decoded(body)), "groups": ["/mlkit-operator"]}
    forged = [
        f"{head}.{_encoded(json.dumps(claims))}.{signature}",
        jwt.encode({"alg": "RS256", "kid": known["kid"]}, claims, key),
        f"{_encoded(json.dumps({'alg': 'none'}))}.{_encoded(json.dumps(claims))}.",
    ]
    for each in forged:
        with pytest.raises(BadData, match="is not valid"):
            provider.claims(each, nonce)
    assert provider.claims(token, nonce)["sub"] == claims["sub"]


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _encoded(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()
