"""Request and response bodies of hand-outs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from infra.kit.http import Body, View
from infra.kit.languages import Language
from provisioning.handout.making import HOURS_USUALLY, Made
from provisioning.handout.models import HandOut, HandOutLink


class NewHandOut(Body):
    """In which language, for how many hours its links work, and whether its page's link is mailed to the seat's person
    as well."""

    language: Language = "zh"
    valid_hours: int = HOURS_USUALLY
    mail: bool = False


class HandOutLinkView(View):
    """One link. `kind`: page, softphone or desk_phone; `state`: waiting, fetched, expired, replaced or withdrawn."""

    kind: str
    state: str
    ended_at: datetime | None


class HandOutView(View):
    """A hand-out without anything secret."""

    hand_out_id: str
    tenant_id: str
    seat_id: str
    language: str
    made_by: str
    created_at: datetime
    expires_at: datetime
    links: list[HandOutLinkView]


class HandOutMade(HandOutView):
    """A new hand-out with the address of its page, shown this once; give it to the seat's user."""

    url: str


def _fields(hand_out: HandOut, links: Sequence[HandOutLink]) -> dict[str, Any]:
    own = (name for name in HandOutView.__struct_fields__ if name != "links")
    return {
        "links": [
            HandOutLinkView(kind=each.kind, state=each.ending or "waiting", ended_at=each.ended_at) for each in links
        ],
        **{name: getattr(hand_out, name) for name in own},
    }


def hand_out_view(hand_out: HandOut, links: Sequence[HandOutLink]) -> HandOutView:
    """A hand-out as lists show it."""
    return HandOutView(**_fields(hand_out, links))


def hand_out_made(made: Made, links: Sequence[HandOutLink]) -> HandOutMade:
    """A hand-out that was just made."""
    return HandOutMade(url=made.url, **_fields(made.hand_out, links))
