"""SIP profiles, gateways and access lists of a node: the same elements in its files and in answers while it
runs.
"""

from __future__ import annotations

from switch.documents.directory import INTERNAL_PROFILE
from switch.documents.markup import Element, FromNode, element, flag, param
from switch.documents.settings import Gateway, NodeConfiguration
from switch.routing import PUBLIC_CONTEXT, REFUSED_CONTEXT

EXTERNAL_PROFILE = "external"
"""The profile that gateways call and are called by."""

SIP_TLS = FromNode("seatline_sip_tls")
SIP_TLS_PORT = FromNode("seatline_sip_tls_port")
SIP_TLS_DIRECTORY = FromNode("seatline_sip_tls_directory")
"""Set in the node's `vars.xml`: whether it listens for SIP over TLS, where, and where its certificate lies."""

TLS_VERSIONS = "tlsv1.2,tlsv1.3"
TLS_CIPHERS = "HIGH:!aNULL:!MD5:!RC4:!3DES"

GATEWAY_LIST = "gateways"

CODECS = "PCMA,PCMU"
"""G.711, which is in FreeSWITCH's core and which every carrier and phone speaks."""

MAX_REQUESTS_PER_SECOND = 5000
"""The built-in 1000 is less than the phones of a full node send when they all register anew."""

REGISTRATIONS_AT_ONCE = 32
"""Each waits in a thread of its own for the directory's answer; further ones wait their turn."""

SESSION_TIMEOUT_SECONDS = 1800
NONCE_LIFETIME_SECONDS = 60
REGISTER_EXPIRY_SECONDS = 600
REGISTER_RETRY_SECONDS = 30


def sofia_configuration(settings: NodeConfiguration) -> Element:
    """`sofia.conf`: a profile for phones and one for gateways."""
    return element(
        "configuration",
        element(
            "global_settings",
            param("log-level", 0),
            param("debug-presence", 0),
            param("max-reg-threads", REGISTRATIONS_AT_ONCE),
        ),
        element("profiles", _internal(settings), _external(settings)),
        name="sofia.conf",
        description="SIP",
    )


def access_lists(settings: NodeConfiguration) -> Element:
    """`acl.conf`: who may call in without a password, the gateways. Who may command the node stands in its
    `event_socket.conf`, which nobody is asked for.
    """
    gateways = sorted({network for gateway in settings.gateways for network in gateway.networks})
    return element(
        "configuration",
        element("network-lists", _access_list(GATEWAY_LIST, gateways)),
        name="acl.conf",
        description="Network lists",
    )


def _access_list(name: str, networks: list[str]) -> Element:
    nodes = (element("node", type="allow", cidr=network) for network in networks)
    return element("list", *nodes, name=name, default="deny")


def _internal(settings: NodeConfiguration) -> Element:
    """Phones. Every INVITE is challenged; the realm is the domain of the From header, so each tenant is its
    own domain.

    No domain is forced and none is known beforehand: the directory is asked for the one that the phone names.
    A call that is given no context of its own ends in `refused`.
    """
    return element(
        "profile",
        element("gateways"),
        element("domains"),
        element(
            "settings",
            *_common(settings, settings.sip_port, tls=SIP_TLS),
            # Phones that register over TLS may offer SRTP, which mod_sofia takes where it is offered.
            param("tls-sip-port", SIP_TLS_PORT),
            param("tls-cert-dir", SIP_TLS_DIRECTORY),
            param("tls-version", TLS_VERSIONS),
            param("tls-ciphers", TLS_CIPHERS),
            # Phones show a password, not a certificate.
            param("tls-verify-policy", "none"),
            param("context", REFUSED_CONTEXT),
            flag("auth-calls", True),
            flag("auth-all-packets", False),
            flag("auth-subscriptions", True),
            flag("auth-messages", True),
            flag("accept-blind-reg", False),
            # Else one thread serves all SIP of the profile, and each registration holds up every call while its answer
            # is on the way from the API (`sofia_queue_message`).
            flag("inbound-reg-in-new-thread", True),
            flag("accept-blind-auth", False),
            flag("inbound-reg-force-matching-username", True),
            param("challenge-realm", "auto_from"),
            param("nonce-ttl", NONCE_LIFETIME_SECONDS),
            param("apply-nat-acl", "nat.auto"),
            # Nobody keeps messages here: without this each registration asks the directory once more, about them.
            flag("send-message-query-on-register", False),
            # Transfers to other machines are asked for in the section `channels` (see `files`), which allows none.
            flag("channel-xml-fetch-on-nightmare-transfer", True),
        ),
        name=INTERNAL_PROFILE,
    )


def _external(settings: NodeConfiguration) -> Element:
    """Gateways. No password, but only from the addresses of the list; nobody can register here."""
    return element(
        "profile",
        element("gateways", *(_gateway(gateway) for gateway in settings.gateways)),
        element(
            "settings",
            *_common(settings, settings.external_sip_port),
            param("context", PUBLIC_CONTEXT),
            flag("auth-calls", False),
            param("apply-inbound-acl", GATEWAY_LIST),
            flag("disable-register", True),
            # Only our own phones may send a call on.
            flag("disable-transfer", True),
        ),
        name=EXTERNAL_PROFILE,
    )


def _common(settings: NodeConfiguration, port: int, *, tls: str = "false") -> tuple[Element, ...]:
    return (
        param("user-agent-string", "Seatline"),
        param("sip-ip", settings.listen_ip or settings.sip_ip),
        param("sip-port", port),
        param("rtp-ip", settings.listen_ip or settings.sip_ip),
        *_advertised(settings),
        param("dialplan", "XML"),
        param("tls", tls),
        flag("manage-presence", False),
        param("inbound-codec-prefs", CODECS),
        param("outbound-codec-prefs", CODECS),
        param("inbound-codec-negotiation", "generous"),
        flag("inbound-late-negotiation", True),
        param("rtp-timer-name", "soft"),
        param("rfc2833-pt", 101),
        param("dtmf-duration", 2000),
        param("session-timeout", SESSION_TIMEOUT_SECONDS),
        param("max-recv-requests-per-second", MAX_REQUESTS_PER_SECOND),
        *_media_timeouts(settings),
        # A redirection (302) goes through the dialplan instead of straight to the address that the other side names.
        flag("manual-redirect", True),
        # While a node drains it says so when asked, not only when called.
        flag("sip-options-respond-503-on-busy", True),
    )


def _advertised(settings: NodeConfiguration) -> tuple[Element, ...]:
    """What SIP and SDP name instead of the address that the node binds, towards everybody outside its own network."""
    if settings.listen_ip in (None, settings.sip_ip):
        return ()
    return param("ext-sip-ip", settings.sip_ip), param("ext-rtp-ip", settings.sip_ip)


def _media_timeouts(settings: NodeConfiguration) -> tuple[Element, ...]:
    """Only where one is wanted: FreeSWITCH warns about these parameters, and without them no call is cut."""
    wanted = {
        "rtp-timeout-sec": settings.rtp_timeout_seconds,
        "rtp-hold-timeout-sec": settings.rtp_hold_timeout_seconds,
    }
    return tuple(param(name, seconds) for name, seconds in wanted.items() if seconds)


def _gateway(gateway: Gateway) -> Element:
    """A carrier. The tenant's number goes into the From header, where carriers look for it."""
    credentials = (
        (param("username", gateway.username), param("password", gateway.password or ""))
        if gateway.username
        else (param("username", gateway.name),)
    )
    return element(
        "gateway",
        *credentials,
        param("realm", gateway.host),
        param("proxy", gateway.address),
        flag("register", gateway.register),
        flag("caller-id-in-from", True),
        param("expire-seconds", REGISTER_EXPIRY_SECONDS),
        param("retry-seconds", REGISTER_RETRY_SECONDS),
        # Any answer but 408 and 503 shows that it is there; one failure makes it down, one success up again.
        *(() if gateway.check_seconds is None else (param("ping", gateway.check_seconds),)),
        name=gateway.name,
    )
