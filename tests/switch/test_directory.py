"""What a node is told about accounts."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import update

from infra.kit.database import Scope
from switch import accounts, placements
from switch.form_reading import read_fields, read_form
from switch.models import SipAccount
from tests.api import Api
from tests.switch.exchange import (
    INVITE,
    NOT_FOUND,
    RECORDED,
    REGISTER,
    RING,
    Exchange,
    encoded,
    lookup_form,
    recorded_form,
)


@pytest.fixture
async def exchange(api: Api) -> Exchange:
    return await Exchange(api).open()


@pytest.mark.parametrize("name", ["register", "invite", "message-count", "gateways"])
def test_the_few_fields_are_read_as_all_of_them_would_be(name: str) -> None:
    body = (RECORDED / f"{name}.form").read_bytes()
    everything = read_form(body)
    wanted = {b"action", b"purpose", b"user", b"domain", b"sip_auth_method", b"sip_to_user", b"sip_auth_uri"}
    assert read_fields(body, wanted) == {name: value for name, value in everything.items() if name.encode() in wanted}


def test_escapes_plus_signs_and_repeated_names_are_read_as_a_form_has_them() -> None:
    body = b"user=a&us%65r=1%2B0+01&domain=%E5%AE%89&broken=%zz&empty=&alone&user=+%26x%3D"
    wanted = {b"user", b"domain", b"empty", b"alone"}
    assert read_fields(body, wanted) == {"user": " &x=", "domain": "安", "empty": "", "alone": ""}
    assert read_form(body)["user"] == " &x="


async def test_an_open_seat_of_an_active_tenant_is_found_with_its_context(exchange: Exchange) -> None:
    renter = await exchange.add_tenant()
    document = await exchange.look_up(renter, "1001", REGISTER)
    assert f'<domain name="{renter.domain}">' in document
    assert '<param name="a1-hash"' in document
    assert f'name="user_context" value="{renter.tenant_id}"' in document
    assert f'name="seatline_seat" value="{renter.seats["1001"]}"' in document
    assert "cacheable" not in document
    assert "dial-string" in await exchange.look_up(renter, "1002", RING)


async def test_a_registration_is_marked_with_the_generation_of_its_account_and_a_call_is_not(
    exchange: Exchange,
) -> None:
    renter = await exchange.add_tenant()
    before = await exchange.look_up(renter, "1001", REGISTER)
    async with exchange.api.database.transaction(Scope.platform()) as session:
        account = update(SipAccount).where(SipAccount.seat_id == renter.seats["1001"]).values(generation=17)
        await session.execute(account)
    after = await exchange.look_up(renter, "1001", REGISTER)
    assert 'name="registration_metadata" value="17"' in after
    assert "registration_metadata" in before
    assert before != after
    for purpose in (INVITE, RING):
        assert "registration_metadata" not in await exchange.look_up(renter, "1001", purpose)


async def test_a_suspension_holds_from_its_commit_for_every_kind_of_lookup(exchange: Exchange) -> None:
    renter = await exchange.add_tenant()
    assert NOT_FOUND not in await exchange.look_up(renter, "1001", REGISTER)
    await exchange.suspend(renter)
    for purpose in (REGISTER, RING, {"action": ""}, {"action": "message-count"}):
        assert NOT_FOUND in await exchange.look_up(renter, "1001", purpose)
    call_attempt = await exchange.look_up(renter, "1001", INVITE)
    assert 'name="user_context" value="emergency"' in call_attempt
    assert "dial-string" not in call_attempt
    await exchange.restore(renter)
    assert f'value="{renter.tenant_id}"' in await exchange.look_up(renter, "1001", INVITE)


async def test_a_suspension_holds_while_lookups_pour_in(exchange: Exchange) -> None:
    renter = await exchange.add_tenant()
    suspended = asyncio.Event()

    async def pour() -> None:
        while not suspended.is_set():
            await exchange.look_up(renter, "1001", REGISTER)

    pouring = [asyncio.create_task(pour()) for _ in range(20)]
    await exchange.look_up(renter, "1001", REGISTER)
    await exchange.suspend(renter)
    asked_after = await asyncio.gather(*(exchange.look_up(renter, "1001", REGISTER) for _ in range(40)))
    suspended.set()
    await asyncio.gather(*pouring)
    assert all(NOT_FOUND in document for document in asked_after)


async def test_a_closed_seat_is_not_found(exchange: Exchange) -> None:
    renter = await exchange.add_tenant()
    async with exchange.api.database.transaction(Scope.platform()) as session:
        await session.execute(
            update(SipAccount).where(SipAccount.seat_id == renter.seats["1002"]).values(is_open=False)
        )
    assert NOT_FOUND in await exchange.look_up(renter, "1002", REGISTER)
    assert NOT_FOUND not in await exchange.look_up(renter, "1001", REGISTER)


async def test_only_the_serving_node_is_told_and_a_move_holds_at_once(exchange: Exchange) -> None:
    renter = await exchange.add_tenant(node="node-1")
    assert NOT_FOUND in await exchange.look_up(renter, "1001", REGISTER, node="node-2")
    async with exchange.api.database.transaction(Scope.platform()) as session:
        await placements.move(session, renter.tenant_id, "node-2", reason="test")
    assert NOT_FOUND in await exchange.look_up(renter, "1001", REGISTER, node="node-1")
    assert NOT_FOUND not in await exchange.look_up(renter, "1001", REGISTER, node="node-2")


async def test_a_user_is_never_found_under_another_tenants_domain(exchange: Exchange) -> None:
    few, many = await exchange.add_tenant(seats=1), await exchange.add_tenant(seats=3)
    assert NOT_FOUND not in await exchange.look_up(many, "1003", REGISTER)
    assert NOT_FOUND in await exchange.look_up(few, "1003", REGISTER)
    # Its own password, but the address of another tenant's seat.
    form = lookup_form("1001", many.domain) | REGISTER | {"sip_to_host": few.domain}
    assert NOT_FOUND in await exchange.ask("directory", form)


@pytest.mark.parametrize(
    "changes",
    [
        {"domain": "nobody.example"},
        {"user": "9999"},
        {"user": ""},
        {"domain": ""},
        {"user": "1001\x00"},
        {"user": "1001' OR '1'='1"},
        {"user": "1" * 10_000},
        {"domain": "\ud7ff" * 300},
    ],
)
async def test_who_does_not_exist_is_not_found(exchange: Exchange, changes: dict[str, str]) -> None:
    renter = await exchange.add_tenant()
    form = lookup_form("1001", renter.domain) | REGISTER | changes
    form |= {"sip_to_user": form["user"], "sip_to_host": form["domain"]}
    assert NOT_FOUND in await exchange.ask("directory", form)


@pytest.mark.parametrize("name", ["gateways", "message-count"])
async def test_recorded_questions_about_nobody_we_serve_are_not_found(exchange: Exchange, name: str) -> None:
    assert NOT_FOUND in await exchange.ask("directory", recorded_form(name))


async def test_lookups_that_arrive_together_each_get_their_own_answer(exchange: Exchange) -> None:
    renters = [await exchange.add_tenant(seats=3) for _ in range(3)]
    await exchange.suspend(renters[1])

    async def check(number: int) -> None:
        renter, extension = renters[number % 3], str(1001 + number % 4)
        document = await exchange.look_up(renter, extension, REGISTER)
        if number % 3 == 1 or extension == "1004":
            assert NOT_FOUND in document
        else:
            assert f'value="{renter.seats[extension]}"' in document

    await asyncio.gather(*(check(number) for number in range(120)))


@pytest.mark.parametrize("authorization", [None, "Basic", "Basic !!!", "Bearer abc", "Basic bm9kZS0xOndyb25n"])
async def test_without_the_nodes_secret_nothing_is_told(exchange: Exchange, authorization: str | None) -> None:
    renter = await exchange.add_tenant()
    headers = {} if authorization is None else {"authorization": authorization}
    body = encoded(lookup_form("1001", renter.domain) | REGISTER)
    answer = await exchange.api.http.post("/switch/directory", content=body, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "node_not_signed_in")
    assert answer.headers["www-authenticate"].startswith("Basic ")


async def test_a_node_with_another_nodes_secret_or_that_has_left_is_refused(exchange: Exchange) -> None:
    renter = await exchange.add_tenant()
    body = encoded(lookup_form("1001", renter.domain) | REGISTER)
    auth = ("node-1", exchange.secrets["node-2"])
    assert (await exchange.api.http.post("/switch/directory", content=body, auth=auth)).status_code == 401
    await exchange.change_node("node-1", state="left")
    assert (await exchange.post("/switch/directory", body)).status_code == 401


async def test_a_reissued_password_counts_at_the_next_lookup(exchange: Exchange) -> None:
    renter = await exchange.add_tenant()
    before = await exchange.look_up(renter, "1001", REGISTER)
    async with exchange.api.database.transaction(Scope.platform()) as session:
        await accounts.reissue(session, renter.tenant, [renter.seats["1001"]])
    assert await exchange.look_up(renter, "1001", REGISTER) != before


async def test_a_huge_form_and_another_method_are_refused(exchange: Exchange) -> None:
    huge = await exchange.post("/switch/directory", b"user=" + b"1" * 300_000)
    assert (huge.status_code, huge.json()["code"]) == (413, "body_too_large")
    assert (await exchange.api.http.get("/switch/directory")).status_code == 405
