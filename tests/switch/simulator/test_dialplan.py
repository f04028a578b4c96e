"""The dialplan interpreter, variable expansion, dial strings and hang-up causes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switch.simulator import causes
from switch.simulator.dial_string import DialStringRefused, parse_dial_string
from switch.simulator.dialplan import Action, expand, find_context, hunt
from switch.simulator.xml_document import parse_xml

CONTEXT = parse_xml(
    """<section name="dialplan"><context name="seats">
    <extension name="tagged" continue="true"><condition field="destination_number" expression="^1">
      <action application="set" data="seen=yes"/></condition></extension>
    <extension name="never"><condition field="destination_number" expression="^1"/>
      <condition field="caller_id_number" expression="^9"><action application="hangup"/></condition></extension>
    <extension name="seat"><condition field="${user_context}" expression="^seats$"/>
      <condition field="destination_number" expression="^(1)(\\d+)$">
        <action application="bridge" data="user/$1-$2@${domain_name}"/>
        <anti-action application="respond" data="404"/></condition></extension>
    <extension name="later"><condition><action application="hangup"/></condition></extension>
    </context></section>"""
)


def lookup(name: str) -> str | None:
    """Variables of a call to 1002."""
    return {
        "destination_number": "1002",
        "caller_id_number": "1001",
        "user_context": "seats",
        "domain_name": "tenant.example",
        "which": "domain_name",
    }.get(name)


def test_the_first_extension_that_matches_takes_the_call() -> None:
    context = find_context(CONTEXT, "seats")
    assert context is not None
    extensions = hunt(context, lookup)
    assert [extension.name for extension in extensions] == ["tagged", "seat"]
    assert extensions[0].actions == (Action("set", "seen=yes"),)
    assert extensions[1].actions == (Action("bridge", "user/1-002@${domain_name}"),)
    assert find_context(CONTEXT, "elsewhere") is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("user/1002@${domain_name}", "user/1002@tenant.example"),
        ("${destination_number:1}", "002"),
        ("${destination_number:0:2}", "10"),
        ("${destination_number:-2}", "02"),
        ("${${which}}", "tenant.example"),
        ("a${nothing}b", "ab"),
        ("${open", "${open"),
    ],
)
def test_variables_are_expanded(text: str, expected: str) -> None:
    assert expand(text, lookup) == expected


def test_values_are_never_expanded_again() -> None:
    assert expand("${a}", {"a": "${b}", "b": "secret"}.get) == "${b}"


def test_a_dial_string_is_taken_apart() -> None:
    dial = parse_dial_string(
        "{a=1,b='x,y',c=p\\,q}[leg=seat]user/1@t,[leg=gateway,d='v|w']sofia/gateway/g/2|sofia/external/3@h"
    )
    assert dial.variables == {"a": "1", "b": "x,y", "c": "p,q"}
    assert [[target.address for target in attempt] for attempt in dial.attempts] == [
        ["user/1@t", "sofia/gateway/g/2"],
        ["sofia/external/3@h"],
    ]
    assert dial.attempts[0][1].variables == {"leg": "gateway", "d": "v|w"}
    assert parse_dial_string("{^^:a=1,2:b=3}user/1@t").variables == {"a": "1,2", "b": "3"}


@pytest.mark.parametrize("text", ["{a=1", "[x=1", "," * 20 + ",".join(["user/1"] * 65), "x" * 20_000])
def test_a_hopeless_dial_string_is_refused(text: str) -> None:
    with pytest.raises(DialStringRefused):
        parse_dial_string(text)


@given(st.text(alphabet="{}[]<>,|'\\^=$abc/@", max_size=60))
def test_any_dial_string_is_taken_or_refused(text: str) -> None:
    try:
        parse_dial_string(text)
    except DialStringRefused:
        return


@given(st.text(alphabet="${}:ab-1", max_size=60))
def test_expanding_always_ends(text: str) -> None:
    assert isinstance(expand(text, {"a": "1", "b": "${a}"}.get), str)


def test_causes_are_mapped_as_mod_sofia_maps_them() -> None:
    assert causes.to_sip("USER_NOT_REGISTERED") == 480
    assert causes.to_sip("CALL_REJECTED") == 603
    assert causes.from_sip(486) == "USER_BUSY"
    assert causes.from_sip(599) == "NORMAL_UNSPECIFIED"
    assert causes.named("503") == "NORMAL_CLEARING"
    assert causes.named("703") == "MANAGER_REQUEST"
    assert causes.named("nonsense") == "NORMAL_CLEARING"
    assert causes.q850("MANAGER_REQUEST") == 16
