"""What holds for every route, read from the API's own description so that a new one cannot be forgotten."""

from __future__ import annotations

import re

from tests.api import Api
from tests.journeys.examples import EXAMPLES
from tests.journeys.house import House
from tests.world import PRICES, World

NOT_UNDER_V1 = {"IssueToken", "RevokeToken", "ReceiveStripeEvent"} | {
    "SignIn", "AcceptInvitation", "ForgetPassword", "ResetPassword", "ChangePassword", "SignOut", "SignOutEverywhere",
}  # fmt: skip
"""RFC 6749, RFC 7009, Stripe and browsers say how these are called; they have tests of their own."""

NOBODYS = {"window_id", "gateway_id", "node_id", "month", "line_number", "node", "hour"}
"""Path parameters whose values belong to no tenant."""


async def test_there_is_an_example_of_every_post(api: Api) -> None:
    paths = (await api.http.get("/schema/openapi.json")).json()["paths"].values()
    described = {operations["post"]["operationId"] for operations in paths if "post" in operations}
    assert described - NOT_UNDER_V1 == EXAMPLES.keys()


async def test_another_tenants_everything_is_not_found(house: House) -> None:
    ours, theirs = house.ours.admin, house.theirs.admin
    own_ids = re.compile("|".join(re.escape(each) for name, each in house.ids.items() if name not in NOBODYS))
    wrong: list[str] = []
    routes = await house.routes("get")
    for path, operation in routes:
        concrete, parameters = house.filled(path), {each["name"] for each in operation.get("parameters", ())}
        for_owner = await theirs.get(concrete)
        from_over_the_fence = await ours.get(concrete)
        assert (await house.world.operator.get(concrete)).status_code == 200, path
        if for_owner.status_code == 403:
            expected = 403  # no tenant may: nodes, gateways, records that were set aside
        else:
            assert for_owner.status_code == 200, path
            expected = 404 if concrete != path else 200
        if from_over_the_fence.status_code != expected:
            wrong.append(f"{path}: {from_over_the_fence.status_code}")
        if own_ids.search(from_over_the_fence.text) and expected == 200:
            wrong.append(f"{path}: shows what is another tenant's")
        if expected == 200 and "tenant_id" in parameters:
            named = await ours.get(concrete, tenant_id=house.theirs.tenant_id)
            if named.status_code != 404:
                wrong.append(f"{path}?tenant_id=: {named.status_code}")
        if expected == 200 and "contract_id" in parameters:
            by_contract = await ours.get(concrete, contract_id=house.theirs.contract_id)
            if by_contract.json()["items"]:
                wrong.append(f"{path}?contract_id=: shows what is another tenant's")
    assert not wrong
    assert len(routes) > 25


async def test_nobody_changes_what_is_another_tenants(house: House) -> None:
    wrong: list[str] = []
    for name, example in EXAMPLES.items():
        sent = await example(house)
        before = await house.contents()
        answer = await sent.send(by=house.ours.admin)
        if answer.status_code not in (403, 404) and name != "MakeQuote":
            wrong.append(f"{name}: {answer.status_code}")
        if await house.contents() != before:
            wrong.append(f"{name}: has changed something")
    for path, _ in await house.routes("delete"):
        answer = await house.ours.admin.send("DELETE", house.filled(path))
        if answer.status_code not in (403, 404):
            wrong.append(f"DELETE {path}: {answer.status_code}")
    assert not wrong


async def test_every_post_honours_the_idempotency_key(house: House) -> None:
    wrong: list[str] = []
    for name, example in EXAMPLES.items():
        sent = await example(house)
        before = await house.contents()
        first = await sent.send(key=f"key-{name}")
        once = await house.contents()
        again = await sent.send(key=f"key-{name}")
        assert first.is_success, f"{name}: {first.text}"
        if (again.status_code, again.content) != (first.status_code, first.content):
            wrong.append(f"{name}: answers {first.status_code}, then {again.status_code} {again.text[:200]}")
        if again.headers.get("idempotency-replayed") != "true":
            wrong.append(f"{name}: does not say that it is a replay")
        if once == before:
            wrong.append(f"{name}: has not kept its answer")
        if await house.contents() != once:
            wrong.append(f"{name}: has done something twice")
    assert not wrong


async def test_an_unknown_field_is_refused_by_name_everywhere(house: House) -> None:
    wrong: list[str] = []
    with_body = {
        operation["operationId"]
        for _, operation in await house.routes("post")
        if "application/json" in operation.get("requestBody", {}).get("content", {})
    }
    for name in sorted(with_body):
        sent = await EXAMPLES[name](house)
        before = await house.contents()
        answer = await sent.send(colour="red")
        if answer.status_code not in (400, 422) or "colour" not in answer.text:
            wrong.append(f"{name}: {answer.status_code} {answer.text[:200]}")
        elif answer.headers["content-type"] != "application/problem+json" or "colour" not in answer.json()["field"]:
            wrong.append(f"{name}: the field is not named: {answer.text[:200]}")
        if await house.contents() != before:
            wrong.append(f"{name}: has changed something")
    assert not wrong
    assert len(with_body) > 12


async def test_an_unknown_part_of_an_upload_is_refused_by_name(world: World) -> None:
    answer = await world.operator.send(
        "POST", "/v1/rate-decks", files={"file": ("deck.csv", PRICES)}, data={"name": "deck", "colour": "red"}
    )
    assert (answer.status_code, answer.json()["field"]) == (400, "colour")
