"""Hand-outs: made with new credentials, listed, withdrawn, erased.

Everything that is secret lies sealed under the secret of its link (`secrecy`); of the secret itself only the digest is
kept. So neither the database nor a backup of it can show a password or a private key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

import msgspec
from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit import audit, clock
from infra.kit.ids import new_id
from infra.kit.languages import Language
from infra.kit.problems import InvalidInput
from infra.kit.sealing import Seal, digest, new_secret
from provisioning import seats
from provisioning.handout import contents, links, mails, secrecy, tunnel_part
from provisioning.handout.contents import HandOutContent, Server
from provisioning.handout.ending import ended_values
from provisioning.handout.errors import HandOutUnknown
from provisioning.handout.models import HandOut, HandOutLink
from provisioning.models import Seat
from provisioning.seats import Credentials
from provisioning.tunnels.edge import Reachable
from tenancy import tenants

Kind = Literal["page", "softphone", "desk_phone"]

HOURS_LIMIT = 14 * 24
HOURS_USUALLY = 72
MAX_ERASED_A_RUN = 10_000


@dataclass(frozen=True, slots=True)
class Made:
    """A hand-out and the address of its page, which is shown this once."""

    hand_out: HandOut
    url: str


def place_of(tenant_id: str, hand_out_id: str, kind: str) -> str:
    """What binds a sealed content to its row."""
    return f"{tenant_id}/{hand_out_id}/{kind}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """How hand-outs are made. With `mail_seal` (the installation's) the link is mailed to the seat's person as well."""

    language: Language
    valid_hours: int
    public_url: str
    mail_seal: Seal | None = None


async def make(session: AsyncSession, seat: Seat, wish: Wish) -> Made:
    """A hand-out of one seat with a new password; the links of earlier ones end, as does the old password.

    Runs under the platform's role, because a tunnel's key must be new among all tenants. Raises `SeatNotOpen`,
    `NoMailAddress`, `InvalidInput` for a validity outside 1 to `HOURS_LIMIT` hours.
    """
    check_hours(wish.valid_hours)
    if wish.mail_seal is not None:
        mails.check_address(seat)
    issued = {seat.seat_id: await seats.reissue_credentials(session, seat)}
    return (await make_with(session, [seat], issued, wish))[0]


def check_hours(valid_hours: int) -> None:
    """Refuse a validity outside 1 to `HOURS_LIMIT` hours; raises `InvalidInput`."""
    if not 1 <= valid_hours <= HOURS_LIMIT:
        raise InvalidInput(f"A link is valid for 1 to {HOURS_LIMIT} hours.", field="valid_hours")


async def make_with(
    session: AsyncSession, handed: Sequence[Seat], issued: Mapping[str, Credentials], wish: Wish
) -> list[Made]:
    """Hand-outs of seats of one tenant with credentials (seat_id → what was just issued), in the order of the seats.

    Where they are to be mailed, those seats get a mail whose person has an address. The names of SIP servers are looked
    up once for all; raises `EdgeNotResolved` where that fails.
    """
    if not handed:
        return []
    reachable = Reachable()
    tenant = await tenants.get(session, handed[0].tenant_id)
    now = clock.now()
    made: list[Made] = []
    rows: list[dict[str, object]] = []
    for seat in handed:
        hand_out = HandOut(
            tenant_id=tenant.tenant_id,
            hand_out_id=new_id("hnd"),
            seat_id=seat.seat_id,
            language=wish.language,
            made_by=audit.actor.get(),
            created_at=now,
            expires_at=now + timedelta(hours=wish.valid_hours),
        )
        session.add(hand_out)
        secrets: dict[Kind, str] = {"page": new_secret(), "softphone": new_secret(), "desk_phone": new_secret()}
        content = await _content(
            session,
            seat,
            issued[seat.seat_id],
            tenant_name=tenant.name,
            wish=wish,
            secrets=secrets,
            reachable=reachable,
        )
        rows += [_link(hand_out, kind, secret, content) for kind, secret in secrets.items()]
        made.append(Made(hand_out, links.page_url(wish.public_url, wish.language, secrets["page"])))
        await mails.put(session, hand_out, seat, seal=wish.mail_seal, secret=secrets["page"])
        facts = {"seat_id": seat.seat_id, "language": wish.language, "mailed": mails.is_mailed(seat, wish.mail_seal)}
        await audit.record(session, tenant.tenant_id, "hand_out.made", hand_out.hand_out_id, **facts)
    await session.flush()
    await session.execute(insert(HandOutLink), rows)
    return made


async def find(session: AsyncSession, hand_out_id: str, tenant_id: str | None) -> HandOut:
    """A hand-out, narrowed to a tenant where the caller belongs to one. Raises `HandOutUnknown`."""
    query = select(HandOut).where(HandOut.hand_out_id == hand_out_id)
    if tenant_id is not None:
        query = query.where(HandOut.tenant_id == tenant_id)
    found = (await session.execute(query)).scalar_one_or_none()
    if found is None:
        raise HandOutUnknown(f"There is no hand-out {hand_out_id}.", field="hand_out_id")
    return found


async def links_of(session: AsyncSession, shown: Sequence[HandOut]) -> dict[str, list[HandOutLink]]:
    """The links of hand-outs by hand-out id."""
    query = (
        select(HandOutLink)
        .where(
            HandOutLink.tenant_id.in_({each.tenant_id for each in shown}),
            HandOutLink.hand_out_id.in_([each.hand_out_id for each in shown]),
        )
        .order_by(HandOutLink.kind)
        .execution_options(populate_existing=True)
    )
    found: dict[str, list[HandOutLink]] = {each.hand_out_id: [] for each in shown}
    for link in (await session.execute(query)).scalars():
        found[link.hand_out_id].append(link)
    return found


async def withdraw(session: AsyncSession, hand_out: HandOut) -> None:
    """Erase what has not been fetched; the seat's password stays. Repeating does no harm."""
    ended = await session.execute(
        update(HandOutLink)
        .where(
            HandOutLink.tenant_id == hand_out.tenant_id,
            HandOutLink.hand_out_id == hand_out.hand_out_id,
            HandOutLink.ended_at.is_(None),
        )
        .values(**ended_values("withdrawn"))
        .returning(HandOutLink.kind)
        .execution_options(synchronize_session=False)
    )
    if ended.scalars().all():
        await audit.record(session, hand_out.tenant_id, "hand_out.withdrawn", hand_out.hand_out_id)


async def erase_expired(session: AsyncSession) -> int:
    """Erase what nobody fetched in time; returns how many links. At most `MAX_ERASED_A_RUN`, the oldest first."""
    expired = (
        select(HandOutLink.tenant_id, HandOutLink.hand_out_id, HandOutLink.kind)
        .where(HandOutLink.sealed_content.is_not(None), HandOutLink.expires_at <= clock.now())
        .order_by(HandOutLink.expires_at)
        .limit(MAX_ERASED_A_RUN)
        .with_for_update(skip_locked=True)
        .subquery()
    )
    erased = await session.execute(
        update(HandOutLink)
        .where(
            HandOutLink.tenant_id == expired.c.tenant_id,
            HandOutLink.hand_out_id == expired.c.hand_out_id,
            HandOutLink.kind == expired.c.kind,
        )
        .values(**ended_values("expired"))
        .returning(HandOutLink.kind)
        .execution_options(synchronize_session=False)
    )
    return len(erased.scalars().all())


async def _content(
    session: AsyncSession,
    seat: Seat,
    credentials: Credentials,
    *,
    tenant_name: str,
    wish: Wish,
    secrets: Mapping[Kind, str],
    reachable: Reachable,
) -> HandOutContent:
    facts = credentials.facts
    return HandOutContent(
        tenant_name=tenant_name,
        username=facts.username,
        domain=facts.domain,
        password=credentials.password,
        servers=[
            Server(role=each.role, host=each.host, port=each.port, transport=each.transport) for each in facts.servers
        ],
        registration_seconds=seats.REGISTRATION_SECONDS,
        language=wish.language,
        seat_name=seat.name,
        person_name=seat.person_name,
        softphone_url=links.softphone_url(wish.public_url, secrets["softphone"]),
        desk_phone_url=links.desk_phone_url(wish.public_url, secrets["desk_phone"]),
        media_encryption=facts.encryption,
        tunnel=await tunnel_part.configuration_of(session, seat, reachable),
    )


def _link(hand_out: HandOut, kind: Kind, secret: str, content: HandOutContent) -> dict[str, object]:
    match kind:
        case "page":
            plain = msgspec.msgpack.encode(content)
        case "softphone":
            plain = contents.linphone_document(content).encode()
        case "desk_phone":
            plain = contents.yealink_file(content).encode()
    return {
        "tenant_id": hand_out.tenant_id,
        "hand_out_id": hand_out.hand_out_id,
        "kind": kind,
        "secret_digest": digest(secret),
        "sealed_content": secrecy.seal(
            plain, secret=secret, place=place_of(hand_out.tenant_id, hand_out.hand_out_id, kind)
        ),
        "expires_at": hand_out.expires_at,
        "ended_at": None,
        "ending": None,
    }
