"""What a node's configuration depends on, checked once so that every document can rely on it."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from urllib.parse import urlsplit

from infra.kit.addresses import parse_address

MAX_PORT = 65_535
DEFAULT_MAX_SESSIONS = 5_000
DEFAULT_SESSIONS_PER_SECOND = 200
MOST_SESSIONS = 100_000
MOST_SESSIONS_PER_SECOND = 10_000
LONGEST_RTP_TIMEOUT_SECONDS = 86_400
MIN_CHECK_SECONDS = 5
"""mod_sofia takes no shorter `ping`."""

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,62}[A-Za-z0-9])?", re.ASCII)
_PLAIN_PATH = re.compile(r"/[A-Za-z0-9._/@+-]{1,1000}", re.ASCII)
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252})", re.ASCII)


class SettingRefused(ValueError):
    """A setting of a node or gateway cannot be used; the message says which, what was expected and what to
    do.
    """

    def __init__(self, setting: str, expected: str) -> None:
        self.setting = setting
        super().__init__(f"{setting}: expected {expected}; correct it and write the configuration again")


@dataclass(frozen=True, slots=True)
class Gateway:
    """A carrier: calls leave to `host`:`port` and arrive from `sources`.

    `sources`: addresses or networks (CIDR) that may call in; by default `host`, which then must be an IP
    address. `register`: whether the node signs in at the carrier with `username` and `password`. `check_seconds`: how
    often the node asks by OPTIONS whether it is there (None: never).
    """

    name: str
    host: str
    port: int = 5060
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    register: bool = False
    sources: tuple[str, ...] = ()
    check_seconds: int | None = None

    def __post_init__(self) -> None:
        where = f"gateway {self.name!r}"
        if _NAME.fullmatch(self.name) is None:
            raise SettingRefused(where, "a name of up to 64 letters, digits, _ and -")
        if parse_address(self.host) is None and _HOST.fullmatch(self.host) is None:
            raise SettingRefused(f"{where} host", "an IP address or host name")
        _check_port(f"{where} port", self.port)
        if not self.sources and parse_address(self.host) is None:
            raise SettingRefused(
                f"{where} sources", "the addresses that it calls from, because its host is not an IP address"
            )
        for source in self.sources:
            if not _is_network(source):
                raise SettingRefused(f"{where} sources", f"IP addresses or networks, not {source!r}")
        if self.register and not (self.username and self.password):
            raise SettingRefused(where, "a user name and a password, because it is to register")
        for secret in (self.username, self.password):
            if secret is not None and not secret.isprintable():
                raise SettingRefused(where, "a user name and a password of printable characters")
        if self.check_seconds is not None and self.check_seconds < MIN_CHECK_SECONDS:
            raise SettingRefused(f"{where} check_seconds", f"at least {MIN_CHECK_SECONDS}")

    @property
    def networks(self) -> tuple[str, ...]:
        """The networks that this gateway's calls come from, in CIDR form."""
        return tuple(str(ipaddress.ip_network(source, strict=False)) for source in self.sources or (self.host,))

    @property
    def address(self) -> str:
        """`host:port` as SIP writes it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class NodeConfiguration:
    """Everything that the configuration of one node depends on.

    `name` is the node's user name towards the API and its switch name, `node_secret` the password to it.
    `api_url`: base address of the API, such as `https://api.example`. `spool_directory`: absolute; call
    records that could not be delivered go to `failed/` below it, every record to `all/` (see
    `switch.node_configuration`). `control_networks`: who may connect to the event socket. `api_ca_file`: on
    the node, who vouches for the certificate of an https API; by default the authorities that the node's curl trusts.
    `sip_tls_port`: where phones register over TLS, with what lies in `sip_tls_directory` on the node
    (`switch.node_certificates`); None: nowhere. `listen_ip`: what the node binds where that is not `sip_ip`, by which
    phones and carriers reach it. Time-outs in seconds; an RTP time-out of 0 never ends a call without media.
    """

    name: str
    api_url: str
    node_secret: str = field(repr=False)
    esl_host: str
    esl_port: int
    esl_password: str = field(repr=False)
    sip_ip: str
    sip_port: int
    external_sip_port: int
    rtp_start_port: int
    rtp_end_port: int
    spool_directory: Path
    gateways: tuple[Gateway, ...] = ()
    api_ca_file: Path | None = None
    sip_tls_port: int | None = None
    sip_tls_directory: Path | None = None
    listen_ip: str | None = None
    max_sessions: int = DEFAULT_MAX_SESSIONS
    sessions_per_second: int = DEFAULT_SESSIONS_PER_SECOND
    control_networks: tuple[str, ...] = ("127.0.0.0/8", "::1/128")
    rtp_timeout_seconds: int = 0
    rtp_hold_timeout_seconds: int = 0
    xml_timeout_seconds: int = 5
    record_timeout_seconds: int = 5
    record_retries: int = 2
    record_retry_delay_seconds: int = 1
    heartbeat_interval_seconds: int = 10

    def __post_init__(self) -> None:
        self._check_identity()
        self._check_network()
        self._check_tls()
        for setting in (
            "max_sessions",
            "sessions_per_second",
            "xml_timeout_seconds",
            "record_timeout_seconds",
        ):
            _check_at_least(setting, getattr(self, setting), 1)
        for setting in ("record_retry_delay_seconds", "heartbeat_interval_seconds"):
            _check_at_least(setting, getattr(self, setting), 1)
        for setting in ("rtp_timeout_seconds", "rtp_hold_timeout_seconds", "record_retries"):
            _check_at_least(setting, getattr(self, setting), 0)
        for setting, most in (
            ("max_sessions", MOST_SESSIONS),
            ("sessions_per_second", MOST_SESSIONS_PER_SECOND),
            ("rtp_timeout_seconds", LONGEST_RTP_TIMEOUT_SECONDS),
        ):
            if getattr(self, setting) > most:
                raise SettingRefused(setting, f"at most {most}")
        names = [gateway.name for gateway in self.gateways]
        if len(set(names)) != len(names):
            raise SettingRefused("gateways", "every name once")

    def _check_identity(self) -> None:
        if _NAME.fullmatch(self.name) is None:
            raise SettingRefused("name", "up to 64 letters, digits, _ and -")
        for setting in ("node_secret", "esl_password"):
            secret: str = getattr(self, setting)
            if not secret or not secret.isascii() or not secret.isprintable():
                raise SettingRefused(setting, "printable ASCII characters, at least one")
        url = urlsplit(self.api_url)
        if url.scheme not in {"http", "https"} or not url.hostname or url.query or url.fragment or url.username:
            raise SettingRefused("api_url", "an address such as https://api.example, without query or sign-in")
        if not self.spool_directory.is_absolute():
            raise SettingRefused("spool_directory", "an absolute path")

    def _check_network(self) -> None:
        for setting in ("esl_host", "sip_ip"):
            if parse_address(getattr(self, setting)) is None:
                raise SettingRefused(setting, "an IP address")
        if ipaddress.ip_address(self.sip_ip).is_unspecified:
            raise SettingRefused("sip_ip", "the one address that phones and carriers reach, not all addresses")
        if self.listen_ip is not None:
            if parse_address(self.listen_ip) is None or ipaddress.ip_address(self.listen_ip).is_unspecified:
                raise SettingRefused("listen_ip", "the one IP address that the node binds")
            if ipaddress.ip_address(self.listen_ip).version != ipaddress.ip_address(self.sip_ip).version:
                raise SettingRefused("listen_ip", "an address of the same family as sip_ip")
        for setting in ("esl_port", "sip_port", "external_sip_port", "rtp_start_port", "rtp_end_port"):
            _check_port(setting, getattr(self, setting))
        if self.sip_port == self.external_sip_port:
            raise SettingRefused("external_sip_port", "another port than sip_port")
        if self.rtp_start_port >= self.rtp_end_port:
            raise SettingRefused("rtp_end_port", "a port above rtp_start_port")
        for network in self.control_networks:
            if not _is_network(network):
                raise SettingRefused("control_networks", f"IP networks, not {network!r}")

    def _check_tls(self) -> None:
        if self.api_ca_file is not None:
            _check_path("api_ca_file", self.api_ca_file)
            if not self.api_url.startswith("https:"):
                raise SettingRefused("api_ca_file", "an https address of the API, because there is a CA file")
        if self.sip_tls_port is None:
            return
        _check_port("sip_tls_port", self.sip_tls_port)
        if self.sip_tls_port in {self.sip_port, self.external_sip_port}:
            raise SettingRefused("sip_tls_port", "another port than sip_port and external_sip_port")
        if self.sip_tls_directory is None:
            raise SettingRefused("sip_tls_directory", "where the certificate lies, because there is a sip_tls_port")
        _check_path("sip_tls_directory", self.sip_tls_directory)

    def endpoint(self, path: str) -> str:
        """The address of an API path, such as `/switch/cdr`."""
        return self.api_url.rstrip("/") + path

    def gateway_from(self, address: str, port: int) -> Gateway | None:
        """The gateway that a call from this address belongs to, or None.

        Where networks overlap the narrowest one counts, among equals the gateway with the same port.
        """
        source = parse_address(address)
        if source is None:
            return None
        found = [
            (network.prefixlen, gateway.port == port, -place)
            for place, gateway in enumerate(self.gateways)
            for network in map(ipaddress.ip_network, gateway.networks)
            if source in network
        ]
        return self.gateways[-max(found)[2]] if found else None


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def _check_port(setting: str, port: int) -> None:
    if not 1 <= port <= MAX_PORT:
        raise SettingRefused(setting, f"a port from 1 to {MAX_PORT}, not {port}")


def _check_path(setting: str, path: PurePath) -> None:
    """FreeSWITCH's preprocessor reads these, which knows no escapes."""
    if _PLAIN_PATH.fullmatch(str(path)) is None:
        raise SettingRefused(setting, "an absolute path of letters, digits and . _ / @ + -")


def _check_at_least(setting: str, value: int, least: int) -> None:
    if value < least:
        raise SettingRefused(setting, f"at least {least}, not {value}")
