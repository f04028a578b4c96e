"""The mail adapter by itself: what goes over the wire, TLS and signing in, and outcomes that are told honestly."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from email import message_from_bytes
from email.policy import SMTP as SMTP_POLICY
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from infra.kit import clock
from infra.kit.mail import Mailer, Message, composed, one_line
from infra.kit.mail_address import is_address
from infra.kit.settings import MailServer
from tests.billing.mail_world import words_of

SENDER = "billing@seatline.example"
MESSAGE = Message(
    key="rem_1",
    sender_name="席线云通信有限公司",
    recipient="caiwu@anxin.example",
    subject="账单 2026-0002：4,000.00 元",
    text="请付款。\n.\n.end\n",
    html="<p>请付款。</p>",
    language="zh-CN",
)


class Keeper:
    """Keeps what comes."""

    def __init__(self) -> None:
        self.contents: list[bytes] = []

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Take a message."""
        assert isinstance(envelope.content, bytes)
        self.contents.append(envelope.content)
        return "250 taken"


def _authenticate(server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
    known = isinstance(data, LoginPassword) and (data.login, data.password) == (b"seatline", b"hush")
    return AuthResult(success=known, handled=False)


def _certificate(folder: Path) -> Path:
    """A certificate for 127.0.0.1 that only who is told to will trust, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    alternative = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    now = clock.now()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(alternative, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "mail.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    return path


@asynccontextmanager
async def _serving(keeper: Keeper, certificate: Path | None, security: str) -> AsyncGenerator[MailServer]:
    loop = asyncio.get_running_loop()
    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)

    def session() -> SMTP:
        if security == "starttls":
            return SMTP(
                keeper,
                hostname="mail.test",
                loop=loop,
                tls_context=context,
                require_starttls=True,
                authenticator=_authenticate,
                auth_required=True,
            )
        return SMTP(keeper, hostname="mail.test", loop=loop)

    server = await loop.create_server(session, "127.0.0.1", 0, ssl=context if security == "tls" else None)
    async with server:
        yield MailServer(
            host="127.0.0.1",
            port=server.sockets[0].getsockname()[1],
            security="starttls" if security == "starttls" else "tls" if security == "tls" else "none",
            username="seatline" if security == "starttls" else None,
            password="hush" if security == "starttls" else None,
            sender=SENDER,
        )


async def test_what_goes_over_the_wire_is_ascii_and_reads_back_as_written() -> None:
    keeper = Keeper()
    async with _serving(keeper, None, "none") as server, Mailer(server) as mailer:
        for _ in range(2):  # over one connection
            assert (await mailer.send(MESSAGE)).outcome == "done"
    for content in keeper.contents:
        assert content.isascii()
        assert max(len(line) for line in content.split(b"\r\n")) <= 998
        mail = message_from_bytes(content, policy=SMTP_POLICY)
        assert (mail["Subject"], mail["Message-ID"]) == (MESSAGE.subject, "<rem_1@seatline.example>")
        assert mail["From"].addresses[0].display_name == MESSAGE.sender_name
        assert words_of(mail).replace("\r\n", "\n") == MESSAGE.text
        assert words_of(mail, "html").strip() == MESSAGE.html


@pytest.mark.parametrize("security", ["starttls", "tls"])
async def test_tls_with_a_certificate_that_is_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, security: str
) -> None:
    certificate, keeper = _certificate(tmp_path), Keeper()
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    async with _serving(keeper, certificate, security) as server, Mailer(server) as mailer:
        delivery = await mailer.send(MESSAGE)
    assert (delivery.outcome, delivery.problem, len(keeper.contents)) == ("done", None, 1)


@pytest.mark.parametrize("security", ["starttls", "tls"])
async def test_a_certificate_that_nobody_vouches_for_gets_no_mail(tmp_path: Path, security: str) -> None:
    keeper = Keeper()
    async with _serving(keeper, _certificate(tmp_path), security) as server, Mailer(server) as mailer:
        delivery = await mailer.send(MESSAGE)
    assert (delivery.outcome, delivery.server_unusable, keeper.contents) == ("not_sent", True, [])
    assert "certificate" in str(delivery.problem).lower()


async def test_a_wrong_password_is_the_servers_trouble_and_not_the_messages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, keeper = _certificate(tmp_path), Keeper()
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    serving = _serving(keeper, certificate, "starttls")
    async with serving as server, Mailer(replace(server, password="wrong")) as mailer:
        delivery = await mailer.send(MESSAGE)
    assert (delivery.outcome, delivery.server_unusable, keeper.contents) == ("not_sent", True, [])
    assert str(delivery.problem).startswith("535")
    assert "wrong" not in str(delivery.problem)


async def test_a_server_that_promises_tls_and_has_none_gets_nothing() -> None:
    keeper = Keeper()
    async with _serving(keeper, None, "none") as server, Mailer(replace(server, security="starttls")) as mailer:
        delivery = await mailer.send(MESSAGE)
    assert (delivery.outcome, delivery.server_unusable, keeper.contents) == ("not_sent", True, [])


async def test_a_server_that_says_nothing_is_not_waited_for_long() -> None:
    silent = await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", 0)
    async with silent:
        port = silent.sockets[0].getsockname()[1]
        server = MailServer(host="127.0.0.1", port=port, security="none", username=None, password=None, sender=SENDER)
        async with Mailer(server, connect_timeout_seconds=0.2) as mailer:
            delivery = await mailer.send(MESSAGE)
    assert (delivery.outcome, delivery.server_unusable) == ("not_sent", True)


def test_no_value_can_add_a_header() -> None:
    hostile = "a\r\nBcc: all@world.example\r\n\r\nb\x00\u2028\x85c"
    mail = composed(replace(MESSAGE, subject=hostile, sender_name=hostile), SENDER)
    assert mail["Bcc"] is None
    assert str(mail["Subject"]) == "a Bcc: all@world.example b c" == one_line(hostile)
    for address in (hostile, "a@b.example\r\nBcc: c@d.example", "a@b.example>,<c@d.example", ""):
        with pytest.raises(ValueError, match="not a mail address"):
            composed(replace(MESSAGE, recipient=address), SENDER)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("finance@example.com", True),
        ("o'brien+rent@sub.example.co", True),
        ("a@b.xn--fiqs8s", True),
        ("a@b", False),
        ("a@192.0.2.1", False),
        ("a@-b.example", False),
        (".a@b.example", False),
        ("a@b.example.", False),
        ("a b@c.example", False),
        ('"a b"@c.example', False),
        ("a@b.example\n", False),
        (f"{'a' * 64}@{'b' * 63}.{'c' * 63}.{'d' * 63}.example", False),
    ],
)
def test_what_is_taken_for_an_address(text: str, expected: bool) -> None:
    assert is_address(text) is expected
