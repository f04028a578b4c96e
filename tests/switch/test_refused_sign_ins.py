"""Somebody who guesses passwords is seen: by the tenant, by the operator, and in the log."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from infra.kit import clock
from infra.kit.database import PLATFORM, Scope
from switch.esl.frames import Event
from switch.refused_sign_ins import keeping
from switch.refused_sign_ins.counting import ALARM_OF_NAME, MAX_KEYS, REGISTER_FAILURE, RefusedSignIns
from tests.api import Api

NOW = datetime(2026, 6, 8, 9, 30, tzinfo=UTC)
DOMAIN = "tenant.example"


def _refused(user: str = "1001", *, domain: str = DOMAIN, source: str = "192.0.2.7", agent: str = "sipp") -> Event:
    """As a running 1.11 sends it."""
    return Event(
        {
            "Event-Name": "CUSTOM",
            "Event-Subclass": REGISTER_FAILURE,
            "profile-name": "internal",
            "to-user": user,
            "to-host": domain,
            "network-ip": source,
            "user-agent": agent,
            "network-port": "5969",
            "registration-type": "REGISTER",
        }
    )


def test_refusals_are_counted_by_name_address_and_hour() -> None:
    seen = RefusedSignIns()
    for minute in (0, 10, 45):
        seen.note(_refused(agent=f"phone {minute}"), now=NOW + timedelta(minutes=minute))
    seen.note(_refused("1002", source="192.0.2.8"), now=NOW)
    counts = {(key.hour.hour, key.username, key.source): count for key, count in seen.take().items()}
    assert {key: count.attempts for key, count in counts.items()} == {
        (9, "1001", "192.0.2.7"): 2,
        (10, "1001", "192.0.2.7"): 1,
        (9, "1002", "192.0.2.8"): 1,
    }
    assert counts[9, "1001", "192.0.2.7"].user_agent == "phone 10"
    assert seen.take() == {}


def test_the_alarm_comes_once_an_hour_for_a_name() -> None:
    seen = RefusedSignIns()
    alarms = [seen.note(_refused(source=f"192.0.2.{place}"), now=NOW) for place in range(3 * ALARM_OF_NAME)]
    assert [place for place, alarm in enumerate(alarms, 1) if alarm] == [ALARM_OF_NAME]
    assert alarms[ALARM_OF_NAME - 1][0].username == "1001"
    later = [seen.note(_refused(), now=NOW + timedelta(hours=1)) for _ in range(ALARM_OF_NAME)]
    assert later[-1], "in the next hour anew"


def test_whoever_tries_every_name_is_one_alarm_of_an_address() -> None:
    seen = RefusedSignIns()
    alarms = [alarm for place in range(500) for alarm in seen.note(_refused(f"{1000 + place}"), now=NOW)]
    assert [(alarm.username, alarm.source) for alarm in alarms] == [("", "192.0.2.7")]


def test_a_storm_of_strange_names_takes_bounded_memory_and_stays_readable() -> None:
    seen = RefusedSignIns()
    for place in range(MAX_KEYS + 500):
        seen.note(_refused(f"{place}\x1b[31m\u202e" + "x" * 10_000, domain="d" * 5_000), now=NOW)
    counts = seen.take()
    assert len(counts) == MAX_KEYS + 1
    assert sum(count.attempts for count in counts.values()) == MAX_KEYS + 500
    assert max(len(text) for key in counts for text in (key.username, key.source)) <= 64
    assert all(text.isprintable() and text.isascii() for key in counts for text in (key.username, key.domain))
    for _ in range(10):
        seen.note(_refused("another"), now=NOW)
    assert len(seen.take()) == 1, "what was written counts too"


def test_the_systems_own_attempts_are_no_alarm() -> None:
    seen = RefusedSignIns()
    assert not any(seen.note(_refused("canary"), now=NOW) for _ in range(100))


async def test_a_tenant_sees_its_own_and_operators_see_all(api: Api) -> None:
    tenant_id = await api.tenant("renter")
    other_id = await api.tenant("other")
    operator = await api.client("platform_operator")
    domain = (await operator.get(f"/v1/tenants/{tenant_id}")).json()["sip_domain"]
    seen = RefusedSignIns()
    for user, where in (("1001", domain.upper()), ("1001", domain), ("1002", "nobody.example"), ("canary", domain)):
        seen.note(_refused(user, domain=where), now=clock.now())
    for _ in range(2):
        async with api.database.transaction(Scope.platform()) as session:
            await keeping.write(session, "fs-1", seen.take())
        seen.note(_refused("1001", domain=domain), now=clock.now())
    tenant = await api.client("tenant_viewer", tenant_id)
    own = (await tenant.get("/v1/refused-sign-ins")).json()["items"]
    assert [(row["username"], row["attempts"], row["source"], row["node"]) for row in own] == [
        ("1001", 3, "192.0.2.7", "fs-1")
    ]
    stranger = await api.client("tenant_viewer", other_id)
    assert (await stranger.get("/v1/refused-sign-ins")).json()["items"] == []
    assert (await stranger.get("/v1/refused-sign-ins", {"tenant_id": tenant_id})).status_code == 404
    first = (await operator.get("/v1/refused-sign-ins", {"limit": "1"})).json()
    rest = (await operator.get("/v1/refused-sign-ins", {"limit": "5", "after": first["next"]})).json()
    everything = [*first["items"], *rest["items"]]
    assert sorted((row["tenant_id"], row["username"]) for row in everything) == sorted(
        [(tenant_id, "1001"), (PLATFORM, "1002"), (PLATFORM, "canary")]
    )


async def test_they_are_forgotten_after_a_month(api: Api) -> None:
    seen = RefusedSignIns()
    seen.note(_refused(), now=clock.now() - timedelta(days=31))
    async with api.database.transaction(Scope.platform()) as session:
        await keeping.write(session, "fs-1", seen.take())
        assert await keeping.forget_old(session) == 1
