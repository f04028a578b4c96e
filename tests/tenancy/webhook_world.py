"""Receivers of webhooks on this machine, and what they got."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from infra.kit import clock
from infra.kit.database import Scope
from infra.kit.sealing import Seal
from tenancy import tenants
from tenancy.webhooks.posting import Poster
from tenancy.webhooks.sender import Sender
from tenancy.webhooks.targets import Resolver
from tests.api import Api, Caller

TIMEOUT_SECONDS = 30.0
"""Never reached: whoever does not answer is let go by its test."""
CLOSE_TIMEOUT_SECONDS = 1.0
SUSPENDED, RESTORED = "tenant.suspended", "tenant.restored"


@dataclass(frozen=True)
class Received:
    """One request as it came."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def message(self) -> dict[str, Any]:
        """The JSON inside."""
        return json.loads(self.body)

    def is_signed_by(self, secret: str) -> bool:
        """The receiver's side of Standard Webhooks, written from its text."""
        key = base64.b64decode(secret.removeprefix("whsec_"))
        signed = f"{self.headers['webhook-id']}.{self.headers['webhook-timestamp']}.".encode() + self.body
        expected = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        return expected in self.headers["webhook-signature"].split(" ")


@dataclass
class Receiver:
    """A web server of a tenant: answers as it is told, or (None) never."""

    answer: bytes | None = b"HTTP/1.1 204 No Content\r\n\r\n"
    received: list[Received] = field(default_factory=list[Received])
    got_one: asyncio.Event = field(default_factory=asyncio.Event)
    port: int = 0
    _server: asyncio.Server | None = None
    _open: set[asyncio.StreamWriter] = field(default_factory=set[asyncio.StreamWriter])
    _released: asyncio.Event = field(default_factory=asyncio.Event)

    async def start(self, tls: ssl.SSLContext | None = None) -> Receiver:
        """Listen on a port of its own."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        """Close everything."""
        assert self._server is not None
        self._released.set()
        self._server.close()
        for writer in list(self._open):
            writer.close()
        async with asyncio.timeout(CLOSE_TIMEOUT_SECONDS):
            await self._server.wait_closed()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}/hook?key=1"

    def of_type(self, event_type: str) -> list[Received]:
        """The messages of one type."""
        return [each for each in self.received if each.message["type"] == event_type]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:-2])}
            body = await reader.readexactly(int(headers["content-length"]))
            self.received.append(Received(head[0].split(" ")[1], headers, body))
            self.got_one.set()
            if self.answer is None:
                await self._released.wait()
            else:
                writer.write(self.answer)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            return  # whoever called has gone
        finally:
            self._open.discard(writer)
            writer.close()


Starts = Callable[..., Awaitable[Receiver]]


@asynccontextmanager
async def receivers() -> AsyncGenerator[Starts]:
    """Starts receivers, which are stopped at the end."""
    started: list[Receiver] = []

    async def start(answer: bytes | None = b"HTTP/1.1 204 No Content\r\n\r\n") -> Receiver:
        started.append(await Receiver(answer).start())
        return started[-1]

    yield start
    for each in started:
        await each.stop()


def sender(api: Api, *, inside_allowed: bool = True, slow_places: int = 8) -> Sender:
    """The sending of a worker, very patient."""
    poster = Poster(Resolver(inside_allowed=inside_allowed), timeout_seconds=TIMEOUT_SECONDS)
    return Sender(api.database, Seal(api.settings.secret_key), poster, slow_places=slow_places)


async def subscribe(admin: Caller, url: str, *event_types: str) -> dict[str, Any]:
    """A new endpoint of the caller's tenant."""
    answer = await admin.post("/v1/webhook-endpoints", {"url": url, "event_types": list(event_types)})
    assert answer.status_code == 201, answer.text
    return answer.json()


async def suspend(api: Api, tenant_id: str) -> None:
    """The tenant is suspended, which is an event."""
    async with api.database.transaction(Scope.platform()) as session:
        await tenants.suspend(session, tenant_id, reason="payment_overdue")


async def restore(api: Api, tenant_id: str) -> None:
    """The tenant is restored, which is another."""
    async with api.database.transaction(Scope.platform()) as session:
        await tenants.restore(session, tenant_id)


async def tenant_with_admin(api: Api, name: str = "tenant") -> tuple[str, Caller]:
    """A new tenant's id, and its administrator."""
    tenant_id = await api.tenant(name)
    return tenant_id, await api.client("tenant_admin", tenant_id)


def later(**pause: float) -> None:
    """Time passes."""
    clock.travel_to(clock.now() + timedelta(**pause))


def certificate_for(name: str, folder: Path) -> Path:
    """A self-made certificate for a host name, with its key in the same file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = folder / f"{name}.pem"
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + private)
    return path
