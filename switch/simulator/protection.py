"""Whether a leg's media is said to be encrypted, with keys in the session description (RFC 4568). None is sent.

Source: `switch_core_media.c` (`switch_core_session_parse_crypto_prefs`, `switch_core_media_gen_local_sdp`): a caller
that offers a key is answered with one; towards the called it is for `rtp_secure_media_outbound` to say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from switch.simulator.settings import is_true
from switch.sip.errors import SipSyntaxError
from switch.sip.sdp import ENCRYPTED, Audio

NEGOTIATED = "rtp_secure_media_negotiated"
"""The variable that names the suite, in call records too."""


@dataclass(frozen=True)
class Protection:
    """What one side offers or answers. `crypto_tag`: of its key; None: in the clear. `is_optional`: or in the clear."""

    crypto_tag: str | None = None
    is_optional: bool = False

    @property
    def is_demanded(self) -> bool:
        """Whether nothing but an encrypted answer will do."""
        return self.crypto_tag is not None and not self.is_optional


UNPROTECTED = Protection()


def towards_called(variables: Mapping[str, str]) -> Protection:
    """What a leg that we call is offered."""
    wanted = (variables.get("rtp_secure_media_outbound") or variables.get("rtp_secure_media") or "").partition(":")[0]
    if wanted == "optional":
        return Protection("1", is_optional=True)
    return Protection("1") if wanted == "mandatory" or is_true(wanted) else UNPROTECTED


def answer_to(offer: Audio | None) -> Protection | None:
    """What an offer is answered with; None when it asks for encryption that we do not do."""
    if offer is None or offer.profile != ENCRYPTED:
        return UNPROTECTED
    return Protection(offer.crypto_tag) if offer.crypto_tag is not None else None


def described(body: bytes) -> Audio | None:
    """What a session description says of its audio; None when there is none that could be read."""
    try:
        return Audio.parse(body) if body else None
    except SipSyntaxError:
        return None
