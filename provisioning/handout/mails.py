"""The mail that brings a hand-out's link to whoever sits on the seat."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit import clock, languages
from infra.kit.outbox import posting
from infra.kit.outbox.kinds import Desk, Draft, kind
from infra.kit.outbox.words import Link, compose, moment_text
from infra.kit.problems import Conflict
from infra.kit.sealing import Seal
from provisioning.handout.links import page_url
from provisioning.handout.models import HandOut, HandOutLink
from provisioning.models import Seat
from tenancy import tenants

HAND_OUT = "hand_out"
OPEN = {"zh": "打开坐席资料", "en": "Open the details of your seat"}


class NoMailAddress(Conflict):
    """Nobody is written on the seat whom a mail could reach."""

    code = "seat_without_mail_address"


def check_address(seat: Seat) -> None:
    """Refuse to mail to a seat whose person has no address; raises `NoMailAddress`."""
    if seat.person_mail is None:
        raise NoMailAddress("The seat's person has no mail address; write it on the seat first.", field="mail")


def is_mailed(seat: Seat, seal: Seal | None) -> bool:
    """Whether a hand-out goes to the seat's person by mail: it is wished (with a seal), and there is an address."""
    return seal is not None and seat.person_mail is not None


async def put(session: AsyncSession, hand_out: HandOut, seat: Seat, *, seal: Seal | None, secret: str) -> None:
    """Have the page's link mailed, where it is to be. Its secret waits sealed and is erased once the mail has gone."""
    if seal is None or seat.person_mail is None:
        return
    await posting.put(
        session,
        kind=HAND_OUT,
        subject_id=hand_out.hand_out_id,
        tenant_id=hand_out.tenant_id,
        recipient=seat.person_mail,
        language=hand_out.language,
        secret=(seal, secret),
    )


@kind(HAND_OUT)
async def hand_out(desk: Desk) -> Draft | None:
    """The link; none once it was opened, replaced or withdrawn, or has expired."""
    mail, operator = desk.mail, desk.settings.operator
    query = (
        select(HandOutLink, Seat.extension, Seat.person_name)
        .join(HandOut, (HandOut.tenant_id == HandOutLink.tenant_id) & (HandOut.hand_out_id == HandOutLink.hand_out_id))
        .join(Seat, (Seat.tenant_id == HandOut.tenant_id) & (Seat.seat_id == HandOut.seat_id))
        .where(
            HandOutLink.tenant_id == mail.tenant_id,
            HandOutLink.hand_out_id == mail.subject_id,
            HandOutLink.kind == "page",
        )
    )
    found = (await desk.session.execute(query)).one_or_none()
    if found is None or desk.secret is None:
        return None
    link, extension, person_name = found
    if link.ended_at is not None or link.expires_at <= clock.now():
        return None
    language = languages.checked(mail.language)
    words = compose(
        HAND_OUT,
        language,
        {
            "name": person_name or "",
            "company": (await tenants.get(desk.session, mail.tenant_id)).name,
            "extension": extension or "",
            "expires": moment_text(link.expires_at, language),
        },
        operator,
        link=Link(OPEN[language], page_url(desk.settings.public_url, language, desk.secret)),
    )
    return Draft(words, operator.name)
