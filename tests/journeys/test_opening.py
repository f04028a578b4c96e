"""A contract opens when it is paid, not before, and not at all when it is never paid (C6, rules 2 and 5)."""

from __future__ import annotations

from tests.world import LANDLINE, MOBILE, NOT_FOUND, Answered, World


async def test_paid_in_time_the_seats_are_open_at_midnight(world: World) -> None:
    tenant = await world.signs(preset="hosted", seats=3, opens="2026-06-01")
    await world.travel_to("2026-05-26 23:59")
    assert await tenant.invoices() == []
    await world.travel_to("2026-05-27 00:00")
    opening = await tenant.invoice("opening")
    assert opening.dates == ("2026-05-27", "2026-05-29", None)
    assert (opening.kinds(), opening.total) == ({"deposit": "6000.00", "rent": "6000.00"}, "12000.00")
    await world.travel_to("2026-05-29 10:00")
    await tenant.pays_everything()
    await world.travel_to("2026-05-31 23:59")
    assert await tenant.seat(1).registers() == NOT_FOUND
    await world.travel_to("2026-06-01 00:00")
    for number in (1, 2, 3):
        assert await tenant.seat(number).registers() == Answered()
        assert await tenant.seat(number).calls(LANDLINE) == Answered()
    assert await tenant.seat(1).calls("1002") == Answered()
    assert await tenant.standing() == ("active", None)


async def test_unpaid_it_stays_closed_and_opens_with_the_payment(world: World) -> None:
    tenant = await world.signs(preset="onsite", seats=2, opens="2026-06-01")
    await world.travel_to("2026-06-08 10:00")
    assert await tenant.standing() == ("active", None)
    assert await tenant.seat(1).registers() == NOT_FOUND
    assert await tenant.seat(1).calls(MOBILE) == NOT_FOUND
    await tenant.pays("3999.99")
    await world.work()
    assert await tenant.seat(1).registers() == NOT_FOUND
    await tenant.pays("0.01")
    await world.work()
    assert await tenant.seat(1).registers() == Answered()
    assert await tenant.seat(2).calls(MOBILE) == Answered()


async def test_never_paid_it_lapses_at_the_end_of_the_month_and_nothing_is_owed(world: World) -> None:
    tenant = await world.signs(preset="hosted", seats=2, opens="2026-06-01")
    await world.travel_to("2026-06-30 23:59")
    assert (await tenant.invoice("opening")).state == "open"
    await world.travel_to("2026-07-01 00:03")
    assert (await tenant.invoice("opening")).state == "void"
    assert (await tenant.balance())["balance"] == "0.00"
    assert await tenant.seat(1).calls(MOBILE) == NOT_FOUND
    await world.travel_to("2026-08-01 00:03")
    assert [each.plain["reason"] for each in await tenant.invoices()] == ["opening"]


async def test_a_seat_signs_in_with_the_credentials_that_were_handed_out(world: World) -> None:
    tenant = await world.tenant(preset="hosted", seats=1, opened="2026-06-01")
    [seat] = (await tenant.admin.ask("/v1/seats"))["items"]
    first = await tenant.admin.does(f"/v1/seats/{seat['seat_id']}/credentials")
    second = await tenant.admin.does(f"/v1/seats/{seat['seat_id']}/credentials")
    assert (first["username"], first["domain"]) == ("1001", tenant.domain)
    assert not await tenant.seat(1).accepts(first["password"])
    assert await tenant.seat(1).accepts(second["password"])
