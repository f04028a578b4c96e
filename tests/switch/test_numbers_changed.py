"""What a tenant's number is used for changes without giving the number back."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from infra.kit.database import Scope
from switch import phone_numbers
from switch.phone_numbers import Use
from tests.api import Api, Caller

FIRST, SECOND = "+862150001234", "+862150001235"


async def _assigned(api: Api, operator: Caller) -> str:
    tenant_id = await api.tenant("renter")
    for number, is_caller in ((FIRST, True), (SECOND, False)):
        body = {"tenant_id": tenant_id, "number": number, "extension": "1001", "is_caller_number": is_caller}
        assert (await operator.post("/v1/phone-numbers", body)).status_code == 201
    return tenant_id


async def _numbers(operator: Caller) -> dict[str, tuple[str | None, bool]]:
    items = (await operator.get("/v1/phone-numbers")).json()["items"]
    return {item["number"]: (item["extension"], item["is_caller_number"]) for item in items}


async def test_a_number_rings_at_another_seat_and_the_shown_one_changes_in_one_step(api: Api) -> None:
    operator = await api.client("platform_operator")
    tenant_id = await _assigned(api, operator)
    elsewhere = await operator.put(f"/v1/phone-numbers/{SECOND}", {"extension": "1002"})
    assert (elsewhere.status_code, elsewhere.json()["extension"]) == (200, "1002"), elsewhere.text
    assert (await operator.put(f"/v1/phone-numbers/{SECOND}", {"is_caller_number": True})).status_code == 200
    assert await _numbers(operator) == {FIRST: ("1001", False), SECOND: ("1002", True)}
    assert (await operator.put(f"/v1/phone-numbers/{FIRST}", {"extension": None})).status_code == 200
    assert (await operator.put(f"/v1/phone-numbers/{SECOND}", {})).status_code == 200
    assert await _numbers(operator) == {FIRST: (None, False), SECOND: ("1002", True)}
    history = (await operator.get(f"/v1/phone-numbers/{SECOND}/history")).json()["items"]
    assert [event["event"] for event in history] == ["changed", "changed", "assigned"]
    trail = (await operator.get("/v1/audit", {"tenant_id": tenant_id})).json()["items"]
    changes = [each["facts"] for each in trail if each["action"] == "phone_number.changed"]
    assert (changes[-1]["extension_before"], changes[-1]["extension"]) == ("1001", "1002")


async def test_of_two_changes_at_once_neither_undoes_the_other(api: Api) -> None:
    operator = await api.client("platform_operator")
    await _assigned(api, operator)
    async with api.database.transaction(Scope.platform()) as session:
        row = await phone_numbers.find_locked(session, SECOND)
        await phone_numbers.change(session, row, Use("1002", is_caller_number=True))
        changes: list[dict[str, Any]] = [{"extension": "1003"}, {"is_caller_number": True}]
        slower = [asyncio.create_task(operator.put(f"/v1/phone-numbers/{SECOND}", body)) for body in changes]
        done, _ = await asyncio.wait(slower, timeout=0.3)
        assert not done, "nobody has seen the first change yet: both wait at the database"
    answers = await asyncio.gather(*slower)
    assert [each.status_code for each in answers] == [200, 200], answers
    assert await _numbers(operator) == {FIRST: ("1001", False), SECOND: ("1003", True)}


async def test_a_number_that_is_released_meanwhile_is_not_changed(api: Api) -> None:
    operator = await api.client("platform_operator")
    await _assigned(api, operator)
    async with api.database.transaction(Scope.platform()) as session:
        await phone_numbers.release(session, SECOND)
        slower = asyncio.create_task(operator.put(f"/v1/phone-numbers/{SECOND}", {"extension": "1003"}))
        done, _ = await asyncio.wait([slower], timeout=0.3)
        assert not done, "it waits at the database"
    assert (await slower).status_code == 404
    assert list(await _numbers(operator)) == [FIRST]


@pytest.mark.parametrize(
    ("number", "body", "status"),
    [
        (FIRST, {"extension": "01"}, 422),
        (FIRST, {"extension": "canary"}, 422),
        (FIRST, {"tenant_id": "ten_x"}, 400),
        ("+862150009999", {"extension": "1001"}, 404),
        ("nonsense", {"extension": "1001"}, 422),
    ],
)
async def test_bad_changes_are_refused_and_change_nothing(
    api: Api, number: str, body: dict[str, Any], status: int
) -> None:
    operator = await api.client("platform_operator")
    tenant_id = await _assigned(api, operator)
    before = await _numbers(operator)
    answer = await operator.put(f"/v1/phone-numbers/{number}", body)
    assert answer.status_code == status, answer.text
    admin = await api.client("tenant_admin", tenant_id)
    assert (await admin.put(f"/v1/phone-numbers/{FIRST}", {"extension": "1002"})).status_code == 403
    assert await _numbers(operator) == before
