"""What a leg writes into its messages: the description of its media, reasons, Call-IDs."""

from __future__ import annotations

import base64
import secrets

from switch.simulator import causes
from switch.simulator.events import now_microseconds
from switch.simulator.protection import UNPROTECTED, Protection
from switch.sip.sdp import ENCRYPTED, PLAIN, SUITE, Direction

SDP_TYPE = "application/sdp"
_FIRST_MEDIA_PORT = 16_384
_MEDIA_PORTS = 16_384
_KEY_AND_SALT_BYTES = 30


def session_description(
    host: str, session_number: int, direction: Direction = "sendrecv", protection: Protection = UNPROTECTED
) -> bytes:
    """The SDP of a leg: PCMU, PCMA and telephone events at a port where nobody listens."""
    port = _FIRST_MEDIA_PORT + session_number * 2 % _MEDIA_PORTS
    version = now_microseconds() // 1_000_000
    start = f"v=0\r\no=FreeSWITCH {version} {version + 1} IN IP4 {host}\r\ns=FreeSWITCH\r\nc=IN IP4 {host}\r\nt=0 0\r\n"
    codecs = (
        "a=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\n"
        f"a=ptime:20\r\na={direction}\r\n"
    )
    encrypted = plain = ""
    if protection.crypto_tag is not None:
        key = base64.b64encode(secrets.token_bytes(_KEY_AND_SALT_BYTES)).decode()
        crypto = f"a=crypto:{protection.crypto_tag} {SUITE} inline:{key}\r\n"
        encrypted = f"m=audio {port} {ENCRYPTED} 0 8 101\r\n{codecs}{crypto}"
    if protection.crypto_tag is None or protection.is_optional:
        plain = f"m=audio {port} {PLAIN} 0 8 101\r\n{codecs}"
    return (start + encrypted + plain).encode()


def reason_header(cause: str) -> tuple[str, str]:
    """`Reason: Q.850;cause=17;text="USER_BUSY"`; causes of FreeSWITCH's own are marked as SIP."""
    number = causes.NUMBERS.get(cause, 0)
    protocol = "Q.850" if number <= causes.LARGEST_Q850 else "SIP"
    return "Reason", f'{protocol};cause={number};text="{cause}"'


def new_call_id_like_freeswitch() -> str:
    """A Call-ID in the form FreeSWITCH gives its own calls."""
    return "-".join(secrets.token_hex(size) for size in (4, 2, 2, 2, 6))
