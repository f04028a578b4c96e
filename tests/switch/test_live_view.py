"""The live view of a node in memory: events in any number and order, lists that heal, bounds that hold."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from switch.esl.frames import Event
from switch.live import legs as leg_limits
from switch.live import registrations as registration_limits
from switch.live.legs import MAX_QUESTIONS_ABOUT_A_LEG, LiveLegs
from switch.live.registrations import LiveRegistrations, read_listed

NOW = datetime(2026, 7, 1, 4, tzinfo=UTC)
MOMENT = str(int(NOW.timestamp() * 1_000_000))
LATER = 100.0
"""Monotonic seconds at which whatever was seen at 0 is no longer young."""


def told(leg_id: str, tenant: str = "ten_a", **headers: str) -> Event:
    """An event about a seat's call out, with these headers besides (underscores stand for hyphens)."""
    more = {name.replace("_", "-"): value for name, value in headers.items()}
    return Event(
        {
            "Unique-ID": leg_id,
            "Channel-State": "CS_EXECUTE",
            "Answer-State": "ringing",
            "Caller-Caller-ID-Number": "1001",
            "Caller-Destination-Number": "013800138000",
            "Caller-Channel-Created-Time": MOMENT,
            "Caller-Channel-Answered-Time": "0",
            **({"variable_seatline_tenant": tenant} if tenant else {}),
            "variable_seatline_direction": "outbound",
            "variable_seatline_leg": "caller",
            **more,
        }
    )


def apply(legs: LiveLegs, name: str, event: Event, *, at: float = 0.0) -> None:
    """Take in an event."""
    legs.apply(name, event, now=NOW, at_seconds=at)


def begun(*leg_ids: str) -> LiveLegs:
    """Legs that have begun, and been written."""
    legs = LiveLegs()
    for leg_id in leg_ids:
        apply(legs, "CHANNEL_CREATE", told(leg_id))
    legs.take_changes(1_000)
    return legs


def test_a_call_begins_is_answered_connected_and_ends() -> None:
    legs = LiveLegs()
    apply(legs, "CHANNEL_CREATE", told("a"))
    apply(legs, "CHANNEL_CREATE", told("b", variable_seatline_leg="gateway"))
    assert {leg.state for leg in legs.take_changes(10).current} == {"ringing"}
    answered = {"Caller_Channel_Answered_Time": MOMENT, "Answer_State": "answered"}
    apply(legs, "CHANNEL_ANSWER", told("a", **answered))
    apply(legs, "CHANNEL_BRIDGE", told("a", **answered, Bridge_A_Unique_ID="a", Bridge_B_Unique_ID="b"))
    current = {leg.leg_id: leg for leg in legs.take_changes(10).current}
    assert (current["a"].state, current["a"].other_leg_id, current["b"].other_leg_id) == ("answered", "b", "a")
    apply(legs, "CHANNEL_HANGUP", told("a"))
    apply(legs, "CHANNEL_HANGUP_COMPLETE", told("a"))
    apply(legs, "CHANNEL_HANGUP_COMPLETE", told("b"))
    assert sorted(legs.take_changes(10).gone) == [("ten_a", "a"), ("ten_a", "b")]
    assert (len(legs), legs.unknown_events) == (0, 0)


def test_events_of_unknown_calls_are_counted_and_show_nothing_that_has_ended() -> None:
    legs = LiveLegs()
    apply(legs, "CHANNEL_HANGUP", told("never-heard-of"))
    apply(legs, "CHANNEL_ANSWER", told("joined-late", Answer_State="answered"))
    apply(legs, "CHANNEL_ANSWER", told("", Answer_State="answered"))
    apply(legs, "CHANNEL_ANSWER", told("x" * 300))
    apply(legs, "CHANNEL_ANSWER", told("over", Channel_State="CS_HANGUP"))
    assert (legs.unknown_events, list(legs.shown)) == (2, ["joined-late"])


def test_an_event_that_comes_after_the_end_brings_nothing_back() -> None:
    legs = begun("a")
    apply(legs, "CHANNEL_HANGUP", told("a"))
    apply(legs, "CHANNEL_UNBRIDGE", told("a"))
    apply(legs, "CHANNEL_ANSWER", told("a"))
    assert legs.shown == {}


def test_a_leg_of_no_tenant_is_asked_about_a_few_times_and_shown_to_nobody() -> None:
    legs = LiveLegs()
    apply(legs, "CHANNEL_CREATE", told("a", tenant=""))
    for _ in range(MAX_QUESTIONS_ABOUT_A_LEG):
        assert legs.to_ask_about(10) == ["a"]
    assert legs.to_ask_about(10) == []
    assert (legs.unassigned, legs.take_changes(10).current) == (1, [])
    legs.learn(told("a", tenant="ten_b"), now=NOW, at_seconds=1)
    assert [leg.tenant_id for leg in legs.take_changes(10).current] == ["ten_b"]


def test_a_leg_that_changes_hands_is_taken_from_the_first() -> None:
    legs = begun("a")
    apply(legs, "CHANNEL_ANSWER", told("a", tenant="ten_b"))
    changes = legs.take_changes(10)
    assert (changes.gone, [leg.tenant_id for leg in changes.current]) == ([("ten_a", "a")], ["ten_b"])


def test_a_comparison_lets_go_of_what_is_gone_and_finds_what_was_missed() -> None:
    legs = begun("stays", "gone")
    apply(legs, "CHANNEL_CREATE", told("young"), at=LATER)
    assert legs.compare(["stays", "missed"], asked_at_seconds=LATER) == ["missed"]
    assert set(legs.shown) == {"stays", "young"}
    assert legs.corrections == 2
    legs.learn(told("missed"), now=NOW, at_seconds=LATER)
    assert legs.compare(["stays", "missed", "young"], asked_at_seconds=LATER + 1) == []


def test_a_leg_that_is_listed_while_its_record_is_on_the_way_does_not_come_back() -> None:
    legs = begun("a")
    apply(legs, "CHANNEL_HANGUP", told("a"))
    assert legs.compare(["a"], asked_at_seconds=LATER) == []


def test_what_could_not_be_written_is_written_later() -> None:
    legs = begun("a")
    apply(legs, "CHANNEL_ANSWER", told("a", Answer_State="answered"))
    legs.put_back(legs.take_changes(10))
    assert [leg.state for leg in legs.take_changes(10).current] == ["answered"]
    apply(legs, "CHANNEL_HANGUP", told("a"))
    legs.put_back(legs.take_changes(10))
    assert legs.take_changes(10).gone == [("ten_a", "a")]


def test_a_storm_of_events_keeps_within_its_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leg_limits, "MAX_LEGS", 50)
    monkeypatch.setattr(leg_limits, "MAX_REMEMBERED_ENDS", 50)
    legs = LiveLegs()
    for number in range(500):
        apply(legs, "CHANNEL_CREATE", told(f"leg-{number}"))
        apply(legs, "CHANNEL_ANSWER", told(f"leg-{number}"))
        apply(legs, "CHANNEL_HANGUP", told(f"unknown-{number}"))
    assert (len(legs), len(legs.shown)) == (50, 50)
    assert legs.overflow == 2 * 450
    assert len(legs.take_changes(20).current) == 20
    assert len(legs.take_changes(1_000).current) == 30


@pytest.mark.parametrize("value", ["", "0", "-5", "abc", "9" * 40, "99999999999999999"])
def test_a_moment_that_is_none_becomes_the_present(value: str) -> None:
    legs = LiveLegs()
    apply(legs, "CHANNEL_CREATE", told("a", Caller_Channel_Created_Time=value))
    assert legs.take_changes(1).current[0].started_at == NOW


def registered(subclass: str, user: str = "1001", call_id: str = "call-1", **headers: str) -> Event:
    """An event of mod_sofia about a phone."""
    return Event(
        {
            "Event-Name": "CUSTOM",
            "Event-Subclass": f"sofia::{subclass}",
            "from-user": user,
            "from-host": "A.example",
            "user": user,
            "host": "a.example",
            "call-id": call_id,
            "contact": f"<sip:{user}@192.0.2.7:5061>",
            "status": "Registered(UDP)",
            "expires": "300",
            "network-ip": "192.0.2.7",
            "network-port": "5061",
            "user-agent": "Phone/1",
        }
        | headers
    )


LISTED = """
Registrations:
=================================================================================================
Call-ID:    \tcall-2
User:       \t1002@a.example
Contact:    \t"" <sip:1002@192.0.2.8:5071>
Agent:      \tPhone: the second
Status:     \tRegistered(TLS)(unknown) EXP(2026-07-01 12:05:00) EXPSECS(240)
Ping-Status:\tReachable
Ping-Time:\t0.00
Host:       \tfs-1
IP:         \t192.0.2.8
Port:       \t5071
Auth-User:  \t1002
Auth-Realm: \ta.example
MWI-Account:\t1002@a.example

Total items returned: 1
=================================================================================================
"""


def take(registrations: LiveRegistrations) -> tuple[list[str], list[str]]:
    """The addresses that are to be written, and those that are gone."""
    changes = registrations.take_changes(1_000)
    return [each.address for each in changes.current], [each.address for each in changes.gone]


def test_a_phone_registers_renews_moves_and_leaves() -> None:
    registrations = LiveRegistrations()
    for event in (registered("register"), registered("register"), registered("register", call_id="call-9")):
        registrations.apply(event, now=NOW, at_seconds=0)
    assert registrations.shown == {("1001@a.example", "call-9")}
    assert take(registrations) == (["1001@a.example"], ["1001@a.example"])
    registrations.apply(registered("unregister"), now=NOW, at_seconds=1)
    assert take(registrations) == ([], ["1001@a.example"])


def test_a_registration_that_expires_is_gone_and_another_of_the_same_phone_stays() -> None:
    registrations = LiveRegistrations()
    registrations.apply(registered("register", call_id="new"), now=NOW, at_seconds=0)
    registrations.apply(registered("expire", call_id="old"), now=NOW, at_seconds=1)
    assert len(registrations) == 1
    registrations.apply(registered("expire", call_id=""), now=NOW, at_seconds=1)
    assert len(registrations) == 0


def test_the_nodes_list_of_registrations_is_read_and_has_the_last_word() -> None:
    registrations = LiveRegistrations()
    registrations.apply(registered("register"), now=NOW, at_seconds=0)
    listed = read_listed(LISTED, now=NOW)
    assert listed is not None
    (second,) = listed
    assert (second.username, second.transport, second.network_port) == ("1002", "tls", 5071)
    assert (second.user_agent, second.expires_at) == ("Phone: the second", NOW + timedelta(seconds=240))
    registrations.compare(listed, asked_at_seconds=LATER, at_seconds=LATER)
    assert registrations.shown == {("1002@a.example", "call-2")}
    assert registrations.corrections == 2


@pytest.mark.parametrize("text", ["", "Invalid Profile!\n", LISTED.partition("Total")[0]])
def test_a_list_that_was_cut_changes_nothing(text: str) -> None:
    assert read_listed(text, now=NOW) is None


@pytest.mark.parametrize(
    "headers",
    [{"from-user": ""}, {"from-host": ""}, {"call-id": ""}, {"from-user": "10\x0001"}, {"call-id": "c" * 300}],
)
def test_a_registration_of_nobody_is_not_kept(headers: dict[str, str]) -> None:
    registrations = LiveRegistrations()
    registrations.apply(registered("register", **headers), now=NOW, at_seconds=0)
    assert len(registrations) == 0


def test_the_systems_own_canary_is_nobodys_phone() -> None:
    registrations = LiveRegistrations()
    registrations.apply(registered("sofia::register", user="canary"), now=NOW, at_seconds=0.0)
    assert (len(registrations), take(registrations)) == (0, ([], []))


def test_strange_values_of_a_registration_do_no_harm() -> None:
    registrations = LiveRegistrations()
    strange = {"expires": "9" * 50, "network-port": "70000", "contact": "a\x00b", "status": "?"}
    registrations.apply(registered("register", **strange), now=NOW, at_seconds=0)
    (kept,) = registrations.take_changes(1).current
    assert (kept.expires_at, kept.network_port, kept.contact, kept.transport) == (NOW, 0, "", "")


def test_registrations_keep_within_their_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registration_limits, "MAX_REGISTRATIONS", 20)
    registrations = LiveRegistrations()
    for number in range(100):
        registrations.apply(registered("register", f"{number}", f"call-{number}"), now=NOW, at_seconds=0)
    assert (len(registrations), registrations.overflow) == (20, 80)
