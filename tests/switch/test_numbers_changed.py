"""What a tenant's number is used for changes without giving the number back."""

from __future__ import annotations

from typing import Any

import pytest

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
