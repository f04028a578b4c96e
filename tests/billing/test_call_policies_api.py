"""What a tenant's calls may do: who may change what, and which calls were refused for it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api import Api
from tests.billing.spending_world import ABROAD, may, put, refused, renter
from tests.tenancy.people_world import joined, quick_passwords
from tests.world import MOBILE, Answered, Customer, Refused, World


@pytest.fixture
async def world(api: Api) -> World:
    return await World.open(api)


@pytest.fixture
async def customer(world: World) -> Customer:
    return await renter(world)


async def test_an_operators_person_widens_a_policy_on_a_visit(
    api: Api, customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick_passwords(monkeypatch)
    client = await api.client("platform_operator")
    person = await joined(api, client, "ops@platform.example", role="platform_operator")
    path = f"/v1/tenants/{customer.tenant_id}/call-policy"
    own = {"cookie": person.cookie, "x-csrf-token": person.csrf_token, "origin": "http://127.0.0.1:8300"}
    assert (await person.http.put(path, json={"countries": ["CN", "US"]}, headers=own)).status_code == 403
    made = await person.post(f"/v1/tenants/{customer.tenant_id}/visits", {"reason": "they asked for it"})
    visiting = own | {"seatline-visit": made.json()["visit_id"]}
    for cap in ("10.00", "20.00"):
        changed = await person.http.put(path, json={"countries": ["CN", "US"], "daily_cap": cap}, headers=visiting)
        assert (changed.status_code, changed.json()["daily_cap"]) == (200, cap)
    assert await customer.seat(1).calls(ABROAD) == Answered()


async def test_the_platforms_policy_counts_where_a_tenant_has_none_of_its_own(customer: Customer) -> None:
    operator, seat = customer.world.operator, customer.seat(1)
    assert await seat.calls(ABROAD) == Refused("country_not_allowed")
    await put(operator, "/v1/call-policy", {"countries": ["CN", "US"], "barred_prefixes": ["+1900", "96"]})
    assert await seat.calls(ABROAD) == Answered()
    assert await seat.calls("96110") == Refused("destination_barred")
    await may(customer, countries=["CN"], barred_prefixes=["+86138"], premium_allowed=True)
    assert await seat.calls(ABROAD) == Refused("country_not_allowed")
    assert await seat.calls(MOBILE) == Refused("destination_barred")
    assert await seat.calls("16812345") == Answered()
    shown = await may(customer, countries=None, barred_prefixes=None)
    assert (shown["countries"], shown["barred_prefixes"]) == (["CN", "US"], ["+1900", "96"])
    assert shown["own"]["countries"] is None
    back = await put(operator, "/v1/call-policy", {"countries": None, "barred_prefixes": None})
    assert (back["countries"], back["barred_prefixes"]) == (["CN"], [])
    assert await operator.ask("/v1/call-policy") == back
    assert await seat.calls(MOBILE) == Answered()


async def test_a_tenant_tightens_its_policy_and_cannot_widen_it(customer: Customer) -> None:
    path, admin = f"/v1/tenants/{customer.tenant_id}/call-policy", customer.admin
    tight = await may(
        customer, admin, calls_per_tenant=3, calls_per_seat=1, calls_per_second=2, countries=[], daily_cap="5.00",
        barred_prefixes=["+86138"], short_codes_allowed=False,
    )  # fmt: skip
    assert (tight["calls_per_tenant"], tight["countries"], tight["daily_cap"]) == (3, [], "5.00")
    wider: dict[str, Any] = {
        "calls_per_tenant": None, "calls_per_seat": 2, "calls_per_second": 3, "countries": ["CN"],
        "daily_cap": "5.01", "barred_prefixes": [], "short_codes_allowed": True, "premium_allowed": True,
        "forwarding": ["+8613800138000"],
    }  # fmt: skip
    for field, value in wider.items():
        assert await refused(admin, path, {field: value}) == (422, "call_policy_widened", field)
    assert await refused(admin, path, {"daily_cap": None}) == (422, "call_policy_widened", "daily_cap")
    # One setting that is not allowed changes none of the others.
    assert (await refused(admin, path, {"calls_per_second": 1, "countries": ["US"]}))[0] == 422
    assert await admin.ask(path) == tight
    viewer = await customer.world.desk("tenant_viewer", customer.tenant_id)
    assert (await viewer.get(path)).status_code == 200
    assert (await refused(viewer, path, {"calls_per_second": 1}))[0] == 403
    assert (await refused(customer.world.finance, path, {"calls_per_second": 1}))[0] == 403
    assert (await refused(admin, "/v1/call-policy", {}))[0] == 403
    assert (await customer.admin.get("/v1/call-policy")).status_code == 403


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({"calls_per_seat": 0}, "invalid_input", "calls_per_seat"),
        ({"calls_per_second": -1}, "invalid_input", "calls_per_second"),
        ({"calls_per_tenant": 100_001}, "invalid_input", "calls_per_tenant"),
        ({"countries": ["XX"]}, "invalid_input", "countries"),
        ({"countries": ["cn"]}, "invalid_input", "countries"),
        ({"countries": ["CN"] * 501}, "invalid_input", "countries"),
        ({"barred_prefixes": ["0086168"]}, "invalid_input", "barred_prefixes"),
        ({"barred_prefixes": [""]}, "invalid_input", "barred_prefixes"),
        ({"forwarding": ["110"]}, "invalid_input", "forwarding"),
        ({"forwarding": ["95588"]}, "invalid_input", "forwarding"),
        ({"forwarding": ["+86138"]}, "invalid_input", "forwarding"),
        ({"daily_cap": "-1.00"}, "spend_cap_refused", "daily_cap"),
        ({"daily_cap": "1.001"}, "spend_cap_refused", "daily_cap"),
        ({"daily_cap": "much"}, "spend_cap_refused", "daily_cap"),
    ],
)
async def test_what_is_no_policy_is_refused_by_its_field(
    world: World, body: dict[str, Any], code: str, field: str
) -> None:
    tenant = await world.operator.does("/v1/tenants", {"name": "新客户", "sip_domain": "new.example.com"})
    path = f"/v1/tenants/{tenant['tenant_id']}/call-policy"
    assert await refused(world.operator, path, body) == (422, code, field)
    assert (await refused(world.operator, path, {"daily_cap": 5}))[0] == 400
    assert (await refused(world.operator, path, {"unheard_of": 1}))[0] == 400


async def test_another_tenants_policy_does_not_exist(customer: Customer) -> None:
    other = await customer.world.signs(seats=1, opens="2026-07-01")
    path = f"/v1/tenants/{other.tenant_id}/call-policy"
    assert (await customer.admin.get(path)).status_code == 404
    assert (await refused(customer.admin, path, {"calls_per_second": 1}))[0] == 404
    assert (await refused(customer.world.operator, "/v1/tenants/ten_none/call-policy", {}))[0] == 404
    assert (await customer.admin.get("/v1/spend-alerts", tenant_id=other.tenant_id)).status_code == 404


async def test_refused_calls_are_listed_with_their_reason_for_the_tenant_and_the_operator(customer: Customer) -> None:
    world, seat = customer.world, customer.seat(1)
    await world.travel_to("2026-06-10 09:00")
    await seat.talks(MOBILE, milliseconds=1_000)
    record = await seat.record(MOBILE, milliseconds=0)
    record["variables"] |= {"seatline_leg": "caller", "seatline_refusal": "country_not_allowed"}
    await world.node_reports(record, await seat.node())
    for desk in (customer.admin, world.operator):
        [call] = (await desk.ask("/v1/calls", refused="true"))["items"]
        assert call["refusal"] == "country_not_allowed"
        assert call["refusal_explanation"] == "Calls to this country are not allowed."
        [call] = (await desk.ask("/v1/calls", refused="false"))["items"]
        assert (call["refusal"], call["refusal_explanation"]) == (None, None)
