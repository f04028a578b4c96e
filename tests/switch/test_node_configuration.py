"""The configuration directory of a node, as FreeSWITCH would read it."""

from __future__ import annotations

import re
import stat
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from switch.directory import WANTED_FIELDS
from switch.documents.sofia import access_lists, sofia_configuration
from switch.node_configuration import (
    DirectoryRefused,
    Gateway,
    NodeConfiguration,
    SettingRefused,
    all_records_directory,
    failed_records_directory,
    write_node_configuration,
)

SECRET = "s3cr$${x}et&<\">'"


@pytest.fixture
def settings(tmp_path: Path) -> NodeConfiguration:
    return NodeConfiguration(
        name="node-1",
        api_url="http://127.0.0.1:8000/",
        node_secret=SECRET,
        esl_host="127.0.0.1",
        esl_port=8021,
        esl_password="p&w",
        sip_ip="127.0.0.1",
        sip_port=5060,
        external_sip_port=5080,
        rtp_start_port=20000,
        rtp_end_port=21000,
        spool_directory=tmp_path / "spool",
        gateways=(Gateway("carrier", "192.0.2.10"), Gateway("spare", "192.0.2.11", 5070)),
    )


def preprocess(path: Path, variables: dict[str, str]) -> list[str]:
    """What FreeSWITCH's preprocessor makes of a file (switch_xml.c `preprocess`)."""
    lines: list[str] = []
    for raw in path.read_text(encoding="utf-8").splitlines():
        line = re.sub(r"\$\$\{([^}]*)\}", lambda match: variables.get(match.group(1), ""), raw)
        if re.search(r"</?include>|<\?", line):
            continue
        command = re.fullmatch(r'\s*<X-PRE-PROCESS cmd="(\w+)" data="([^"]*)"/>\s*', line)
        if command is None:
            assert "X-PRE-PROCESS" not in line
            lines.append(line)
        elif command[1] == "set":
            name, _, value = command[2].partition("=")
            variables[name] = value
        else:
            for included in sorted(path.parent.glob(command[2])):
                lines.extend(preprocess(included, variables))
    return lines


def read(directory: Path) -> tuple[ET.Element, dict[str, str]]:
    variables: dict[str, str] = {"x": "EXPANDED"}
    text = "\n".join(preprocess(directory / "freeswitch.xml", variables))
    return ET.fromstring(text), variables  # noqa: S314  (our own rendering)


def configured(root: ET.Element, name: str) -> ET.Element:
    return next(item for item in root.iter("configuration") if item.get("name") == name)


def params(root: ET.Element, name: str) -> dict[str, str]:
    return {item.get("name", ""): item.get("value", "") for item in configured(root, name).iter("param")}


def test_the_directory_is_one_document_with_all_that_a_node_needs(settings: NodeConfiguration, tmp_path: Path) -> None:
    written = write_node_configuration(settings, tmp_path / "conf")
    assert written[-1] == tmp_path / "conf" / "freeswitch.xml"
    root, variables = read(tmp_path / "conf")
    assert {item.get("name") for item in root.iter("section")} == {"configuration", "dialplan", "directory", "channels"}
    modules = [item.get("module") for item in root.iter("load")]
    assert {"mod_sofia", "mod_xml_curl", "mod_json_cdr", "mod_event_socket", "mod_dialplan_xml"} <= set(modules)
    assert modules.index("mod_xml_curl") < modules.index("mod_sofia")
    assert variables["disable_system_api_commands"] == "true"


def test_there_are_no_static_accounts(settings: NodeConfiguration, tmp_path: Path) -> None:
    write_node_configuration(settings, tmp_path / "conf")
    root, _ = read(tmp_path / "conf")
    directory = next(item for item in root.iter("section") if item.get("name") == "directory")
    assert list(directory) == []
    assert not list(root.iter("user"))


def test_the_node_asks_the_api_with_its_own_name_and_secret(settings: NodeConfiguration, tmp_path: Path) -> None:
    write_node_configuration(settings, tmp_path / "conf")
    root, _ = read(tmp_path / "conf")
    bindings = list(configured(root, "xml_curl.conf").iter("binding"))
    urls = {item.get("bindings"): item.get("value") for binding in bindings for item in binding if item.get("bindings")}
    assert urls == {
        section: f"http://127.0.0.1:8000/switch/{section}" for section in ("directory", "dialplan", "configuration")
    }
    curl, records = params(root, "xml_curl.conf"), params(root, "json_cdr.conf")
    assert curl["gateway-credentials"] == records["cred"] == f"node-1:{SECRET}"
    assert int(curl["timeout"]) > 0
    assert int(records["timeout"]) > 0
    assert records["url"] == "http://127.0.0.1:8000/switch/cdr"
    assert records["err-log-dir"] == str(failed_records_directory(settings.spool_directory))
    assert records["log-dir"] == str(all_records_directory(settings.spool_directory))
    assert records["log-b-leg"] == "true"
    assert not {"queue-capacity", "disable-100-continue"} & records.keys()
    assert failed_records_directory(settings.spool_directory).is_dir()


def test_certificates_are_checked_where_there_are_any(settings: NodeConfiguration, tmp_path: Path) -> None:
    write_node_configuration(replace(settings, api_url="https://api.example"), tmp_path / "conf")
    root, _ = read(tmp_path / "conf")
    for name in ("xml_curl.conf", "json_cdr.conf"):
        assert params(root, name)["enable-cacert-check"] == "true"
        assert params(root, name)["enable-ssl-verifyhost"] == "true"


def test_an_authority_of_our_own_vouches_for_the_api_where_one_is_named(
    settings: NodeConfiguration, tmp_path: Path
) -> None:
    secured = replace(settings, api_url="https://api.example", api_ca_file=Path("/etc/seatline/ca.pem"))
    write_node_configuration(secured, tmp_path / "conf")
    root, _ = read(tmp_path / "conf")
    for name in ("xml_curl.conf", "json_cdr.conf"):
        assert params(root, name)["ssl-cacert-file"] == "/etc/seatline/ca.pem"


def internal(root: ET.Element) -> dict[str | None, str | None]:
    profile = next(item for item in configured(root, "sofia.conf").iter("profile") if item.get("name") == "internal")
    return {item.get("name"): item.get("value") for item in profile.iterfind("settings/param")}


def test_phones_may_register_over_tls_where_there_is_a_port_for_it(settings: NodeConfiguration, tmp_path: Path) -> None:
    secured = replace(settings, sip_tls_port=5061, sip_tls_directory=Path("/etc/seatline/tls"))
    write_node_configuration(secured, tmp_path / "conf")
    root, variables = read(tmp_path / "conf")
    profile = internal(root)
    assert (profile["tls"], profile["tls-sip-port"], profile["tls-cert-dir"]) == ("true", "5061", "/etc/seatline/tls")
    assert profile["tls-version"] == "tlsv1.2,tlsv1.3"
    assert variables["seatline_sip_tls"] == "true"
    # What is answered while the node runs knows neither port nor path: it leaves them to the node's own files.
    assert sofia_configuration(secured) == sofia_configuration(settings)


def test_without_a_port_for_it_there_is_no_tls(settings: NodeConfiguration, tmp_path: Path) -> None:
    write_node_configuration(settings, tmp_path / "conf")
    profile = internal(read(tmp_path / "conf")[0])
    assert (profile["tls"], profile["tls-sip-port"]) == ("false", "")


def test_a_node_posts_of_a_lookup_exactly_what_the_directory_reads(settings: NodeConfiguration, tmp_path: Path) -> None:
    write_node_configuration(settings, tmp_path / "conf")
    root, _ = read(tmp_path / "conf")
    posted = {
        binding.get("name"): {
            item.get("value", "").encode() for item in binding if item.get("name") == "enable-post-var"
        }
        for binding in configured(root, "xml_curl.conf").iter("binding")
    }
    assert posted == {"directory": WANTED_FIELDS, "dialplan": set(), "configuration": set()}


def test_ports_limits_and_addresses_are_the_settings(settings: NodeConfiguration, tmp_path: Path) -> None:
    write_node_configuration(replace(settings, rtp_timeout_seconds=90), tmp_path / "conf")
    root, _ = read(tmp_path / "conf")
    switch = params(root, "switch.conf")
    assert (switch["rtp-start-port"], switch["rtp-end-port"]) == ("20000", "21000")
    assert (switch["max-sessions"], switch["sessions-per-second"]) == ("5000", "200")
    assert switch["api-expansion"] == "false"
    socket = params(root, "event_socket.conf")
    assert (socket["listen-ip"], socket["listen-port"], socket["password"]) == ("127.0.0.1", "8021", "p&w")
    profiles = {
        profile.get("name"): {item.get("name"): item.get("value") for item in profile.iterfind("settings/param")}
        for profile in configured(root, "sofia.conf").iter("profile")
    }
    internal, external = profiles["internal"], profiles["external"]
    assert (internal["sip-port"], internal["auth-calls"], internal["context"]) == ("5060", "true", "refused")
    assert (external["sip-port"], external["auth-calls"], external["context"]) == ("5080", "false", "public")
    assert external["apply-inbound-acl"] == "gateways"
    assert external["disable-register"] == "true"
    assert internal["rtp-timeout-sec"] == "90"
    assert "force-register-domain" not in internal


def test_who_commands_a_node_stands_in_its_own_file_and_who_calls_in_in_a_list(
    settings: NodeConfiguration, tmp_path: Path
) -> None:
    control = ("127.0.0.0/8", "::1/128", "10.1.2.3")
    write_node_configuration(replace(settings, control_networks=control), tmp_path / "conf")
    root, _ = read(tmp_path / "conf")
    socket = configured(root, "event_socket.conf")
    admitted = [item.get("value") for item in socket.iter("param") if item.get("name") == "apply-inbound-acl"]
    assert admitted == ["127.0.0.0/8", "10.1.2.3/32"], "of the address family that it listens in"
    lists = {
        item.get("name"): [node.get("cidr") for node in item] for item in configured(root, "acl.conf").iter("list")
    }
    assert lists == {"gateways": ["192.0.2.10/32", "192.0.2.11/32"]}


def test_by_default_no_call_is_cut_for_want_of_media(settings: NodeConfiguration, tmp_path: Path) -> None:
    write_node_configuration(settings, tmp_path / "conf")
    assert "rtp-timeout-sec" not in (tmp_path / "conf/autoload_configs/sofia.conf.xml").read_text(encoding="utf-8")


def test_the_files_and_the_answers_while_it_runs_say_the_same(settings: NodeConfiguration, tmp_path: Path) -> None:
    write_node_configuration(settings, tmp_path / "conf")
    root, variables = read(tmp_path / "conf")
    for element in (sofia_configuration(settings), access_lists(settings)):
        name = dict(element.attributes)["name"]
        static = ET.tostring(configured(root, name), encoding="unicode").split()
        text = re.sub(r"\$\$\{([^}]*)\}", lambda match: variables[match[1]], "\n".join(element.lines()))
        answered = ET.fromstring(text)  # noqa: S314  (our own rendering)
        assert static == ET.tostring(answered, encoding="unicode").split()


def test_a_call_that_is_in_the_emergency_context_finds_a_gateway_without_the_api_and_no_other_call_does(
    settings: NodeConfiguration, tmp_path: Path
) -> None:
    write_node_configuration(settings, tmp_path / "conf")
    root, _ = read(tmp_path / "conf")
    contexts = {item.get("name"): item for item in root.iter("context")}
    assert set(contexts) == {"emergency", "global", "refused"}
    bridges = [item.get("data", "") for item in root.iter("action") if item.get("application") == "bridge"]
    assert len(bridges) == 4
    assert all("sofia/gateway/carrier/" in data and "sofia/gateway/spare/" in data for data in bridges)
    assert not any("seatline_service" in data for data in bridges)


@pytest.mark.parametrize("context", ["global", "emergency"])
def test_without_the_api_every_other_call_is_refused_for_the_moment_and_says_why(
    settings: NodeConfiguration, tmp_path: Path, context: str
) -> None:
    write_node_configuration(settings, tmp_path / "conf")
    root, _ = read(tmp_path / "conf")
    found = next(item for item in root.iter("context") if item.get("name") == context)
    away = list(found)[-1]
    assert [(item.get("application"), item.get("data")) for item in away.iter("action")] == [
        ("set", "seatline_refusal=switch_away"),
        ("respond", "503 Service Unavailable"),
        ("hangup", "NORMAL_TEMPORARY_FAILURE"),
    ]


def test_files_with_secrets_are_the_owners_alone(settings: NodeConfiguration, tmp_path: Path) -> None:
    for path in write_node_configuration(settings, tmp_path / "conf"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_secrets_do_not_show_in_a_repr(settings: NodeConfiguration) -> None:
    shown = repr(replace(settings, gateways=(Gateway("c", "192.0.2.1", username="u", password="hidden"),)))
    assert SECRET not in shown
    assert "p&w" not in shown
    assert "hidden" not in shown


def test_rewriting_our_own_directory_replaces_our_files_and_leaves_the_rest(
    settings: NodeConfiguration, tmp_path: Path
) -> None:
    conf = tmp_path / "conf"
    write_node_configuration(settings, conf)
    (conf / "log").mkdir()
    (conf / "log" / "freeswitch.log").write_text("kept")
    write_node_configuration(replace(settings, esl_port=8099, gateways=()), conf)
    root, _ = read(conf)
    assert params(root, "event_socket.conf")["listen-port"] == "8099"
    assert (conf / "log" / "freeswitch.log").read_text() == "kept"
    assert not list(conf.rglob("*.new"))
    assert not [item for item in root.iter("action") if item.get("application") == "bridge"]


def test_a_file_that_is_no_longer_needed_goes(settings: NodeConfiguration, tmp_path: Path) -> None:
    conf = tmp_path / "conf"
    write_node_configuration(settings, conf)
    marker = conf / "seatline-node.json"
    marker.write_text(marker.read_text().replace('"vars.xml"', '"vars.xml", "dialplan/old.xml", "../outside"'))
    (conf / "dialplan" / "old.xml").write_text("<old/>")
    (tmp_path / "outside").write_text("not ours")
    write_node_configuration(settings, conf)
    assert not (conf / "dialplan" / "old.xml").exists()
    assert (tmp_path / "outside").exists()


def test_a_foreign_directory_is_left_alone(settings: NodeConfiguration, tmp_path: Path) -> None:
    foreign = tmp_path / "etc"
    foreign.mkdir()
    (foreign / "freeswitch.xml").write_text("theirs")
    with pytest.raises(DirectoryRefused, match="was not written by seatline"):
        write_node_configuration(settings, foreign)
    assert (foreign / "freeswitch.xml").read_text() == "theirs"
    (tmp_path / "file").write_text("")
    with pytest.raises(DirectoryRefused, match="not a directory"):
        write_node_configuration(settings, tmp_path / "file")


def test_another_nodes_directory_and_a_damaged_marker_are_refused(settings: NodeConfiguration, tmp_path: Path) -> None:
    conf = tmp_path / "conf"
    write_node_configuration(settings, conf)
    with pytest.raises(DirectoryRefused, match="belongs to the node 'node-1'"):
        write_node_configuration(replace(settings, name="node-2"), conf)
    (conf / "seatline-node.json").write_text("{")
    with pytest.raises(DirectoryRefused, match="unreadable"):
        write_node_configuration(settings, conf)


def test_an_empty_directory_is_welcome(settings: NodeConfiguration, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert write_node_configuration(settings, tmp_path / "empty")


@pytest.mark.parametrize(
    ("changes", "setting"),
    [
        ({"name": "node 1"}, "name"),
        ({"name": "a:b"}, "name"),
        ({"api_url": "ftp://api"}, "api_url"),
        ({"api_url": "http://user:pass@api"}, "api_url"),
        ({"node_secret": ""}, "node_secret"),
        ({"node_secret": "a\nb"}, "node_secret"),
        ({"esl_host": "localhost"}, "esl_host"),
        ({"sip_ip": "0.0.0.0"}, "sip_ip"),  # noqa: S104
        ({"sip_port": 0}, "sip_port"),
        ({"sip_port": 5080}, "external_sip_port"),
        ({"rtp_end_port": 20000}, "rtp_end_port"),
        ({"spool_directory": Path("spool")}, "spool_directory"),
        ({"control_networks": ("everybody",)}, "control_networks"),
        ({"api_ca_file": Path("/ca.pem")}, "api_ca_file"),
        ({"api_url": "https://api", "api_ca_file": Path("ca.pem")}, "api_ca_file"),
        ({"sip_tls_port": 5061}, "sip_tls_directory"),
        ({"sip_tls_port": 5061, "sip_tls_directory": Path('/a"b')}, "sip_tls_directory"),
        ({"sip_tls_port": 5060, "sip_tls_directory": Path("/tls")}, "sip_tls_port"),
        ({"sip_tls_port": 70000, "sip_tls_directory": Path("/tls")}, "sip_tls_port"),
        ({"max_sessions": 0}, "max_sessions"),
        ({"rtp_timeout_seconds": -1}, "rtp_timeout_seconds"),
        ({"gateways": (Gateway("c", "192.0.2.1"), Gateway("c", "192.0.2.2"))}, "gateways"),
    ],
)
def test_a_setting_that_cannot_work_is_refused_by_name(
    settings: NodeConfiguration, changes: dict[str, object], setting: str
) -> None:
    with pytest.raises(SettingRefused) as refused:
        replace(settings, **changes)  # pyright: ignore[reportArgumentType]
    assert refused.value.setting == setting
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "a/b", "host": "192.0.2.1"},
        {"name": "c", "host": "bad host"},
        {"name": "c", "host": "192.0.2.1", "port": 70000},
        {"name": "c", "host": "sip.example"},
        {"name": "c", "host": "192.0.2.1", "sources": ("x",)},
        {"name": "c", "host": "192.0.2.1", "register": True},
    ],
)
def test_a_gateway_that_cannot_work_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(SettingRefused, match="gateway"):
        Gateway(**fields)  # pyright: ignore[reportArgumentType]
