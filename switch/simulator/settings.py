"""What a node is told by its configuration: typed values read from the static XML tree.

Names, defaults and units are those of FreeSWITCH 1.11 (the file of each module is named at its reader).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from switch.simulator.xml_document import ConfigurationUnreadable

USER_AGENT = "FreeSWITCH-mod_sofia/1.11.2-release+git~20260809T162310Z~3f13ad1b1d~64bit"

DEFAULT_TLS_PORT = 5061

_TRUE = frozenset({"yes", "on", "true", "t", "enabled", "active", "allow"})
_SECTIONS = ("directory", "dialplan", "configuration")


@dataclass(frozen=True)
class EventSocketSettings:
    """`event_socket.conf`: where the event socket listens. The password stays out of every repr."""

    listen_ip: str
    listen_port: int
    password: str
    inbound_acl: tuple[str, ...]

    def __repr__(self) -> str:
        return f"EventSocketSettings({self.listen_ip}:{self.listen_port})"


@dataclass(frozen=True)
class XmlBinding:
    """One binding of `xml_curl.conf`: which sections are asked for at which address."""

    url: str
    sections: frozenset[str]
    user: str
    password: str
    timeout_seconds: float | None
    verify_certificate: bool
    authority_file: str = ""
    """Who vouches for the certificate; by default whoever is trusted anyway."""

    def __repr__(self) -> str:
        return f"XmlBinding({self.url}, {sorted(self.sections)})"


@dataclass(frozen=True)
class CallRecordSettings:
    """`json_cdr.conf`: where call records go. `attempts` already counts the first one (retries + 1)."""

    urls: tuple[str, ...]
    user: str
    password: str
    attempts: int
    delay_seconds: float
    timeout_seconds: float | None
    log_directory: Path | None
    error_directories: tuple[Path, ...]
    log_b_leg: bool
    prefix_a_leg: bool
    log_http_and_disk: bool
    log_errors_to_disk: bool
    encode_body: bool
    encode_values: bool
    verify_certificate: bool
    authority_file: str

    def __repr__(self) -> str:
        return f"CallRecordSettings({self.urls}, attempts={self.attempts})"


@dataclass(frozen=True)
class GatewaySettings:
    """One `<gateway>` of a profile."""

    name: str
    profile: str
    proxy: str
    realm: str
    username: str
    password: str
    from_user: str
    register: bool
    caller_id_in_from: bool
    ping_seconds: int = 0
    expires_seconds: int = 3600
    retry_seconds: int = 30

    @property
    def signs_in(self) -> bool:
        """Whether it registers at its carrier; mod_sofia takes none that is to and has no password."""
        return self.register and bool(self.password)

    def __repr__(self) -> str:
        return f"GatewaySettings({self.profile}::{self.name}, {self.proxy})"


@dataclass(frozen=True)
class TlsSettings:
    """Where a profile takes SIP over TLS, and the folder with `agent.pem` that it shows there."""

    port: int
    directory: Path
    versions: tuple[str, ...]
    ciphers: str


@dataclass(frozen=True)
class ProfileSettings:
    """One `<profile>` of `sofia.conf`."""

    name: str
    sip_ip: str
    sip_port: int
    context: str
    auth_calls: bool
    inbound_acl: tuple[str, ...]
    challenge_realm: str
    matching_username_only: bool
    registering_disabled: bool
    user_agent: str
    options_unavailable_when_busy: bool
    manages_presence: bool
    reads_all_domains: bool
    negotiates_late: bool
    max_registration_seconds: int
    asks_before_transfers_elsewhere: bool
    tls: TlsSettings | None
    gateways: tuple[GatewaySettings, ...]


@dataclass(frozen=True)
class SwitchLimits:
    """`switch.conf`: how many sessions at once, how many new ones a second, and how often the heart beats."""

    max_sessions: int
    sessions_per_second: int
    heartbeat_seconds: float
    switch_name: str
    api_expansion: bool


def is_true(value: str | None) -> bool:
    """FreeSWITCH's `switch_true`: the usual words, or any number but zero."""
    text = (value or "").strip().lower()
    return text in _TRUE or (text.lstrip("-").isdigit() and int(text) != 0)


def parameters(element: ElementTree.Element | None, *, tag: str = "param") -> list[tuple[str, str]]:
    """Name and value of every `<param>` below an element (and below its `<settings>`), in order."""
    if element is None:
        return []
    return [(item.get("name", ""), item.get("value", "")) for item in element.iter(tag)]


def event_socket(configuration: ElementTree.Element | None) -> EventSocketSettings:
    """Read `event_socket.conf` (mod_event_socket.c); FreeSWITCH's defaults where nothing is said."""
    values = dict(parameters(configuration))
    listen_ip = values.get("listen-ip", "127.0.0.1")
    return EventSocketSettings(
        "127.0.0.1" if listen_ip == "localhost" else listen_ip,
        _number(values, "listen-port", 8021),
        values.get("password", "ClueCon"),
        _all(configuration, "apply-inbound-acl"),
    )


def xml_bindings(configuration: ElementTree.Element | None) -> tuple[XmlBinding, ...]:
    """Read `xml_curl.conf` (mod_xml_curl.c); a binding without an address is left out, as there."""
    if configuration is None:
        return ()
    bindings: list[XmlBinding] = []
    for element in configuration.iter("binding"):
        url, sections, user, password, authority_file = "", frozenset(_SECTIONS), "", "", ""
        timeout_seconds: float | None = None
        verify = False
        for param in element.iter("param"):
            name, value = param.get("name", ""), param.get("value", "")
            if name == "gateway-url":
                url = value
                named = param.get("bindings")
                if named:
                    sections = frozenset(part.strip() for part in named.split("|"))
            elif name == "gateway-credentials":
                user, _, password = value.partition(":")
            elif name == "timeout" and value.isdigit() and int(value) > 0:
                timeout_seconds = float(value)
            elif name == "enable-cacert-check":
                verify = is_true(value)
            elif name == "ssl-cacert-file":
                authority_file = value
        if url:
            bindings.append(XmlBinding(url, sections, user, password, timeout_seconds, verify, authority_file))
    return tuple(bindings)


def call_records(configuration: ElementTree.Element | None, *, log_directory: Path) -> CallRecordSettings | None:
    """Read `json_cdr.conf` (mod_json_cdr.c); None when the node has no such file and so writes no records."""
    if configuration is None:
        return None
    pairs = parameters(configuration)
    values = dict(pairs)
    retries = _number(values, "retries", 0)
    delay_seconds = _number(values, "delay", 0)
    base = _below(log_directory, values["log-dir"]) if "log-dir" in values else None
    errors = tuple(_below(log_directory, value) for name, value in pairs if name == "err-log-dir")
    user, _, password = values.get("cred", "").partition(":")
    timeout_seconds = _number(values, "timeout", 0)
    return CallRecordSettings(
        urls=tuple(value for name, value in pairs if name == "url" and value),
        user=user,
        password=password,
        attempts=retries + 1,
        delay_seconds=5.0 if retries and not delay_seconds else float(delay_seconds),
        timeout_seconds=float(timeout_seconds) if timeout_seconds > 0 else None,
        log_directory=base,
        error_directories=errors or (base or log_directory / "json_cdr",),
        log_b_leg=is_true(values.get("log-b-leg", "true")),
        prefix_a_leg=is_true(values.get("prefix-a-leg")),
        log_http_and_disk=is_true(values.get("log-http-and-disk")),
        log_errors_to_disk=is_true(values.get("log-errors-to-disk", "true")),
        encode_body=is_true(values.get("encode")),
        encode_values=is_true(values.get("encode-values", "true")),
        verify_certificate=is_true(values.get("enable-cacert-check")),
        authority_file=values.get("ssl-cacert-file", ""),
    )


def sofia_profiles(configuration: ElementTree.Element | None) -> tuple[ProfileSettings, ...]:
    """Read `sofia.conf` (mod_sofia, sofia.c): its profiles with their gateways."""
    if configuration is None:
        return ()
    return tuple(_profile(element) for element in configuration.iter("profile"))


def switch_limits(configuration: ElementTree.Element | None) -> SwitchLimits:
    """Read `switch.conf` (switch_core.c): 1000 sessions and 30 a second unless told otherwise."""
    values = dict(parameters(configuration))
    return SwitchLimits(
        _number(values, "max-sessions", 1000),
        _number(values, "sessions-per-second", 30),
        float(_number(values, "event-heartbeat-interval", 20)),
        values.get("switchname", ""),
        is_true(values.get("api-expansion", "true")),
    )


def _profile(element: ElementTree.Element) -> ProfileSettings:
    name = element.get("name", "")
    values = dict(parameters(element.find("settings")))
    address = values.get("sip-ip", "127.0.0.1")
    return ProfileSettings(
        name=name,
        sip_ip="127.0.0.1" if address in {"", "auto", "localhost"} else address,
        sip_port=_number(values, "sip-port", 5060),
        context=values.get("context", "default"),
        auth_calls=is_true(values.get("auth-calls")),
        inbound_acl=_all(element.find("settings"), "apply-inbound-acl"),
        challenge_realm=values.get("challenge-realm", "auto_to"),
        matching_username_only=is_true(values.get("inbound-reg-force-matching-username")),
        registering_disabled=is_true(values.get("disable-register")),
        user_agent=values.get("user-agent-string", USER_AGENT),
        options_unavailable_when_busy=is_true(values.get("sip-options-respond-503-on-busy")),
        reads_all_domains=any(domain.get("name") == "all" for domain in element.iterfind("domains/domain")),
        manages_presence=is_true(values.get("manage-presence")),
        negotiates_late=is_true(values.get("inbound-late-negotiation")),
        max_registration_seconds=_number(values, "sip-force-expires", 0),
        asks_before_transfers_elsewhere=is_true(values.get("channel-xml-fetch-on-nightmare-transfer")),
        tls=_tls(values),
        gateways=tuple(_gateway(gateway, name) for gateway in element.iterfind("gateways/gateway")),
    )


def _tls(values: dict[str, str]) -> TlsSettings | None:
    """Port and versions are mod_sofia's own where nothing is said."""
    if not is_true(values.get("tls")):
        return None
    return TlsSettings(
        _number(values, "tls-sip-port", DEFAULT_TLS_PORT),
        Path(values.get("tls-cert-dir", "")),
        tuple(version.strip().lower() for version in values.get("tls-version", "tlsv1.2").split(",")),
        values.get("tls-ciphers", ""),
    )


def _gateway(element: ElementTree.Element, profile: str) -> GatewaySettings:
    name = element.get("name", "")
    values = dict(parameters(element))
    realm = values.get("realm", "") or name
    username = values.get("username", "")
    return GatewaySettings(
        name=name,
        profile=profile,
        proxy=values.get("proxy", "") or realm,
        realm=realm,
        username=username or "FreeSWITCH",
        password=values.get("password", ""),
        from_user=values.get("from-user", "") or username or "FreeSWITCH",
        register=is_true(values.get("register", "true")),
        caller_id_in_from=is_true(values.get("caller-id-in-from")),
        ping_seconds=_number(values, "ping", 0),
        expires_seconds=_number(values, "expire-seconds", 3600),
        retry_seconds=_number(values, "retry-seconds", 30),
    )


def _all(element: ElementTree.Element | None, name: str) -> tuple[str, ...]:
    return tuple(value for key, value in parameters(element) if key == name and value)


def _below(log_directory: Path, value: str) -> Path:
    return log_directory / (value or "json_cdr")


def _number(values: dict[str, str], name: str, default: int) -> int:
    text = values.get(name, "").strip()
    if not text:
        return default
    try:
        return int(text)
    except ValueError as error:
        raise ConfigurationUnreadable(f"the parameter {name!r} must be a whole number, not {text!r}") from error
