"""HTTP for nodes, phone numbers and canary checks."""

from __future__ import annotations

from typing import Annotated

from litestar import delete, get, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit.http import DEFAULT_PAGE, After, Limit
from infra.kit.pages import Page, fetch_page
from infra.kit.principal import Principal
from infra.kit.sealing import Seal
from infra.kit.settings import Settings
from switch import nodes, phone_numbers
from switch.draining import drains
from switch.models import CanaryCheck, Node, PhoneNumber
from switch.schemas import (
    CanaryCheckView,
    NewNode,
    NewPhoneNumber,
    NodeChange,
    NodeView,
    PhoneNumberChange,
    PhoneNumberView,
    canary_check_view,
    node_view,
    phone_number_view,
)

Alarm = Annotated[bool | None, QueryParameter(description="true: only alarms; false: only what took effect")]


@post("/v1/nodes", permission="nodes:write", tags=["Nodes"], operation_id="CreateNode")
async def create_node(
    data: JSONBody[NewNode], session: NamedDependency[AsyncSession], seal: NamedDependency[Seal]
) -> NodeView:
    """Add a FreeSWITCH node; `seatline node-config` then writes its configuration directory."""
    return node_view(await nodes.create_node(session, seal, data.details()))


@get("/v1/nodes", permission="nodes:read", tags=["Nodes"], operation_id="ListNodes")
async def list_nodes(
    session: NamedDependency[AsyncSession], limit: Limit = DEFAULT_PAGE, after: After = None
) -> Page[NodeView]:
    """The nodes, newest first."""
    rows, following = await fetch_page(session, select(Node), keys=(Node.node_id,), limit=limit, after=after)
    found = await drains.of_nodes(session, [row.node_id for row in rows])
    return Page(items=[node_view(row, found.get(row.node_id)) for row in rows], next=following)


@get("/v1/nodes/{node_id:str}", permission="nodes:read", tags=["Nodes"], operation_id="GetNode")
async def get_node(node_id: FromPath[str], session: NamedDependency[AsyncSession]) -> NodeView:
    """One node: its state, last heartbeat, version, and how far its latest drain is."""
    return node_view(await nodes.get(session, node_id), await drains.find(session, node_id))


@put("/v1/nodes/{node_id:str}", permission="nodes:write", tags=["Nodes"], operation_id="ChangeNode")
async def change_node(
    node_id: FromPath[str], data: JSONBody[NodeChange], session: NamedDependency[AsyncSession]
) -> NodeView:
    """Another room at any time, other addresses, ports and limits while the node (its id or name) serves nobody."""
    node = await nodes.find_locked(session, node_id)
    drain = await drains.find(session, node.node_id)
    details = data.applied_to(nodes.details_of(node))
    changed = await nodes.change_node(session, node.node_id, details, is_empty=drains.is_still_empty(drain))
    return node_view(changed, drain)


@post("/v1/phone-numbers", permission="numbers:write", tags=["Phone numbers"], operation_id="AssignPhoneNumber")
async def assign_phone_number(
    data: JSONBody[NewPhoneNumber], session: NamedDependency[AsyncSession], principal: NamedDependency[Principal]
) -> PhoneNumberView:
    """Give a public number to a tenant: one of the pool, or another, which the pool takes in."""
    number = await phone_numbers.assign(
        session,
        principal.tenant_for(data.tenant_id),
        data.number,
        extension=data.extension,
        is_caller_number=data.is_caller_number,
    )
    return phone_number_view(number)


@get("/v1/phone-numbers", permission="numbers:read", tags=["Phone numbers"], operation_id="ListPhoneNumbers")
async def list_phone_numbers(
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
    tenant_id: FromQuery[str | None] = None,
    limit: Limit = DEFAULT_PAGE,
    after: After = None,
) -> Page[PhoneNumberView]:
    """Public numbers, in falling order."""
    query = select(PhoneNumber)
    query = principal.narrowed(query, PhoneNumber.tenant_id, tenant_id)
    rows, following = await fetch_page(session, query, keys=(PhoneNumber.number,), limit=limit, after=after)
    return Page(items=[phone_number_view(row) for row in rows], next=following)


@put(
    "/v1/phone-numbers/{number:str}",
    permission="numbers:write",
    tags=["Phone numbers"],
    operation_id="ChangePhoneNumber",
)
async def change_phone_number(
    number: FromPath[str], data: JSONBody[PhoneNumberChange], session: NamedDependency[AsyncSession]
) -> PhoneNumberView:
    """Let a tenant's number ring at another extension, or begin or cease to be shown; it stays the tenant's."""
    row = await phone_numbers.find_locked(session, number)
    return phone_number_view(await phone_numbers.change(session, row, data.applied_to(phone_numbers.use_of(row))))


@delete(
    "/v1/phone-numbers/{number:str}",
    permission="numbers:write",
    tags=["Phone numbers"],
    operation_id="ReleasePhoneNumber",
)
async def release_phone_number(
    number: FromPath[str], session: NamedDependency[AsyncSession], settings: NamedDependency[Settings]
) -> None:
    """Take a number from its tenant; calls to it ring nowhere from now on, and for a while nobody else is given it."""
    await phone_numbers.release(session, number, quarantine_days=settings.number_quarantine_days)


@get("/v1/canary-checks", permission="canary_checks:read", tags=["Canary"], operation_id="ListCanaryChecks")
async def list_canary_checks(
    *,
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
    tenant_id: FromQuery[str | None] = None,
    alarm: Alarm = None,
    limit: Limit = DEFAULT_PAGE,
    after: After = None,
) -> Page[CanaryCheckView]:
    """Proofs that suspensions and restorations took effect on each node, newest first."""
    query = select(CanaryCheck)
    query = principal.narrowed(query, CanaryCheck.tenant_id, tenant_id)
    if alarm is not None:
        query = query.where(CanaryCheck.is_alarm.is_(alarm))
    rows, following = await fetch_page(session, query, keys=(CanaryCheck.check_id,), limit=limit, after=after)
    return Page(items=[canary_check_view(row) for row in rows], next=following)


ROUTES = [
    create_node,
    list_nodes,
    get_node,
    change_node,
    assign_phone_number,
    list_phone_numbers,
    change_phone_number,
    release_phone_number,
    list_canary_checks,
]
