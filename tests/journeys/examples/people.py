"""Requests around people: roles, invitations, visits."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable

from infra.kit.database import Scope
from tenancy.people import persons
from tests.journeys.house import Example, House
from tests.world import Customer, World

_numbers = itertools.count(1)


async def new_person(world: World, customer: Customer) -> str:
    """Somebody who works for a customer."""
    async with world.api.database.transaction(Scope.platform()) as session:
        person = await persons.create(
            session,
            tenant_id=customer.tenant_id,
            address=f"somebody-{next(_numbers)}@anxin.example",
            name="王芳",
            role="tenant_viewer",
            language="zh",
            password_hash=None,
        )
        return person.person_id


def identity_provider_body() -> dict[str, str]:
    """What a tenant's identity provider is set by."""
    return {"issuer": "https://login.anxin.example", "client_id": "seatline", "client_secret": "hush"}


async def _change_role(house: House) -> Example:
    path = f"/v1/people/{await new_person(house.world, house.theirs)}/role"
    return Example(house.theirs.admin, path, {"role": "tenant_admin"})


async def _remove_person(house: House) -> Example:
    path = f"/v1/people/{await new_person(house.world, house.theirs)}/removal"
    return Example(house.theirs.admin, path, {"keep_api_clients": True})


async def _sign_person_out(house: House) -> Example:
    return Example(house.theirs.admin, f"/v1/people/{await new_person(house.world, house.theirs)}/sign-out")


async def _invite_person(house: House) -> Example:
    body = {
        "address": f"invited-{next(_numbers)}@anxin.example",
        "name": "李伟",
        "role": "tenant_viewer",
        "tenant_id": house.theirs.tenant_id,
    }
    return Example(house.theirs.admin, "/v1/invitations", body)


async def _withdraw_invitation(house: House) -> Example:
    made = (await (await _invite_person(house)).send()).json()
    return Example(house.theirs.admin, f"/v1/invitations/{made['invitation_id']}/withdrawal")


async def _begin_visit(house: House) -> Example:
    path = f"/v1/tenants/{house.theirs.tenant_id}/visits"
    return Example(house.world.operator, path, {"reason": "they asked us to look"})


async def _end_visit(house: House) -> Example:
    made = (await (await _begin_visit(house)).send()).json()
    return Example(house.theirs.admin, f"/v1/visits/{made['visit_id']}/end")


EXAMPLES: dict[str, Callable[[House], Awaitable[Example]]] = {
    "ChangeRole": _change_role,
    "RemovePerson": _remove_person,
    "SignPersonOut": _sign_person_out,
    "InvitePerson": _invite_person,
    "WithdrawInvitation": _withdraw_invitation,
    "BeginVisit": _begin_visit,
    "EndVisit": _end_visit,
}
