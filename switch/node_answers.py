"""What a node's row says of the answers that it gets from the API, and which nodes get them."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from switch.cut_off import Answers, Known, may_take_over, was_answered_after
from switch.models import Node
from switch.node_states import NodeEvent, NodeState, may


async def note(session: AsyncSession, node: Node, answers: Answers, now: datetime) -> NodeEvent | None:
    """Write into a node's row, which the caller holds, what its supervisor knows; the event that follows, if any.

    A moment of the row that lies ahead, because the clock was set back, becomes the present one.
    """
    if answers.answered_seconds_ago is not None:
        node.answered_at = now - timedelta(seconds=answers.answered_seconds_ago)
    if answers.is_answered:
        node.answered_since = min(node.answered_since or node.answered_at or now, now)
        node.unanswered_since = None
        return NodeEvent.ANSWERED
    if answers.unanswered_seconds is not None:
        since = min(node.unanswered_since or now - timedelta(seconds=answers.unanswered_seconds), now)
        node.answered_since, node.unanswered_since = None, since
        if answers.is_long_without and may(node.state, NodeEvent.CUT_OFF):
            patience = timedelta(seconds=answers.patience_seconds)
            if await _another_may_take_over(session, node, since, now, patience):
                return NodeEvent.CUT_OFF
    return None


async def answered_after(session: AsyncSession, moment: datetime) -> list[Node]:
    """The nodes in service that asked after this moment, were answered, and have not been without answers since."""
    return [node for node in await _in_service(session) if was_answered_after(_known(node), moment)]


async def without_answers(session: AsyncSession) -> list[str]:
    """The names of the nodes that get no answers now."""
    return list((await session.execute(select(Node.name).where(Node.unanswered_since.is_not(None)))).scalars())


async def _another_may_take_over(
    session: AsyncSession, node: Node, unanswered_since: datetime, now: datetime, patience: timedelta
) -> bool:
    return any(
        may_take_over(_known(other), unanswered_since=unanswered_since, now=now, patience=patience)
        for other in await _in_service(session)
        if other.node_id != node.node_id
    )


async def _in_service(session: AsyncSession) -> list[Node]:
    return list((await session.execute(select(Node).where(Node.state == NodeState.ACTIVE.value))).scalars())


def _known(node: Node) -> Known:
    return Known(
        answered_since=node.answered_since,
        answered_at=node.answered_at,
        unanswered_since=node.unanswered_since,
        supervised_until=node.supervised_until,
    )
