"""A small OpenID Connect provider on this machine, which does what a test tells it to."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwk, jwt

CLIENT, SECRET = "mlkit", "the-secret"


class Issuer:
    """A provider that lets everybody in as `person`.

    Attributes:
        person: The claims of who logs in.
        change: Claims that its tokens have in place of the right ones; None: without the claim.
        signs: The key that signs; another one than those it publishes is a forger's.
        asked: What the token endpoint was asked, newest last.
    """

    def __init__(self) -> None:
        self.person: dict[str, Any] = {"preferred_username": "ann", "groups": []}
        self.change: dict[str, Any] = {}
        self.keys = [jwk.RSAKey.generate_key(2048, {"kid": "first", "use": "sig"})]
        self.signs = self.keys[0]
        self.algorithm = "RS256"
        self.asked: list[dict[str, str]] = []
        self._codes: dict[str, dict[str, str]] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}/realm"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def rotate(self) -> None:
        """Sign by a new key, and publish no other."""
        self.keys = [jwk.RSAKey.generate_key(2048, {"kid": secrets.token_hex(4), "use": "sig"})]
        self.signs = self.keys[0]

    def token(self, nonce: str) -> str:
        now = int(time.time())
        claims = {
            "iss": self.url, "aud": CLIENT, "sub": "1", "iat": now, "exp": now + 300,
            "nonce": nonce, **self.person, **self.change,
        }  # fmt: skip
        claims = {name: each for name, each in claims.items() if each is not None}
        if self.algorithm != "RS256":
            return self._by_hand(claims)
        return jwt.encode({"alg": "RS256", "kid": self.signs.kid}, claims, self.signs)

    def _by_hand(self, claims: dict[str, Any]) -> str:
        """Return a token as a forger writes it: signed by what is public, or by nothing."""
        header = {"alg": self.algorithm, "kid": self.keys[0].kid}
        text = f"{_encoded(json.dumps(header).encode())}.{_encoded(json.dumps(claims).encode())}"
        public = self.keys[0].as_pem(private=False)
        signature = hmac.new(public, text.encode(), hashlib.sha256).digest()
        return f"{text}.{_encoded(signature) if self.algorithm == 'HS256' else ''}"

    # -- what it answers -------------------------------------------------------------------

    def _described(self, query: dict[str, str]) -> dict[str, Any]:
        paths = {"authorization_endpoint": "/auth", "token_endpoint": "/token",
                 "jwks_uri": "/keys", "end_session_endpoint": "/logout"}  # fmt: skip
        return {"issuer": self.url, **{name: self.url + path for name, path in paths.items()}}

    def _keys(self, query: dict[str, str]) -> dict[str, Any]:
        unknown = {"kty": "XYZ", "kid": "odd", "use": "sig"}
        return {"keys": [unknown, *(each.as_dict(private=False) for each in self.keys)]}

    def _code(self, query: dict[str, str]) -> str:
        code = secrets.token_hex(8)
        self._codes[code] = query
        back = {"code": code, "state": query["state"], "iss": self.url}
        return f"{query['redirect_uri']}?{urlencode(back)}"

    def _redeemed(self, given: dict[str, str]) -> dict[str, Any] | None:
        self.asked.append(given)
        asked = self._codes.pop(given["code"], None)
        digest = hashlib.sha256(given.get("code_verifier", "").encode()).digest()
        if asked is None or asked["code_challenge"] != _encoded(digest):
            return None
        assert (asked["code_challenge_method"], asked["response_type"]) == ("S256", "code")
        assert asked["redirect_uri"] == given["redirect_uri"]
        return {"access_token": "opaque", "token_type": "Bearer",
                "id_token": self.token(asked["nonce"])}  # fmt: skip

    def _handler(issuer) -> type[BaseHTTPRequestHandler]:  # noqa: N805 - `self` is the handler
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.0"

            def log_message(self, *arguments: object) -> None:
                pass

            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                query = {name: each[0] for name, each in parse_qs(parts.query).items()}
                if parts.path == "/realm/auth":
                    self.send_response(302)
                    self.send_header("location", issuer._code(query))
                    self.end_headers()
                    return
                answers = {"/realm/.well-known/openid-configuration": issuer._described,
                           "/realm/keys": issuer._keys}  # fmt: skip
                self._answer(200, answers[parts.path](query))

            def do_POST(self) -> None:
                length = int(self.headers["content-length"])
                form = parse_qs(self.rfile.read(length).decode())
                given = {name: each[0] for name, each in form.items()}
                login = base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
                found = issuer._redeemed(given)
                if self.headers["authorization"] != f"Basic {login}" or found is None:
                    self._answer(400, {"error": "invalid_grant"})
                else:
                    self._answer(200, found)

            def _answer(self, status: int, document: object) -> None:
                body = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        return Handler


def _encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
