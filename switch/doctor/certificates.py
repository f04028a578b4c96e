"""When the certificate of a TLS address ends, read from the address itself as a phone or node would see it."""

from __future__ import annotations

import asyncio
import ssl
from typing import cast

from cryptography import x509

from switch.doctor.findings import CertificateReading

TIMEOUT_SECONDS = 5.0


async def read_certificate(what: str, host: str, port: int) -> CertificateReading:
    """Connect, take what is shown, hang up. Nothing is verified: an expired or foreign certificate is to be seen.

    `what` names it in findings. Never raises for what the other side does.
    """
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            shown = await _shown(host, port)
        return CertificateReading(what, address, x509.load_der_x509_certificate(shown).not_valid_after_utc)
    except TimeoutError:
        return CertificateReading(what, address, None, f"no answer within {TIMEOUT_SECONDS:g} s")
    except OSError as error:
        return CertificateReading(what, address, None, error.strerror or type(error).__name__)
    except ValueError:
        return CertificateReading(what, address, None, "it cannot be read")


async def _shown(host: str, port: int) -> bytes:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    _, writer = await asyncio.open_connection(host, port, ssl=context)
    try:
        connection = cast("ssl.SSLObject", writer.get_extra_info("ssl_object"))
        return connection.getpeercert(binary_form=True) or b""
    finally:
        writer.transport.abort()
