"""Directory answers: one account, found."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from switch.documents.channel import harmless
from switch.documents.markup import document, element, param
from switch.documents.unrouted import ends_unrouted
from switch.routing import EMERGENCY_CONTEXT

INTERNAL_PROFILE = "internal"
"""The profile that phones register at."""

REGISTERED_AS = "registration_metadata"
"""Variable of an account that stays beside its registration and that `show registrations` tells (`sofia_reg.c`): the
generation of the account that it was made with.
"""

NO_JOINING = "deny_refer_requests"
"""Variable of a leg that nobody may join with another call (`sofia_handle_sip_i_refer`)."""

_A1_HASH = re.compile(r"[0-9a-f]{32}", re.ASCII)


class HashRefused(ValueError):
    """An a1-hash is MD5(user:domain:password) in 32 small hexadecimal digits; store it so."""

    def __init__(self) -> None:
        super().__init__("an a1-hash must be the 32 small hexadecimal digits of MD5(user:domain:password)")


@dataclass(frozen=True, slots=True)
class DirectoryUser:
    """An account as a node is to know it for the moment of one lookup.

    `username`: the extension (or the canary's name). `a1_hash`: MD5(username:domain:password), hexadecimal;
    without it FreeSWITCH would let anybody in, so it is never empty. `context`: the tenant's dialplan
    context. `generation`: of the account, for who registers; None for every other purpose.
    """

    domain: str
    username: str
    a1_hash: str
    tenant_id: str
    seat_id: str | None
    context: str
    generation: int | None = None

    def __repr__(self) -> str:
        return f"DirectoryUser({self.username}@{self.domain})"


def directory_user(user: DirectoryUser, *, emergency_only: bool = False, calls: bool = False) -> str:
    """The account with password hash, dial string and channel variables.

    `emergency_only`: the account may reach emergency numbers and nothing else, and nobody can ring it. `calls`: its
    phone begins a call now, which ends where it is answered without our dialplan (see `unrouted`).

    The document carries no `cacheable` attribute: a node must ask every time, so that a suspension holds even
    when no command reaches it. The dial string is what `user/EXTENSION@DOMAIN` rings (mod_dptools
    `user_outgoing_channel`): the registered contact, looked up by mod_sofia itself
    (`sofia/PROFILE/USER%DOMAIN`) instead of by the usual `${sofia_contact(...)}`, because nodes run with API
    expansion switched off. `seatline_service` is not among the variables: it would be set on emergency calls
    too. Raises `HashRefused`, `NotHarmless`.
    """
    if _A1_HASH.fullmatch(user.a1_hash) is None:
        raise HashRefused
    seat_id = harmless("seat_id", user.seat_id or "")
    template = _template(
        emergency_only=emergency_only, calls=calls, has_seat=bool(seat_id), has_generation=user.generation is not None
    )
    return template.format(
        domain=harmless("domain", user.domain),
        username=harmless("username", user.username),
        a1_hash=user.a1_hash,
        context=EMERGENCY_CONTEXT if emergency_only else harmless("context", user.context),
        tenant_id=harmless("tenant_id", user.tenant_id),
        seat_id=seat_id,
        generation=user.generation,
    )


@cache
def _template(*, emergency_only: bool, calls: bool, has_seat: bool, has_generation: bool) -> str:
    """The document with `{name}` in place of each value.

    It is written once: a node asks at every registration and call, and values that are harmless need no escaping.
    """
    params = [param("a1-hash", "{a1_hash}")]
    if not emergency_only:
        params.append(param("dial-string", f"sofia/{INTERNAL_PROFILE}/{{username}}%{{domain}}"))
    variables = {"user_context": "{context}", "seatline_tenant": "{tenant_id}"}
    if has_seat:
        variables["seatline_seat"] = "{seat_id}"
    variables["seatline_extension"] = "{username}"
    if has_generation:
        variables[REGISTERED_AS] = "{generation}"
    if calls:
        variables |= ends_unrouted()
    if emergency_only:
        variables[NO_JOINING] = "true"
    entry = element(
        "user",
        element("params", *params),
        element("variables", *(element("variable", name=name, value=value) for name, value in variables.items())),
        id="{username}",
    )
    return document(element("section", element("domain", element("users", entry), name="{domain}"), name="directory"))
