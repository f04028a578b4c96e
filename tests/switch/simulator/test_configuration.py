"""Reading a FreeSWITCH configuration directory."""

from __future__ import annotations

from pathlib import Path

import pytest

from switch.simulator import settings
from switch.simulator.access import NetworkLists
from switch.simulator.node import SimulatedNode
from switch.simulator.xml_document import ConfigurationUnreadable, load_document, parse_xml
from switch.simulator.xml_lookup import configuration_named
from tests.switch.simulator.office import ESL_PASSWORD, write_configuration


def test_includes_variables_and_settings_are_read(tmp_path: Path) -> None:
    write_configuration(tmp_path / "node", office="http://127.0.0.1:9", carrier="127.0.0.1:5090")
    document = load_document(tmp_path / "node", log_directory=tmp_path)
    static = document.section("configuration")
    assert document.global_variables["office"] == "http://127.0.0.1:9"
    (binding,) = settings.xml_bindings(configuration_named(static, "xml_curl.conf"))
    assert binding.url == "http://127.0.0.1:9/xml"
    assert binding.sections == {"directory", "dialplan", "configuration"}
    assert binding.timeout_seconds == 5
    records = settings.call_records(configuration_named(static, "json_cdr.conf"), log_directory=tmp_path)
    assert records is not None
    assert records.urls == ("http://127.0.0.1:9/cdr",)
    assert (records.attempts, records.log_b_leg, records.encode_values) == (1, True, False)
    internal, external = settings.sofia_profiles(configuration_named(static, "sofia.conf"))
    assert (internal.name, internal.auth_calls, internal.context) == ("internal", True, "refused")
    assert external.gateways[0].proxy == "127.0.0.1:5090"
    assert settings.event_socket(configuration_named(static, "event_socket.conf")).password == ESL_PASSWORD


def test_secrets_never_show(tmp_path: Path) -> None:
    write_configuration(tmp_path / "node", office="http://127.0.0.1:9", carrier="127.0.0.1:5090")
    document = load_document(tmp_path / "node", log_directory=tmp_path)
    static = document.section("configuration")
    shown = [
        repr(settings.event_socket(configuration_named(static, "event_socket.conf"))),
        repr(settings.xml_bindings(configuration_named(static, "xml_curl.conf"))),
        repr(settings.call_records(configuration_named(static, "json_cdr.conf"), log_directory=tmp_path)),
    ]
    assert not any("s3cret" in text or ESL_PASSWORD in text for text in shown)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, "cannot be read"),
        ("<document>", "not well formed"),
        ('<X-PRE-PROCESS cmd="include" data="freeswitch.xml"/>', "include each other"),
    ],
)
def test_a_broken_directory_is_named(tmp_path: Path, text: str | None, expected: str) -> None:
    if text is not None:
        (tmp_path / "freeswitch.xml").write_text(text)
    with pytest.raises(ConfigurationUnreadable, match=expected):
        SimulatedNode.from_configuration(tmp_path)


def test_the_most_specific_network_decides() -> None:
    lists = NetworkLists(
        parse_xml(
            '<configuration><network-lists><list name="carriers" default="deny">'
            '<node type="allow" cidr="10.0.0.0/8"/><node type="deny" cidr="10.1.0.0/16"/>'
            "</list></network-lists></configuration>"
        )
    )
    assert lists.allows(("carriers",), "10.2.3.4")
    assert not lists.allows(("carriers",), "10.1.3.4")
    assert not lists.allows(("carriers",), "192.0.2.1")
    assert lists.allows(("unknown", "192.0.2.0/24"), "192.0.2.1")
    assert not lists.allows(("unknown",), "192.0.2.1")
