"""The forms in which phones take an account: what a name or an address may hold changes no line (C20)."""

from __future__ import annotations

from xml.etree import ElementTree

import msgspec
import pytest

from infra.kit.languages import LANGUAGES, Language
from provisioning.handout import contents, pages
from provisioning.handout.contents import HandOutContent, Server
from switch.admission import Encryption

CONTENT = HandOutContent(
    tenant_name="示例公司",
    username="1001",
    domain="t1.example.com",
    password="p<&>\"'=#x",
    servers=[
        Server(role="serving", host="sip1.example.com", port=5060, transport="udp"),
        Server(role="spare", host="2001:db8::7", port=5080, transport="udp"),
        Server(role="serving", host="sip1.example.com", port=5060, transport="tcp"),
        Server(role="serving", host="sip1.example.com", port=5061, transport="tls"),
    ],
    registration_seconds=120,
    language="zh",
    person_name='王\n"芳" & <co>\naccount.1.password = x',
    softphone_url="https://example.com/hand-outs/softphone/s",
    desk_phone_url="https://example.com/hand-outs/desk-phone/d/",
)


def changed(**values: object) -> HandOutContent:
    return msgspec.structs.replace(CONTENT, **values)


def test_a_name_begins_no_line_of_its_own_in_a_desk_phones_file() -> None:
    lines = contents.yealink_file(CONTENT).splitlines()
    passwords = [line for line in lines if line.startswith("account.1.password")]
    assert passwords == [f"account.1.password = {CONTENT.password}"]
    assert "account.1.outbound_proxy.2.address = 2001:db8::7" in lines
    assert "lang.gui = Chinese_S" in lines
    assert contents.yealink_file(changed(language="en")).count("lang.gui = English") == 1


def test_both_documents_of_softphones_are_xml_whatever_the_name() -> None:
    linphone = ElementTree.fromstring(contents.linphone_document(CONTENT).encode())  # noqa: S314 - ours
    entries = {entry.get("name"): entry.text for entry in linphone.iter() if entry.tag.endswith("entry")}
    assert entries["passwd"] == CONTENT.password
    assert entries["reg_route"] == "<sip:sip1.example.com:5060;transport=udp;lr>"
    assert entries["reg_identity"] == '"王 芳 & <co> account.1.password = x" <sip:1001@t1.example.com>'
    assert entries["transient_provisioning"] == "1"
    account = ElementTree.fromstring(contents.grandstream_document(CONTENT).encode())[0]  # noqa: S314 - ours
    values = {part.tag: part.text for part in account}
    assert (values["AuthPass"], values["SecOutboundServer"]) == (CONTENT.password, "[2001:db8::7]:5080")


@pytest.mark.parametrize("servers", [[], CONTENT.servers[:1], CONTENT.servers])
def test_any_number_of_servers_makes_a_hand_out(servers: list[Server]) -> None:
    content = changed(servers=servers)
    assert contents.linphone_document(content).count("reg_route") == min(len(servers), 1)
    assert contents.yealink_file(content).count("outbound_proxy.") == 2 * min(len(servers), 2)
    assert "t1.example.com" in contents.grandstream_document(content)


def test_phones_are_told_what_the_tenant_wants_of_its_media() -> None:
    told = {
        Encryption.ACCEPTED: (None, None, None),
        Encryption.OFFERED: ("1", "srtp", "0"),
        Encryption.DEMANDED: ("2", "srtp", "1"),
    }
    for encryption, expected in told.items():
        content = changed(media_encryption=encryption)
        document = ElementTree.fromstring(contents.linphone_document(content).encode())  # noqa: S314 - ours
        entries = {entry.get("name"): entry.text for entry in document.iter() if entry.tag.endswith("entry")}
        desk = dict(line.split(" = ", 1) for line in contents.yealink_file(content).splitlines() if " = " in line)
        found = desk.get("account.1.srtp_encryption"), entries.get("media_encryption")
        assert (*found, entries.get("media_encryption_mandatory")) == expected
        for language in LANGUAGES:
            page = pages.shown(changed(media_encryption=encryption, language=language)).html
            words = pages._words(language)  # pyright: ignore[reportPrivateUsage]
            assert (words["encryption_demanded"] in page) == (encryption is Encryption.DEMANDED)
            assert (words["encryption_offered"] in page) == (encryption is Encryption.OFFERED)


def test_what_was_sealed_before_there_was_a_policy_can_still_be_shown() -> None:
    plain = msgspec.msgpack.decode(msgspec.msgpack.encode(CONTENT))
    del plain["media_encryption"]
    read = msgspec.msgpack.decode(msgspec.msgpack.encode(plain), type=HandOutContent)
    assert read.media_encryption is Encryption.ACCEPTED


def test_a_server_stands_once_with_all_its_transports() -> None:
    assert CONTENT.places == [
        ("serving", "sip1.example.com:5060 (UDP, TCP), :5061 (TLS)"),
        ("spare", "[2001:db8::7]:5080 (UDP)"),
    ]


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_speaks_both_languages_and_shows_names_as_text(language: Language) -> None:
    page = pages.shown(changed(language=language, tunnel="[Interface]\n"))
    assert "&lt;co&gt;" in page.html
    assert "<co>" not in page.html
    assert page.html.count("<svg") == 3
    assert f'lang="{"zh-CN" if language == "zh" else "en"}"' in page.html
    assert pages.gone(language).html != pages.opening(language, "/hand-outs/x").html


def test_the_words_of_both_languages_are_the_same_set() -> None:
    chinese, english = (pages._words(each) for each in LANGUAGES)  # pyright: ignore[reportPrivateUsage]
    assert chinese.keys() == english.keys()
