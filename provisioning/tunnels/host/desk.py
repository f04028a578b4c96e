"""How the gateway's program speaks with the API: with its own credential, and nothing else of the installation."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import httpx
import msgspec

from infra.kit.problems import InvalidInput
from provisioning.tunnels.gateway_api import LONGEST_WAIT_SECONDS, Applicable, Received
from provisioning.tunnels.readings import Reading

TIMEOUT_SECONDS = 30.0
UNAUTHORIZED = 401
SECRET_LIMIT_BYTES = 1_000
Answer = TypeVar("Answer")


class ApiAway(Exception):
    """The API did not answer, or not as expected; to be tried again."""


class CredentialRefused(InvalidInput):
    """The API refuses this gateway: its credential was revoked, replaced, or is used by another host."""

    code = "tunnel_gateway_refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """Where the API is and how this gateway signs in."""

    api_url: str
    name: str
    secret: str = field(repr=False)
    ca_file: Path | None = None

    @classmethod
    def read(cls, *, api_url: str, name: str, secret_file: Path, ca_file: Path | None) -> Credential:
        """With the secret from a file. Raises `CredentialRefused`."""
        try:
            with secret_file.open("rb") as file:
                secret = file.read(SECRET_LIMIT_BYTES).decode("ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise CredentialRefused(f"{secret_file} cannot be read: {error}.", field="secret_file") from error
        if not secret:
            raise CredentialRefused(f"{secret_file} is empty; it holds the gateway's secret.", field="secret_file")
        return cls(api_url=api_url.rstrip("/"), name=name, secret=secret, ca_file=ca_file)


class Desk:
    """The API as this gateway sees it."""

    def __init__(
        self, credential: Credential, instance: str, *, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        """`transport`: another way than the network, for tests."""
        verify = True if credential.ca_file is None else ssl.create_default_context(cafile=credential.ca_file)
        self._instance = instance
        self._http = httpx.AsyncClient(
            base_url=credential.api_url,
            auth=httpx.BasicAuth(credential.name, credential.secret),
            verify=verify,
            timeout=TIMEOUT_SECONDS,
            trust_env=False,
            transport=transport,
        )

    async def __aenter__(self) -> Desk:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def what_to_apply(self, public_key: str, state: str | None, *, wait: bool) -> Applicable:
        """Peers and edge, once they differ from `state`. Raises `ApiAway`, `CredentialRefused`."""
        wait_seconds = LONGEST_WAIT_SECONDS if wait else 0.0
        body = {"public_key": public_key, "state": state, "wait_seconds": wait_seconds}
        return await self._post("/gateway/peers", body, Applicable)

    async def report(self, readings: Sequence[Reading]) -> Received:
        """Hand in counters. Raises `ApiAway`, `CredentialRefused`."""
        return await self._post("/gateway/readings", {"readings": readings}, Received)

    async def _post(self, path: str, body: dict[str, Any], kind: type[Answer]) -> Answer:
        content = msgspec.json.encode({"instance": self._instance} | body)
        try:
            answer = await self._http.post(path, content=content, headers={"content-type": "application/json"})
        except httpx.HTTPError as error:
            raise ApiAway(f"{path}: {error or type(error).__name__}") from error
        if answer.status_code == UNAUTHORIZED:
            raise CredentialRefused(f"The API refuses this gateway: {_detail(answer)}", field="secret_file")
        if not answer.is_success:
            raise ApiAway(f"{path}: HTTP {answer.status_code} {_detail(answer)}")
        try:
            return msgspec.json.decode(answer.content, type=kind)
        except msgspec.MsgspecError as error:
            raise ApiAway(f"{path}: the answer is none of ours ({error})") from error


def _detail(answer: httpx.Response) -> str:
    try:
        return str(msgspec.json.decode(answer.content, type=dict[str, Any]).get("detail", ""))
    except msgspec.MsgspecError:
        return ""
