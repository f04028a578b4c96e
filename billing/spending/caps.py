"""Spend caps as they are kept: set, compared with what the day has cost, carried out at the switch.

The switch knows no money: it is only told for which day a tenant's calls out are barred, which ends by itself with
the day.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from billing.rules.errors import BillingRefused
from billing.rules.reading import Reader
from billing.rules.spending import SpendState, spend_state
from billing.spending import notices, seen
from billing.spending.ended import calls_on, charged_on
from billing.spending.models import SpendAlert, SpendCap
from billing.spending.seen import RunningCosts
from infra.kit import audit, clock, logs, money
from infra.kit.ids import new_id
from switch import call_policies
from switch.errors import PolicyWidened

WATCH_SPENDING = "billing.watch_spending"
LEAST_CAP = Decimal("0.00")
_KINDS = {SpendState.WARNED: ("warning",), SpendState.REACHED: ("warning", "cap_reached")}

log = logs.get(__name__)


class SpendCapRefused(BillingRefused):
    """A spend cap is not an amount of money; `field` names it."""

    code = "spend_cap_refused"
    title = "The spend cap is not acceptable"


_READER = Reader(SpendCapRefused)


@dataclass(frozen=True, slots=True)
class Spending:
    """A tenant's calls of a local day against its cap (CNY); `charged` counts the calls answered on that day."""

    day: date
    daily_cap: Decimal | None
    charged: Decimal
    alerts: Sequence[SpendAlert]

    def has(self, kind: str) -> bool:
        """Whether there was an alert of this kind on the day."""
        return any(alert.kind == kind for alert in self.alerts)


async def hold(session: AsyncSession, tenant_id: str) -> SpendCap:
    """The tenant's cap, locked until the transaction ends; taken before its call policy, always in this order."""
    await session.execute(
        insert(SpendCap).values(tenant_id=tenant_id, daily_cap=None, changed_at=clock.now()).on_conflict_do_nothing()
    )
    query = select(SpendCap).where(SpendCap.tenant_id == tenant_id).with_for_update()
    return (await session.execute(query.execution_options(populate_existing=True))).scalar_one()


async def change(session: AsyncSession, cap: SpendCap, daily_cap: str | None, *, may_widen: bool) -> None:
    """Set or (None) take away a cap that is held. Raises `SpendCapRefused`, and `PolicyWidened` where it would allow
    more without `may_widen`."""
    wanted = None if daily_cap is None else _READER.decimal(daily_cap, "daily_cap", places=money.FEN, minimum=LEAST_CAP)
    before = cap.daily_cap
    if not may_widen and before is not None and (wanted is None or wanted > before):
        raise PolicyWidened(
            f"The cap is {money.amount_text(before)} CNY; a tenant may lower it, the operator alone may raise it.",
            field="daily_cap",
        )
    if wanted == before:
        return
    cap.daily_cap, cap.changed_at = wanted, clock.now()
    await session.flush()
    text = None if wanted is None else money.amount_text(wanted)
    await audit.record(session, cap.tenant_id, "spend_cap.changed", cap.tenant_id, daily_cap=text)


async def tenants_with_cap(session: AsyncSession) -> list[str]:
    """The tenants whose calls are watched."""
    query = select(SpendCap.tenant_id).where(SpendCap.daily_cap.is_not(None)).order_by(SpendCap.tenant_id)
    return list((await session.execute(query)).scalars())


async def of_today(session: AsyncSession, tenant_id: str) -> Spending:
    """How a tenant stands to its cap today."""
    today = clock.today()
    query = select(SpendCap.daily_cap).where(SpendCap.tenant_id == tenant_id)
    daily_cap = (await session.execute(query)).scalar_one_or_none()
    alerts = select(SpendAlert).where(SpendAlert.tenant_id == tenant_id, SpendAlert.day == today)
    return Spending(
        today,
        daily_cap,
        await charged_on(session, tenant_id, today),
        (await session.execute(alerts.order_by(SpendAlert.alert_id))).scalars().all(),
    )


async def consider(
    session: AsyncSession,
    tenant_id: str,
    day: date,
    running_by_node: RunningCosts,
    *,
    silent: Collection[str] = (),
) -> SpendState:
    """Compare a tenant's local day with its cap and act: warn, bar the calls out, or lift that again.

    `running_by_node`: what the calls of the day that are running would cost if they ended now. Calls that run go on;
    new ones out are refused from the commit on. `silent`: the nodes that may hold calls and gave no answer. A call that
    was seen counts on until its record has come, so that neither its end nor a node's silence lifts a bar, but a higher
    cap does, and the next day (`seen.UNRECORDED_FOR` bounds the wait for a record).
    """
    cap = await hold(session, tenant_id)
    before = seen.read_stored(cap.seen_running) if cap.seen_on == day else {}
    asked = {*before, *(leg_id for legs in running_by_node.values() for leg_id in legs)}
    ended = await calls_on(session, tenant_id, day, asked)
    kept = seen.kept(before, running_by_node, silent=silent, recorded=ended.recorded, now=clock.now())
    cap.seen_on, cap.seen_running = day, seen.as_stored(kept)
    await session.flush()
    running = sum((leg.cost for leg in kept.values()), ended.waiting)
    state = spend_state(cap.daily_cap, ended.charged, running)
    if cap.daily_cap is not None:
        for kind in _KINDS.get(state, ()):
            found = {"daily_cap": cap.daily_cap, "charged": ended.charged, "running": running}
            await _tell_once(session, {"tenant_id": tenant_id, "day": day, "kind": kind} | found)
    reached_on = day if state is SpendState.REACHED else None
    if await call_policies.note_cap(session, tenant_id, reached_on):
        log.info("spending.bar_changed", tenant_id=tenant_id, state=state.value)
    return state


async def _tell_once(session: AsyncSession, alert: dict[str, Any]) -> None:
    """Keep an alert, and say so by mail and in the audit trail, unless there was one of its kind on its day for this
    cap or a higher one: whom a raised cap let call again is told anew."""
    statement = insert(SpendAlert).values(alert_id=new_id("alert"), raised_at=clock.now(), **alert)
    renewed = ("alert_id", "daily_cap", "charged", "running", "raised_at")
    told = await session.execute(
        statement.on_conflict_do_update(
            index_elements=["tenant_id", "day", "kind"],
            set_={name: statement.excluded[name] for name in renewed},
            where=SpendAlert.daily_cap < statement.excluded.daily_cap,
        ).returning(SpendAlert.alert_id)
    )
    alert_id = told.scalar_one_or_none()
    if alert_id is None:
        return
    tenant_id, kind, day = alert["tenant_id"], alert["kind"], alert["day"]
    spent = money.amount_text(alert["charged"] + alert["running"])
    cap = money.amount_text(alert["daily_cap"])
    await notices.put(session, tenant_id, kind, day, alert_id=alert_id, spent=spent, daily_cap=cap)
    await audit.record(
        session, tenant_id, f"spending.{kind}", tenant_id, day=day.isoformat(), daily_cap=cap, spent=spent
    )
