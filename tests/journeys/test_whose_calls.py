"""An operator's person reads whom a tenant calls on a visit only: every view there is, walked through."""

from __future__ import annotations

from datetime import timedelta

import httpx
import pytest
from sqlalchemy import text

from infra.kit import clock
from infra.kit.database import Scope
from switch.completeness.models import SeenLeg, StartedHour
from tests.journeys.house import House
from tests.switch.exchange import call_record
from tests.tenancy.people_world import Browser, link_token, quick_passwords
from tests.world import MOBILE, moment

WITH_NUMBERS = ("/v1/missing-calls", "/v1/re-ratings/{re_rating_id}/calls", "/v1/set-aside-records")
"""Views across tenants that show what calls were made: whole to those who may see calls, else without numbers."""


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    quick_passwords(monkeypatch)


async def operators_person(house: House) -> Browser:
    """Somebody of the operator, signed in."""
    address = "ops@platform.example"
    invitation = {"address": address, "name": "ops", "role": "platform_operator", "tenant_id": None, "language": "zh"}
    await house.world.operator.does("/v1/invitations", invitation)
    accepted = {"token": await link_token(house.world.api, "person_invited", address), "password": "three words, then"}
    http = house.world.api.http
    return Browser.of(http, await http.post("/sign-in/invitation", json=accepted))


async def with_a_trace_in_every_view(house: House) -> None:
    """A missing call, a re-rated one, and a record set aside, each of which knows the number that `theirs` called.

    The deck of the re-rating has a price for that number alone.
    """
    nine, boot = moment("2026-07-02 08:00"), "5a0e1f6e-1111-4222-8333-444455556666"
    seen = SeenLeg(
        boot_id=boot,
        leg_id="leg",
        session_number=1,
        owner_id=house.theirs.tenant_id,
        direction="inbound",
        caller="1001",
        destination=MOBILE,
        started_at=nine,
        answered_at=None,
        ended_at=nine + timedelta(minutes=1),
        is_void=False,
    )
    hour = StartedHour(
        boot_id=boot,
        hour=nine,
        node="node-1",
        first_number=1,
        last_number=1,
        observed_from=nine,
        accepted=0,
        explained=0,
        running=0,
        state="incomplete",
        counted_at=clock.now(),
    )
    async with house.world.api.database.transaction(Scope.platform()) as session:
        session.add_all([seen, hour])
        await session.execute(
            text(
                "INSERT INTO re_rated_call (tenant_id, re_rating_id, month, leg_id, outcome, prefix)"
                " VALUES (:tenant_id, :re_rating_id, '2026-06-01', :leg_id, 'changed', :prefix)"
                " ON CONFLICT (tenant_id, re_rating_id, month, leg_id) DO UPDATE SET prefix = excluded.prefix"
            ),
            {name: house.ids[name] for name in ("tenant_id", "re_rating_id", "leg_id")} | {"prefix": f"86{MOBILE}"},
        )
    broken = call_record(house.theirs.tenant_id, seatline_destination=MOBILE)
    del broken["variables"]["uuid"]
    await house.world.node_reports(broken)


def shows_numbers(answer: httpx.Response) -> bool:
    return MOBILE in answer.text


async def test_no_view_tells_an_operators_person_whom_a_tenant_called_unless_it_visits_the_tenant(
    house: House,
) -> None:
    await with_a_trace_in_every_view(house)
    finance = house.world.finance
    concrete = {path: house.filled(path) for path in WITH_NUMBERS}
    for path in concrete.values():
        assert shows_numbers(await finance.get(path)), f"{path}: finance settles calls and sees them"
        assert shows_numbers(await house.world.operator.get(path)), f"{path}: machinery of the operator needs no visit"
    person = await operators_person(house)
    seen: dict[int, list[str]] = {200: [], 403: []}
    telling: list[str] = []
    for path, _ in await house.routes("get"):
        answer = await person.get(house.filled(path))
        seen[answer.status_code].append(path)
        if shows_numbers(answer):
            telling.append(path)
    assert telling == []
    assert {*WITH_NUMBERS} <= {*seen[200]}
    assert {"/v1/calls", "/v1/charges", "/v1/live/calls"} <= {*seen[403]}
    await _shown_on_a_visit(house, person, concrete)


async def _shown_on_a_visit(house: House, person: Browser, concrete: dict[str, str]) -> None:
    for tenant_id, expected in ((house.ours.tenant_id, False), (house.theirs.tenant_id, True)):
        began = await person.post(f"/v1/tenants/{tenant_id}/visits", {"reason": "ticket 17"})
        assert began.status_code == 201
        for path in concrete.values():
            assert shows_numbers(await person.get(path)) is expected, (path, expected)
        ended = await person.post(f"/v1/visits/{began.json()['visit_id']}/end")
        assert ended.status_code == 200
    for path in concrete.values():
        assert not shows_numbers(await person.get(path)), "over"
