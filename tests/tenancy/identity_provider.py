"""An OpenID provider on loopback, over real HTTP: strict about PKCE and secrets, and as dishonest as it is told."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import secrets
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, RSAKey

from infra.kit import clock

CLIENT_ID, CLIENT_SECRET = "seatline at anxin", "hush: a secret+with %signs"
MAX_REQUEST_BYTES = 100_000


@dataclass
class Provider:
    """The provider, who comes to it, and how it lies."""

    port: int = 0
    key: RSAKey | ECKey = field(default_factory=lambda: ECKey.generate_key("P-256", {"kid": "one", "use": "sig"}))
    signing_key: RSAKey | ECKey | OctKey | None = None
    """Another key than the one it shows."""
    algorithm: str = "ES256"
    person: dict[str, Any] = field(
        default_factory=lambda: {
            "sub": "u-1", "email": "Li.Wei@anxin.example", "email_verified": True, "name": "李伟"
        }
    )  # fmt: skip
    claims: Callable[[dict[str, Any]], dict[str, Any]] = lambda claims: claims
    """What it does to the claims before it signs them."""
    document: Callable[[dict[str, Any]], dict[str, Any]] = lambda document: document
    """What it does to its discovery document."""
    raw: dict[str, bytes] = field(default_factory=dict[str, bytes])
    """By path, a whole answer in place of the right one."""
    codes: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])
    asked: list[str] = field(default_factory=list[str])
    authorization: str | None = None
    """The Authorization header of the last token request."""

    @property
    def issuer(self) -> str:
        """What it calls itself."""
        return f"http://127.0.0.1:{self.port}/realm"

    def answer(self, method: str, target: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, Any]]:
        """Status and JSON of a request."""
        path = urlsplit(target).path
        if path == "/realm/.well-known/openid-configuration":
            return 200, self.document(self._document())
        if path == "/realm/keys":
            return 200, {"keys": [{"kty": "oct", "k": "AAAA"}, self.key.as_dict(private=False)]}
        if path == "/realm/token" and method == "POST":
            return self._token(headers, dict(parse_qsl(body.decode())))
        return 404, {"error": "not_found"}

    def let_in(self, url: str) -> str:
        """What the browser comes back with when the person signs in at the authorization endpoint."""
        parts = urlsplit(url)
        asked = dict(parse_qsl(parts.query))
        assert parts.path == "/realm/authorize"
        assert asked["response_type"] == "code"
        assert asked["code_challenge_method"] == "S256"
        assert "openid" in asked["scope"].split()
        code = secrets.token_urlsafe(8)
        self.codes[code] = asked
        return f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state'], 'iss': self.issuer})}"

    def _document(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": True,
        }

    def _token(self, headers: dict[str, str], form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        self.authorization = headers.get("authorization")
        basic = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
        shown = {"client_id": form.get("client_id"), "client_secret": form.get("client_secret")}
        if self.authorization != f"Basic {basic}" and shown != {
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
        }:
            return 401, {"error": "invalid_client"}
        asked = self.codes.pop(form.get("code", ""), None)
        if asked is None or form.get("redirect_uri") != asked["redirect_uri"]:
            return 400, {"error": "invalid_grant"}
        challenge = base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest()).rstrip(b"=")
        if challenge.decode() != asked["code_challenge"] or asked["client_id"] != CLIENT_ID:
            return 400, {"error": "invalid_grant"}
        now = int(clock.now().timestamp())
        claims = {"iss": self.issuer, "aud": CLIENT_ID, "iat": now, "exp": now + 300, "nonce": asked["nonce"]}
        return 200, {"access_token": "x", "token_type": "Bearer", "id_token": self._signed(claims | self.person)}

    def _signed(self, claims: dict[str, Any]) -> str:
        key = self.signing_key or self.key
        header = {"alg": self.algorithm, "kid": "one"}
        if self.algorithm == "none":
            parts = [json.dumps(part).encode() for part in (header, self.claims(claims))]
            return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts) + "."
        return jwt.encode(header, self.claims(claims), key, algorithms=[self.algorithm])

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request of HTTP/1.1, then goodbye."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            first, *lines = head.decode("latin-1").split("\r\n")
            method, target, _ = first.split(" ", 2)
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            length = int(headers.get("content-length", "0"))
            assert length <= MAX_REQUEST_BYTES
            body = await reader.readexactly(length)
            self.asked.append(urlsplit(target).path)
            raw = self.raw.get(urlsplit(target).path)
            if raw is None:
                status, answer = self.answer(method, target, headers, body)
                content = json.dumps(answer).encode()
                raw = b"HTTP/1.1 %d Said\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (
                    status,
                    len(content),
                    content,
                )
            writer.write(raw)
            await writer.drain()
        finally:
            writer.close()


@asynccontextmanager
async def serving() -> AsyncGenerator[Provider]:
    """A provider for one test."""
    provider = Provider()
    server = await asyncio.start_server(provider.serve, "127.0.0.1", 0)
    provider.port = server.sockets[0].getsockname()[1]
    async with server:
        yield provider
