"""Spend caps as they are kept: set, compared with what the day has cost, carried out at the switch.

The switch knows no money: it is only told for which day a tenant's calls out are barred, which ends by itself with
the day.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, TypeAlias

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from billing.models import Charge
from billing.rules.errors import BillingRefused
from billing.rules.reading import Reader
from billing.rules.spending import SpendState, spend_state
from billing.spending import notices
from billing.spending.models import SpendAlert, SpendCap
from infra.kit import audit, clock, logs, money
from infra.kit.ids import new_id
from switch import call_policies
from switch.errors import PolicyWidened
from switch.models import CallRecord

WATCH_SPENDING = "billing.watch_spending"
LONGEST_RINGING = timedelta(hours=1)
"""A call answered on a day began no longer than this before it; so the index of the beginnings finds it."""

RunningCosts: TypeAlias = Mapping[str, Mapping[str, Decimal]]
"""What calls that run would cost if they ended now (CNY): by leg, by node."""

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


async def charged_on(session: AsyncSession, tenant_id: str, day: date) -> Decimal:
    """What the tenant's calls answered on a local day were charged so far (CNY, four decimals)."""
    begins, ends = clock.local_midnight(day), clock.local_midnight(day + timedelta(days=1))
    query = (
        select(func.coalesce(func.sum(func.coalesce(Charge.revised_amount, Charge.amount)), Decimal(0)))
        .select_from(CallRecord)
        .join(
            Charge,
            (Charge.tenant_id == CallRecord.tenant_id)
            & (Charge.month == CallRecord.month)
            & (Charge.leg_id == CallRecord.leg_id),
        )
        .where(
            CallRecord.tenant_id == tenant_id,
            CallRecord.month == day.replace(day=1),
            CallRecord.started_at >= begins - LONGEST_RINGING,
            CallRecord.answered_at >= begins,
            CallRecord.answered_at < ends,
        )
    )
    return (await session.execute(query)).scalar_one()


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
    session: AsyncSession, tenant_id: str, running_by_node: RunningCosts, *, silent: Collection[str] = ()
) -> SpendState:
    """Compare a tenant's day with its cap and act: warn once, bar the calls out, or lift that again.

    `running_by_node`: what the calls that are running would cost if they ended now. Calls that run go on; new ones out
    are refused from the commit on. `silent`: the nodes that may hold calls and gave no answer; what was seen there last
    counts on until it is charged, beside all else, so that no silence lifts a bar, but a higher cap does.
    """
    cap = await hold(session, tenant_id)
    today = clock.today()
    charged = await charged_on(session, tenant_id, today)
    seen = {node: dict(legs) for node, legs in running_by_node.items()}
    if cap.seen_on == today:
        seen |= await _left_on_silent(session, cap, silent)
    cap.seen_on = today
    cap.seen_running = {node: {leg_id: str(cost) for leg_id, cost in legs.items()} for node, legs in seen.items()}
    await session.flush()
    running = sum((cost for legs in seen.values() for cost in legs.values()), Decimal(0))
    state = spend_state(cap.daily_cap, charged, running)
    if cap.daily_cap is not None:
        for kind in _KINDS.get(state, ()):
            found = {"daily_cap": cap.daily_cap, "charged": charged, "running": running}
            await _tell_once(session, {"tenant_id": tenant_id, "day": today, "kind": kind} | found)
    reached_on = today if state is SpendState.REACHED else None
    if await call_policies.note_cap(session, tenant_id, reached_on):
        log.info("spending.bar_changed", tenant_id=tenant_id, state=state.value)
    return state


async def _left_on_silent(
    session: AsyncSession, cap: SpendCap, silent: Collection[str]
) -> dict[str, dict[str, Decimal]]:
    """What was seen last on the silent nodes, on the day that was looked at last, without the legs charged since."""
    seen: dict[str, dict[str, str]] = {
        node: legs for node, legs in (cap.seen_running or {}).items() if node in silent and legs
    }
    if not seen or cap.seen_on is None:
        return {}
    query = select(Charge.leg_id).where(
        Charge.tenant_id == cap.tenant_id,
        Charge.month == cap.seen_on.replace(day=1),
        Charge.leg_id.in_([leg_id for legs in seen.values() for leg_id in legs]),
    )
    charged = set((await session.execute(query)).scalars())
    return {
        node: {leg_id: Decimal(cost) for leg_id, cost in legs.items() if leg_id not in charged}
        for node, legs in seen.items()
    }


async def _tell_once(session: AsyncSession, alert: dict[str, Any]) -> None:
    """Keep an alert, and say so by mail and in the audit trail, unless there was one of its kind on its day."""
    statement = insert(SpendAlert).values(alert_id=new_id("alert"), raised_at=clock.now(), **alert)
    told = await session.execute(statement.on_conflict_do_nothing().returning(SpendAlert.kind))
    if told.scalar_one_or_none() is None:
        return
    tenant_id, kind = alert["tenant_id"], alert["kind"]
    spent = money.amount_text(alert["charged"] + alert["running"])
    cap = money.amount_text(alert["daily_cap"])
    day = alert["day"].isoformat()
    await notices.put(session, tenant_id, kind, alert["day"], spent=spent, daily_cap=cap)
    await audit.record(session, tenant_id, f"spending.{kind}", tenant_id, day=day, daily_cap=cap, spent=spent)
