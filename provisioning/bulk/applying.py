"""A table of seats carried out whole or not at all, with what becomes of every line.

A dry run does the very same inside a savepoint that is rolled back, so that it tells what will be and not what might.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Literal, cast

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from billing.models import Contract
from billing.rules.book import Item
from infra.kit import audit, reasons
from infra.kit.problems import Refusal
from provisioning import orders, price_preview, seat_names, seat_people, seat_suspension, seats
from provisioning.bulk import cancelling
from provisioning.bulk.reading import Unread
from provisioning.errors import SeatUnknown
from provisioning.handout import making
from provisioning.handout.making import Wish
from provisioning.models import Seat
from provisioning.orders import OrderRequest
from provisioning.price_preview import PricePreview
from provisioning.rules import seat_naming, seat_states, seat_table
from provisioning.rules.seat_naming import Holder, Naming
from provisioning.rules.seat_table import LineRefused, SeatLine
from provisioning.seat_people import Person
from provisioning.tunnels import accounts as tunnel_accounts
from tenancy import tenants

CREDENTIALS_LIMIT = 5_000
"""A hand-out with a tunnel takes some seven milliseconds, and an answer must come within 90 seconds."""

ORDERS_LIMIT = 50
"""Orders look at everything that their contract holds, and hold the tenant's lock all the while."""

State = Literal["done", "unchanged", "refused"]


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What becomes of a line. `changes` names the columns that are written anew; `refusal` tells why it cannot be."""

    line: int
    action: str | None = None
    seat_id: str | None = None
    extension: str | None = None
    state: State = "done"
    changes: list[str] = field(default_factory=list[str])
    renews_credentials: bool = False
    hand_out_url: str | None = None
    refusal: Refusal | None = None

    def refuse(self, refusal: Refusal) -> None:
        """This line cannot be carried out."""
        self.state, self.refusal = "refused", refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The outcomes in the order of the table, and the orders that it places with what they cost or give back."""

    outcomes: Sequence[Outcome]
    orders: Sequence[PricePreview]

    @property
    def refused(self) -> list[Outcome]:
        """The lines that cannot be carried out."""
        return [outcome for outcome in self.outcomes if outcome.state == "refused"]


async def dry_run(
    session: AsyncSession, *, tenant_id: str, lines: Sequence[SeatLine | Unread], notice_waived_by: str | None = None
) -> Report:
    """What `carry_out` would do; nothing is written. Runs under the platform's role."""
    savepoint = await session.begin_nested()
    try:
        return await carry_out(
            session, tenant_id=tenant_id, lines=lines, hand_outs=None, notice_waived_by=notice_waived_by
        )
    finally:
        await savepoint.rollback()


async def carry_out(
    session: AsyncSession,
    *,
    tenant_id: str,
    lines: Sequence[SeatLine | Unread],
    hand_outs: Wish | None,
    notice_waived_by: str | None = None,
) -> Report:
    """Do what a table says for a tenant's seats; the caller rolls everything back when a line is refused.

    Runs under the platform's role, because it may place orders. New credentials are made only with `hand_outs`, and
    told nowhere but behind the links. `notice_waived_by` is who of the operator lets its orders stand without notice.
    Locks the tenant first. Raises `TenantNotFound`.
    """
    await tenants.get(session, tenant_id, for_update=True)
    work = _Work(session, tenant_id, lines, notice_waived_by)
    await work.find_seats()
    await work.cancel()
    await work.check_names()
    async with seat_names.kept_apart(session):
        await work.write_texts()
    work.limit_credentials()
    await work.suspend_and_resume()
    placed = [*await work.place("return"), *await work.place("add")]
    if hand_outs is not None and not work.report(placed).refused:
        await work.hand_out(hand_outs)
    return work.report(placed)


class _Work:
    """The lines of one table with their seats, step by step; a line that is refused takes no further step."""

    def __init__(
        self, session: AsyncSession, tenant_id: str, lines: Sequence[SeatLine | Unread], notice_waived_by: str | None
    ) -> None:
        self._session = session
        self._notice_waived_by = notice_waived_by
        self._tenant_id = tenant_id
        self._lines = [line for line in lines if isinstance(line, SeatLine)]
        self._outcomes = {line.line: Outcome(line=line.line) for line in lines}
        self._seats: dict[int, Seat] = {}
        self._to_others: list[str] = []
        self._orders = 0
        for line in lines:
            if isinstance(line, Unread):
                self._outcomes[line.line].refuse(line.refusal)
            else:
                outcome = self._outcomes[line.line]
                outcome.action, outcome.seat_id, outcome.extension = line.action, line.seat_id, line.extension

    def report(self, placed: Sequence[PricePreview]) -> Report:
        """Everything so far."""
        return Report(outcomes=list(self._outcomes.values()), orders=placed)

    async def find_seats(self) -> None:
        """Lock the seats that the lines name; a seat that two lines name is refused in the second."""
        wanted = [line for line in self._lines if line.action != "add"]
        ids = [line.seat_id for line in wanted if line.seat_id is not None]
        extensions = [line.extension for line in wanted if line.extension is not None]
        query = (
            select(Seat)
            .where(Seat.tenant_id == self._tenant_id, or_(Seat.seat_id.in_(ids), Seat.extension.in_(extensions)))
            .order_by(Seat.seat_id)
            .with_for_update()
            .execution_options(populate_existing=True)
        )
        found = list((await self._session.execute(query)).scalars())
        by_id = {seat.seat_id: seat for seat in found}
        by_extension = {seat.extension: seat for seat in found}
        named_in: dict[str, int] = {}
        for line in wanted:
            seat = by_id.get(line.seat_id) if line.seat_id is not None else by_extension.get(line.extension)
            self._attach(line, seat, named_in)

    def _attach(self, line: SeatLine, seat: Seat | None, named_in: dict[str, int]) -> None:
        outcome = self._outcomes[line.line]
        column = "seat_id" if line.seat_id is not None else "extension"
        if seat is None:
            outcome.refuse(SeatUnknown(f"The tenant has no such seat: {getattr(line, column)[:40]!r}.", field=column))
        elif line.extension is not None and seat.extension != line.extension:
            outcome.refuse(LineRefused(f"{seat.seat_id} has the extension {seat.extension}.", field="extension"))
        elif seat.seat_id in named_in:
            outcome.refuse(LineRefused(f"Line {named_in[seat.seat_id]} names the same seat.", field=column))
        else:
            named_in[seat.seat_id] = line.line
            self._seats[line.line] = seat
            outcome.seat_id, outcome.extension = seat.seat_id, seat.extension

    async def check_names(self) -> None:
        """Refuse a new name that another seat has, or gets in this table; seats that were cancelled have none."""
        lines = [line for line in self._going_on() if line.action != "cancel"]
        namings = [self._naming(line) for line in lines]
        outside = await self._names_outside([each.after for each in namings if each.after is not None])
        for index, holder in seat_naming.taken(namings, outside).items():
            detail = f"The name {str(namings[index].after)[:40]!r} is also that of {holder}; give each seat its own."
            self._outcomes[lines[index].line].refuse(LineRefused(detail, field="name"))

    def _naming(self, line: SeatLine) -> Naming:
        seat = self._seats.get(line.line)
        before = None if seat is None else seat.name
        until = line.effective_on if line.action == "return" else None if seat is None else seat.closes_on
        return Naming(holder=Holder(f"line {line.line}", until), before=before, after=line.texts.get("name", before))

    async def _names_outside(self, names: Sequence[str]) -> dict[str, Holder]:
        """Which of these names seats have that no line goes on about, with the seat."""
        spoken_of = [self._seats[line.line].seat_id for line in self._going_on() if line.line in self._seats]
        query = select(Seat.name, Seat.extension, Seat.seat_id, Seat.closes_on).where(
            Seat.tenant_id == self._tenant_id,
            Seat.name.in_(names),
            Seat.state.in_(seat_states.HELD),
            Seat.seat_id.not_in(spoken_of),
        )
        rows = await self._session.execute(query)
        return {
            str(name): Holder(f"the seat {extension or seat_id}", until) for name, extension, seat_id, until in rows
        }

    async def write_texts(self) -> None:
        """Names, groups and people of the seats that are there; those of new ones are looked at."""
        renamed = [self._seats[line.line] for line in self._going_on() if self._renames(line)]
        await seat_names.take_away(self._session, renamed)
        for line in self._going_on():
            try:
                if line.action == "add":
                    _check_texts(line, _person(line, None))
                else:
                    await self._write(line, self._seats[line.line], self._outcomes[line.line])
            except Refusal as refusal:
                self._outcomes[line.line].refuse(refusal)

    def _renames(self, line: SeatLine) -> bool:
        seat = self._seats.get(line.line)
        return seat is not None and "name" in line.texts and seat.name is not None and line.texts["name"] != seat.name

    async def _write(self, line: SeatLine, seat: Seat, outcome: Outcome) -> None:
        before = {column: getattr(seat, column if column != "group" else "group_name") for column in line.texts}
        person = _person(line, seat)
        _check_texts(line, person)
        outcome.changes = [column for column, text in line.texts.items() if text != before[column]]
        is_another = seat_people.is_another(seat_people.person_of(seat), person)
        if line.action == "reissue":
            seats.check_has_account(seat)
        outcome.renews_credentials = line.action == "reissue" or (is_another and seats.has_account(seat))
        if is_another:
            self._to_others.append(seat.seat_id)
        if not outcome.changes:
            outcome.state = "unchanged" if line.action == "update" else "done"
            return
        if "name" in line.texts:
            seat.name = line.texts["name"]
        if "group" in line.texts:
            seat.group_name = line.texts["group"]
        seat.person_name = None if person is None else person.name
        seat.person_mail = None if person is None else person.mail
        seat.person_number = None if person is None else person.number
        # Which columns, not what stands there: the trail outlives the people's data (C26).
        await audit.record(
            self._session, self._tenant_id, "seat.written", seat.seat_id, columns=outcome.changes, line=line.line
        )

    def limit_credentials(self) -> None:
        """Refuse new credentials beyond what one request has the time to make."""
        renewing = [line for line in self._going_on() if self._outcomes[line.line].renews_credentials]
        detail = f"A table renews the credentials of at most {CREDENTIALS_LIMIT} seats; send the others in another one."
        self._refuse(renewing[CREDENTIALS_LIMIT:], LineRefused(detail, field="action"))

    async def suspend_and_resume(self) -> None:
        """Those that may; the reasons are the lines' own."""
        suspended: list[tuple[Seat, str]] = []
        resumed: list[Seat] = []
        for line in self._going_on("suspend", "resume"):
            seat = self._seats[line.line]
            try:
                seat_suspension.check_move(seat, "resume" if line.action == "resume" else "suspend")
                if line.action == "suspend":
                    suspended.append((seat, reasons.given(line.reason or "")))
                else:
                    resumed.append(seat)
            except Refusal as refusal:
                self._outcomes[line.line].refuse(refusal)
        await seat_suspension.suspend_each(
            self._session, [seat for seat, _ in suspended], [reason for _, reason in suspended]
        )
        await seat_suspension.resume(self._session, resumed)

    async def cancel(self) -> None:
        """The orders whose seats the lines name, before others take their room and their names."""
        named = [(line, self._seats[line.line]) for line in self._going_on("cancel")]
        for lines, refusal in await cancelling.cancel_orders(self._session, self._tenant_id, named):
            self._refuse(lines, refusal)

    async def place(self, action: Literal["add", "return"]) -> list[PricePreview]:
        """The orders of the lines: one for each contract and day. Each in a savepoint of its own, so that one that is
        refused does not hide what the others would be."""
        groups: defaultdict[tuple[str | None, str, date], list[SeatLine]] = defaultdict(list)
        sole = await self._sole_contract() if action == "add" else None
        for line in self._going_on(action):
            seat = self._seats.get(line.line)
            contract_id = (line.contract_id or sole) if seat is None else seat.contract_id
            if line.effective_on is not None:
                groups[contract_id, "seat" if seat is None else seat.item, line.effective_on].append(line)
        placed: list[PricePreview] = []
        for (contract_id, item, effective_on), lines in groups.items():
            if contract_id is None:
                detail = "The tenant has not exactly one contract in force; name the one that is meant."
                self._refuse(lines, LineRefused(detail, field="contract_id"))
                continue
            self._orders += 1
            if self._orders > ORDERS_LIMIT:
                detail = f"A table places at most {ORDERS_LIMIT} orders, one for each contract and day; send another."
                self._refuse(lines, LineRefused(detail, field="effective_on"))
                continue
            request = OrderRequest(
                contract_id=contract_id,
                kind=action,
                item=cast("Item", item),
                effective_on=effective_on,
                notice_waived_by=self._notice_waived_by,
            )
            try:
                async with self._session.begin_nested():
                    placed.append(await self._place(request, lines))
            except Refusal as refusal:
                self._refuse(lines, refusal)
        return placed

    async def _place(self, request: OrderRequest, lines: Sequence[SeatLine]) -> PricePreview:
        before = await price_preview.open_order_invoices(self._session, self._tenant_id)
        if request.kind == "add":
            request = replace(request, quantity=len(lines))
        else:
            request = replace(request, seat_ids=[self._seats[line.line].seat_id for line in lines])
        order = await orders.place_order(self._session, tenant_id=self._tenant_id, request=request)
        if request.kind == "add":
            async with seat_names.kept_apart(self._session):
                await self._name_new(order.seat_ids, lines)
        return await price_preview.describe(self._session, order, unpaid_before=before)

    async def _name_new(self, seat_ids: Sequence[str], lines: Sequence[SeatLine]) -> None:
        query = select(Seat).where(Seat.tenant_id == self._tenant_id, Seat.seat_id.in_(seat_ids))
        new = sorted((await self._session.execute(query)).scalars(), key=lambda seat: seat.number)
        for seat, line in zip(new, lines, strict=True):
            outcome = self._outcomes[line.line]
            outcome.seat_id, outcome.extension = seat.seat_id, seat.extension
            await self._write(line, seat, outcome)

    async def _sole_contract(self) -> str | None:
        """The contract that is meant where the tenant has only one."""
        query = select(Contract.contract_id).where(
            Contract.tenant_id == self._tenant_id, Contract.state.in_(("signed", "open"))
        )
        having = list((await self._session.execute(query.limit(2))).scalars())
        return having[0] if len(having) == 1 else None

    async def hand_out(self, wish: Wish) -> None:
        """New credentials for those that need them, and links to them."""
        lines = [line for line in self._going_on() if self._outcomes[line.line].renews_credentials]
        handed = [self._seats[line.line] for line in lines]
        await tunnel_accounts.drop_keys(self._session, self._tenant_id, self._to_others)
        issued = await seats.reissue_many(self._session, handed)
        made = await making.make_with(self._session, handed, issued, wish)
        for line, each in zip(lines, made, strict=True):
            self._outcomes[line.line].hand_out_url = each.url

    def _going_on(self, *actions: str) -> list[SeatLine]:
        """The lines that nothing has refused so far, of some actions or of all."""
        return [
            line
            for line in self._lines
            if self._outcomes[line.line].state != "refused" and (not actions or line.action in actions)
        ]

    def _refuse(self, lines: Iterable[SeatLine], refusal: Refusal) -> None:
        for line in lines:
            self._outcomes[line.line].refuse(refusal)


def _person(line: SeatLine, seat: Seat | None) -> Person | None:
    """Who sits there after a line: what stands there, and what the line says anew."""
    there = None if seat is None else seat_people.person_of(seat)
    name = line.texts.get("person_name", None if there is None else there.name)
    mail = line.texts.get("person_mail", None if there is None or name is None else there.mail)
    number = line.texts.get("person_number", None if there is None or name is None else there.number)
    if name is None:
        if mail is not None or number is not None:
            raise LineRefused("Nobody sits there: give the name too.", field="person_name")
        return None
    return Person(name=name, mail=mail, number=number)


def _check_texts(line: SeatLine, person: Person | None) -> None:
    """Refuse what cannot be written on a seat; raises `InvalidInput` naming the column."""
    seat_table.checked_text(line.texts.get("name"), limit_characters=seats.NAME_LIMIT_CHARACTERS, field="name")
    seat_people.checked_group(line.texts.get("group"))
    if person is not None:
        seat_people.checked_person(person)
