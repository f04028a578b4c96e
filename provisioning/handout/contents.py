"""What a hand-out says, and the forms in which phones take it. Pure.

- Linphone: its remote provisioning document (XML of `section` and `entry`, keys of the linphonerc).
- Grandstream Wave and those that read its QR code: `AccountConfig`, the account itself in the code.
- Yealink desk phones: `parameter = value` lines, as in `y0000000000xx.cfg`.
"""

from __future__ import annotations

from collections.abc import Mapping
from xml.etree import ElementTree

import msgspec

from infra.kit.languages import Language
from provisioning.rules.tunnel_documents import OWN_KEY_LINE
from switch.admission import Encryption
from switch.sip.uri import format_host

LINPHONE_NAMESPACE = "http://www.linphone.org/xsds/lpconfig.xsd"
YEALINK_TRANSPORTS: Mapping[str, int] = {"udp": 0, "tcp": 1, "tls": 2}
YEALINK_LANGUAGES: Mapping[Language, str] = {"zh": "Chinese_S", "en": "English"}
YEALINK_ENCRYPTION: Mapping[Encryption, int] = {Encryption.OFFERED: 1, Encryption.DEMANDED: 2}
"""Its words for SRTP: optional, compulsory; while the tenant asks for nothing the phone keeps its own."""

YEALINK_PROXIES = 2
"""How many outbound proxies one of its accounts takes."""

GRANDSTREAM_PROXIES = 2


class Server(msgspec.Struct, kw_only=True, frozen=True):
    """Where a phone registers; several in the order in which to try them."""

    role: str
    host: str
    port: int
    transport: str


class HandOutContent(msgspec.Struct, kw_only=True, frozen=True):
    """Everything that the user of a seat is given. It is never kept but sealed."""

    tenant_name: str
    username: str
    domain: str
    password: str
    servers: list[Server]
    registration_seconds: int
    language: Language
    seat_name: str | None = None
    person_name: str | None = None
    softphone_url: str
    desk_phone_url: str
    tunnel: str | None = None
    media_encryption: Encryption = Encryption.ACCEPTED

    @property
    def has_tunnel_key(self) -> bool:
        """Whether the tunnel's configuration is whole; the user adds a key of the tenant's own by hand."""
        return self.tunnel is not None and OWN_KEY_LINE not in self.tunnel

    @property
    def proxies(self) -> list[Server]:
        """The servers in order, over the transport that comes first: a phone's account has one transport."""
        return [each for each in self.servers if each.transport == self.servers[0].transport]

    @property
    def places(self) -> list[tuple[str, str]]:
        """Role and address of each server once, with its transports: `a.example.com:5060 (UDP, TCP), :5061 (TLS)`."""
        ports: dict[tuple[str, str], dict[int, list[str]]] = {}
        for each in self.servers:
            of_host = ports.setdefault((each.role, each.host), {})
            of_host.setdefault(each.port, []).append(each.transport.upper())
        return [
            (role, format_host(host) + ", ".join(f":{port} ({', '.join(by)})" for port, by in of_host.items()))
            for (role, host), of_host in ports.items()
        ]

    @property
    def label(self) -> str:
        """What a phone shows for the account: the extension, and who sits there."""
        return " ".join(part for part in (self.username, one_line(self.shown_name)) if part)

    @property
    def shown_name(self) -> str:
        """Who sits there; empty when nobody said."""
        return self.person_name or self.seat_name or ""


def one_line(text: str) -> str:
    """A text without line breaks and control characters, which would begin a line of their own in a phone's file."""
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())


def linphone_document(content: HandOutContent) -> str:
    """Linphone's remote provisioning: the account, sent to the first server; fetched once, not at every start."""
    address, domain = f"{content.username}@{content.domain}", content.domain
    transport = content.servers[0].transport if content.servers else "udp"
    name = one_line(content.shown_name).replace("\\", "").replace('"', "")
    proxy = {
        "reg_proxy": f"<sip:{domain};transport={transport}>",
        "reg_identity": f'"{name}" <sip:{address}>' if name else f"<sip:{address}>",
        "realm": domain,
        "reg_expires": str(content.registration_seconds),
        "reg_sendregister": "1",
        "publish": "0",
    }
    if content.servers:
        first = content.servers[0]
        proxy["reg_route"] = f"<sip:{format_host(first.host)}:{first.port};transport={first.transport};lr>"
    account = {
        "username": content.username,
        "userid": content.username,
        "passwd": content.password,
        "realm": domain,
        "domain": domain,
    }
    general = {"default_proxy": "0"}
    if content.media_encryption is not Encryption.ACCEPTED:
        demanded = content.media_encryption is Encryption.DEMANDED
        general |= {"media_encryption": "srtp", "media_encryption_mandatory": "1" if demanded else "0"}
    sections = {
        "sip": general,
        "misc": {"transient_provisioning": "1"},
        "proxy_0": proxy,
        "auth_info_0": account,
    }
    root = ElementTree.Element("config", xmlns=LINPHONE_NAMESPACE)
    for section, entries in sections.items():
        element = ElementTree.SubElement(root, "section", name=section)
        for key, value in entries.items():
            ElementTree.SubElement(element, "entry", name=key, overwrite="true").text = value
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def grandstream_document(content: HandOutContent) -> str:
    """The account as Grandstream Wave reads it from a QR code; it holds the password, so the code is a secret.

    The form has no word for transport and encryption: the page tells what to set by hand where they are demanded.
    """
    proxies = [f"{format_host(each.host)}:{each.port}" for each in content.proxies[:GRANDSTREAM_PROXIES]]
    proxies += [""] * (GRANDSTREAM_PROXIES - len(proxies))
    parts = {
        "RegisterServer": content.domain,
        "OutboundServer": proxies[0],
        "SecOutboundServer": proxies[1],
        "UserID": content.username,
        "AuthID": content.username,
        "AuthPass": content.password,
        "AccountName": content.username,
        "DisplayName": one_line(content.shown_name) or content.username,
    }
    root = ElementTree.Element("AccountConfig", version="1")
    account = ElementTree.SubElement(root, "Account")
    for name, value in parts.items():
        ElementTree.SubElement(account, name).text = value
    document = ElementTree.tostring(root, encoding="unicode", short_empty_elements=False)
    return '<?xml version="1.0" encoding="utf-8"?>' + document


def yealink_file(content: HandOutContent) -> str:
    """A Yealink phone's file: account 1, its proxies in order, the clock of China."""
    lines = {
        "account.1.enable": 1,
        "account.1.label": content.label,
        "account.1.display_name": one_line(content.shown_name) or content.username,
        "account.1.user_name": content.username,
        "account.1.auth_name": content.username,
        "account.1.password": content.password,
        "account.1.sip_server.1.address": content.domain,
        "account.1.sip_server.1.expires": content.registration_seconds,
    }
    if content.servers:
        first = content.servers[0]
        lines["account.1.sip_server.1.port"] = first.port
        lines["account.1.sip_server.1.transport_type"] = YEALINK_TRANSPORTS[first.transport]
        lines["account.1.outbound_proxy_enable"] = 1
    for number, server in enumerate(content.proxies[:YEALINK_PROXIES], start=1):
        lines[f"account.1.outbound_proxy.{number}.address"] = server.host
        lines[f"account.1.outbound_proxy.{number}.port"] = server.port
    if content.media_encryption in YEALINK_ENCRYPTION:
        lines["account.1.srtp_encryption"] = YEALINK_ENCRYPTION[content.media_encryption]
    lines |= {
        "account.1.nat.rport": 1,
        "lang.gui": YEALINK_LANGUAGES[content.language],
        "local_time.time_zone": "+8",
    }
    return "#!version:1.0.0.1\n" + "".join(f"{name} = {value}\n" for name, value in lines.items())
