"""One POST of a webhook: where it goes, for whom the certificate is, and when it ends."""

from __future__ import annotations

import ssl
from pathlib import Path

from tenancy.webhooks.posting import Poster
from tenancy.webhooks.targets import Resolver
from tests.tenancy.webhook_world import Receiver, certificate_for


async def test_the_connection_goes_to_the_judged_address_and_the_certificate_is_for_the_name(tmp_path: Path) -> None:
    """A name server that answers differently the second time is asked only once."""
    asked: list[str] = []

    async def lookup(host: str, _port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["10.0.0.1"]

    certificate = certificate_for("hooks.example.com", tmp_path)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate)
    client = ssl.create_default_context(cafile=certificate)
    listening = await Receiver().start(server)
    poster = Poster(Resolver(inside_allowed=True, lookup=lookup), tls=client)
    posted = await poster.post(f"https://hooks.example.com:{listening.port}/in", {}, b"{}")
    assert (posted.status, posted.address, posted.problem) == (204, "127.0.0.1", None)
    assert listening.received[0].headers["host"] == f"hooks.example.com:{listening.port}"
    assert asked == ["hooks.example.com"]
    asked.clear()
    elsewhere = await poster.post(f"https://other.example.com:{listening.port}/in", {}, b"{}")
    assert elsewhere.status is None
    assert "certificate" in str(elsewhere.problem).lower()
    await poster.close()
    await listening.stop()


async def test_a_target_that_never_answers_ends_in_time() -> None:
    silent = await Receiver(None).start()
    poster = Poster(Resolver(inside_allowed=True), timeout_seconds=0.2)
    posted = await poster.post(silent.url, {}, b"{}")
    assert (posted.status, posted.problem) == (None, "no answer within 0.2 seconds")
    nobody = await poster.post("http://127.0.0.1:9/", {}, b"{}")
    assert "ConnectError" in str(nobody.problem)
    await poster.close()
    await silent.stop()
