"""Logging in at an OpenID Connect provider: who is let in, as whom, and who is not."""

from __future__ import annotations

import time

import pytest
import requests
from bpmn.server.conftest import Server
from commands import run_mlkit

from mlkit.bpmn.server import user_lines
from mlkit.bpmn.server.federation import Claims, rights_of
from mlkit.errors import BadData, UsageError
from mlkit.web.oidc import Client, Provider, require_issuer

jwk = pytest.importorskip("joserfc.jwk")
issuers = pytest.importorskip("bpmn.server.issuer")
HTML = {"accept": "text/html"}


@pytest.fixture(scope="module")
def provider():
    made = issuers.Issuer()
    yield made
    made.stop()


@pytest.fixture
def issuer(provider):
    """Return the provider as it is at first."""
    provider.person = {"preferred_username": "ann", "groups": []}
    provider.change, provider.algorithm, provider.signs = {}, "RS256", provider.keys[0]
    return provider


@pytest.fixture(scope="module")
def server(tmp_path_factory, provider):
    folder = tmp_path_factory.mktemp("oidc")
    user_lines.add(folder / "users", "ann", "viewer", "correct horse")
    user_lines.set_rights(folder / "users", "@owners", "operator")
    (folder / "secret").write_text(issuers.SECRET)
    made = Server(
        folder, "--oidc", provider.url, "--oidc-client", issuers.CLIENT, "--oidc-secret-file",
        "secret", "--users", "users",
    )  # fmt: skip
    yield made
    if made.process.poll() is None:
        assert made.stop() == 143
    made.http.close()


@pytest.fixture
def browser():
    with requests.Session() as session:
        session.headers.update(HTML)
        yield session


def come_back(server, browser, path: str = "/"):
    """Log in at the provider; return the answer to coming back, which is not followed."""
    begun = browser.get(f"{server.url}/oidc-login", params={"next": path}, allow_redirects=False)
    there = requests.get(begun.headers["location"], allow_redirects=False)
    return browser.get(there.headers["location"], allow_redirects=False)


def me(server, browser):
    return browser.get(f"{server.url}/api/v1/me")


def test_rights_come_from_groups(server, issuer, browser):
    issuer.person |= {"groups": ["/owners", "strangers", "mlkit-deployer@loans", "mlkit-boss"]}
    assert "Log in with 127.0.0.1" in browser.get(f"{server.url}/tasks").text
    back = come_back(server, browser, "/tasks?show=all")
    assert (back.status_code, back.headers["location"]) == (303, "./tasks?show=all")
    found = me(server, browser).json()
    assert found["name"] == "ann"
    assert found["roles"] == ["deployer@loans", "operator", "participant", "viewer", "viewer@loans"]
    assert issuer.asked[-1]["code_verifier"]
    shown = browser.get(f"{server.url}/").text
    token = shown.partition('name="form_token" value="')[2].partition('"')[0]
    out = browser.post(f"{server.url}/logout", data={"form_token": token})
    assert f"{issuer.url}/logout?client_id=mlkit&amp;post_logout_redirect_uri=" in out.text
    assert me(server, browser).status_code == 401


def test_somebody_without_rights_may_nothing(server, issuer, browser):
    issuer.person = {"preferred_username": "eve", "groups": ["owner", "Owners"]}
    assert come_back(server, browser).status_code == 303
    assert me(server, browser).json()["roles"] == []
    assert browser.get(f"{server.url}/api/v1/tasks").status_code == 403


@pytest.mark.parametrize(
    "change",
    [
        {"exp": int(time.time()) - 100}, {"exp": None}, {"aud": "another"}, {"aud": None},
        {"iss": "http://127.0.0.1/other"}, {"nonce": "another"}, {"nonce": None}, {"sub": None},
        {"azp": "another", "aud": ["mlkit", "another"]}, {"preferred_username": None},
        {"preferred_username": "a\r\nSet-Cookie: x=y"}, {"preferred_username": "a b"},
        {"preferred_username": ["ann"]},
    ],
)  # fmt: skip
def test_a_token_that_is_not_for_this_login_is_refused(server, issuer, browser, change):
    issuer.change = change
    refused = come_back(server, browser)
    assert refused.status_code == 403, refused.text
    assert "mlkit-session" not in browser.cookies
    assert me(server, browser).status_code == 401


def test_a_forged_token_is_refused(server, issuer, browser):
    issuer.signs = jwk.RSAKey.generate_key(2048, {"kid": "first"})
    assert come_back(server, browser).status_code == 403
    issuer.signs = issuer.keys[0]
    for algorithm in ("HS256", "none", "None"):
        # The public key is not a shared secret, and no signature is none.
        issuer.algorithm = algorithm
        assert come_back(server, browser).status_code == 403
    assert me(server, browser).status_code == 401


def test_a_login_belongs_to_the_browser_that_began_it(server, issuer, browser):
    begun = browser.get(f"{server.url}/oidc-login", allow_redirects=False)
    there = requests.get(begun.headers["location"], allow_redirects=False)
    back = there.headers["location"]
    assert requests.get(back, headers=HTML, allow_redirects=False).status_code == 400
    for wrong in (back.replace("state=", "state=x"), f"{server.url}/oidc?error=access_denied",
                  f"{server.url}/oidc", back.replace("iss=http", "iss=https")):  # fmt: skip
        assert browser.get(wrong, allow_redirects=False).status_code in (400, 403), wrong
    assert browser.get(back, allow_redirects=False).status_code == 303
    # A code is good once, and so is the cookie of a login.
    assert browser.get(back, allow_redirects=False).status_code == 400


@pytest.mark.parametrize("path", ["//evil.example", "https://evil.example", "/\\evil.example"])
def test_coming_back_leads_to_no_other_site(server, issuer, browser, path):
    assert come_back(server, browser, path).headers["location"] == "./"


def test_keys_that_rotate_are_read_again(request):
    issuer = issuers.Issuer()
    request.addfinalizer(issuer.stop)
    provider = Provider(Client(issuer.url, issuers.CLIENT, issuers.SECRET), "http://127.0.0.1/oidc")
    assert provider.claims(issuer.token("n"), "n")["sub"] == "1"
    before = issuer.signs
    issuer.rotate()
    provider._fetched = float("-inf")  # As if some seconds had gone by.
    assert provider.claims(issuer.token("n"), "n")["sub"] == "1"
    issuer.signs = before
    with pytest.raises(BadData, match="is not valid"):
        provider.claims(issuer.token("n"), "n")


def test_which_claims_count():
    claims = Claims("email", "realm_access.roles")
    told = {"email": "ann@example.org", "realm_access": {"roles": ["/a/b", 3, "mlkit-viewer"]}}
    with pytest.raises(BadData, match="not verified"):
        claims.name_of(told)
    assert claims.name_of({**told, "email_verified": True}) == "ann@example.org"
    assert claims.groups_of(told) == ["a/b", "mlkit-viewer"]
    assert rights_of(["mlkit-viewer#eu", "mlkit-nothing", "viewer"]) == {"viewer#eu"}


@pytest.mark.parametrize(
    "issuer", ["http://login.example.org", "login.example.org", "https://", ""]
)
def test_an_issuer_is_reached_safely(issuer):
    with pytest.raises(UsageError):
        require_issuer(issuer)


def test_an_address_that_others_reach_needs_its_name(tmp_path):
    command = ["bpmn", "serve", "--port", "0", "--host", "0.0.0.0",
               "--oidc", "https://login.example.org", "--oidc-client", "x"]  # fmt: skip
    done = run_mlkit(*command, cwd=tmp_path)
    assert (done.returncode, "--base-url" in done.stderr) == (2, True)
    alone = run_mlkit(*command[:-2], cwd=tmp_path)
    assert (alone.returncode, "--oidc-client" in alone.stderr) == (2, True)
