"""The files of a node's configuration directory, as texts.

Module by module after the files of FreeSWITCH 1.11 that read them (`src/mod/*/mod_*.c`, `src/switch_core.c`);
only what differs from the built-in defaults or guards something is said.
"""

from __future__ import annotations

import ipaddress
from pathlib import Path

from switch.admission import SIP_ANSWERS, Reason
from switch.documents.dialplan import NO_NUMBER, PROGRESS_SECONDS
from switch.documents.markup import DECLARATION, Element, document, element, flag, param
from switch.documents.settings import Gateway, NodeConfiguration
from switch.documents.sofia import (
    SIP_TLS,
    SIP_TLS_DIRECTORY,
    SIP_TLS_PORT,
    access_lists,
    sofia_configuration,
)
from switch.documents.unrouted import ROUTED
from switch.numbers import EMERGENCY_NUMBERS
from switch.routing import EMERGENCY_CONTEXT, REFUSED_CONTEXT

MODULES = (
    "mod_console",
    "mod_logfile",
    "mod_commands",
    "mod_dptools",
    "mod_hash",
    "mod_dialplan_xml",
    "mod_sndfile",
    "mod_tone_stream",
    "mod_event_socket",
    "mod_json_cdr",
    "mod_xml_curl",
    "mod_sofia",
)
"""In this order: what comes before mod_xml_curl is configured by files alone, mod_sofia asks for current
gateways.
"""

LOG_ROLLOVER_BYTES = 10_485_760
LOG_FILES_KEPT = 10
XML_ANSWER_MAX_BYTES = 1_048_576

ANY_OTHER_CONTEXT = "global"
"""The context that FreeSWITCH takes where there is none of the name that it looks for (mod_dialplan_xml)."""

NO_CALL = "error/CALL_REJECTED"
"""A dial string that always fails (mod_dptools)."""

API_URL = "seatline_api_url"
"""The global variable that says where a node reaches the API: its files may name another address than the
installation's.
"""

POSTED_FIELDS = {
    "directory": ("action", "purpose", "user", "domain", "sip_auth_method", "sip_to_user", "sip_to_host"),
}
"""What a node tells beside the five fields that it always posts; of a section that is not named: everything.

A phone waits while its node asks: the forty headers that nobody reads would be encoded, sent and read for nothing.
"""

_SECTIONS = ("directory", "dialplan", "configuration")


def node_files(settings: NodeConfiguration, *, failed_records: Path, all_records: Path) -> dict[str, str]:
    """Every file of the directory: path below it to text; `freeswitch.xml`, which includes the others, is the
    last.
    """
    configurations = (
        _modules(),
        # Nothing more, but FreeSWITCH complains when the file is missing.
        _configuration("post_load_modules.conf", element("modules")),
        _switch(settings),
        _console(),
        _logfile(),
        # It shares its counters with no other node; FreeSWITCH complains when the file is missing.
        _configuration("hash.conf", element("remotes")),
        _event_socket(settings),
        _xml_curl(settings),
        _json_cdr(settings, failed_records=failed_records, all_records=all_records),
        access_lists(settings),
        sofia_configuration(settings),
    )
    named = {dict(item.attributes)["name"]: item for item in configurations}
    return {
        "vars.xml": _included(*_variables(settings)),
        **{f"autoload_configs/{name}.xml": _included(item) for name, item in named.items()},
        "dialplan/away.xml": _included(_away_context()),
        "dialplan/refused.xml": _included(_refused_context()),
        "dialplan/emergency.xml": _included(_emergency_context(settings)),
        "freeswitch.xml": _top(),
    }


def _included(*elements: Element) -> str:
    """A file that another one includes; the `<include>` lines are dropped by FreeSWITCH."""
    lines = [line for item in elements for line in item.lines(1)]
    return "\n".join(("<include>", *lines, "</include>")) + "\n"


def _preprocess(command: str, data: str) -> Element:
    return element("X-PRE-PROCESS", cmd=command, data=data)


def _top() -> str:
    sections = (
        element("section", _preprocess("include", "autoload_configs/*.xml"), name="configuration"),
        element("section", _preprocess("include", "dialplan/*.xml"), name="dialplan"),
        # Empty on purpose: whoever the API does not know is nobody.
        element("section", name="directory"),
        element("section", _no_transfer_elsewhere(), name="channels"),
    )
    text = document(_preprocess("include", "vars.xml"), *sections)
    return text.removeprefix(DECLARATION).join(('<?xml version="1.0"?>\n', ""))


def _no_transfer_elsewhere() -> Element:
    """What a phone may transfer a call to that is on another machine: nothing.

    Such a transfer (REFER with a Replaces that the node does not know) would dial the address that the phone names,
    past every dialplan: a carrier's too. With `channel-xml-fetch-on-nightmare-transfer` mod_sofia asks this section
    for the dial string first (`sofia_handle_sip_i_refer`); there is no binding for it, so these lines always answer.
    """
    prefix, _, rest = NO_CALL.rpartition("/")
    return element("params", param("dial-prefix", f"{prefix}/"), param("absolute-dial-string", rest))


def _variables(settings: NodeConfiguration) -> tuple[Element, ...]:
    """Global variables: what `sofia` takes from the node's own files, where the API is, and two commands less.

    Without those commands, text that slips into an application's argument can run no program.
    """
    tls = {
        SIP_TLS: "false" if settings.sip_tls_port is None else "true",
        SIP_TLS_PORT: settings.sip_tls_port or "",
        SIP_TLS_DIRECTORY: settings.sip_tls_directory or "",
    }
    return (
        *(_preprocess("set", f"{name}={value}") for name, value in tls.items()),
        _preprocess("set", f"{API_URL}={settings.api_url}"),
        _preprocess("set", "disable_system_api_commands=true"),
        _preprocess("set", "disable_system_app_commands=true"),
    )


def _configuration(name: str, *children: Element) -> Element:
    return element("configuration", *children, name=name, description="Written by seatline node-config")


def _settings(*params: Element) -> Element:
    return element("settings", *params)


def _modules() -> Element:
    return _configuration("modules.conf", element("modules", *(element("load", module=module) for module in MODULES)))


def _switch(settings: NodeConfiguration) -> Element:
    return _configuration(
        "switch.conf",
        _settings(
            param("switchname", settings.name),
            param("max-sessions", settings.max_sessions),
            param("sessions-per-second", settings.sessions_per_second),
            param("rtp-start-port", settings.rtp_start_port),
            param("rtp-end-port", settings.rtp_end_port),
            # A port that another process or node on this machine holds is skipped.
            flag("rtp-port-usage-robustness", True),
            param("event-heartbeat-interval", settings.heartbeat_interval_seconds),
            param("loglevel", "info"),
            flag("colorize-console", False),
            flag("dump-cores", False),
            # `${command(...)}` in data stays text.
            flag("api-expansion", False),
        ),
    )


def _console() -> Element:
    return _configuration(
        "console.conf",
        element("mappings", element("map", name="all", value="console,notice,warning,err,crit,alert")),
        _settings(flag("colorize", False), param("loglevel", "notice")),
    )


def _logfile() -> Element:
    return _configuration(
        "logfile.conf",
        _settings(flag("rotate-on-hup", True)),
        element(
            "profiles",
            element(
                "profile",
                _settings(
                    param("rollover", LOG_ROLLOVER_BYTES),
                    param("maximum-rotate", LOG_FILES_KEPT),
                    flag("uuid", True),
                ),
                element("mappings", element("map", name="all", value="console,info,notice,warning,err,crit,alert")),
                name="default",
            ),
        ),
    )


def _event_socket(settings: NodeConfiguration) -> Element:
    return _configuration(
        "event_socket.conf",
        _settings(
            flag("nat-map", False),
            param("listen-ip", settings.esl_host),
            param("listen-port", settings.esl_port),
            param("password", settings.esl_password),
            # Networks instead of a list's name: the lists of `acl.conf` are asked for while the node runs, and who may
            # command it must not depend on what is answered.
            *(param("apply-inbound-acl", network) for network in _control_networks(settings)),
            # Without its event socket a node cannot be told anything: better it does not start.
            flag("stop-on-bind-error", True),
        ),
    )


def _control_networks(settings: NodeConfiguration) -> list[str]:
    """Of the address family that the socket listens in: `switch_check_network_list_ip` compares a bare network with an
    address of the other family bit by bit.
    """
    listens = ipaddress.ip_address(settings.esl_host)
    networks = [ipaddress.ip_network(network, strict=False) for network in settings.control_networks]
    return [str(network) for network in networks if network.version == listens.version]


def _xml_curl(settings: NodeConfiguration) -> Element:
    bindings = (
        element(
            "binding",
            element("param", name="gateway-url", value=settings.endpoint(f"/switch/{section}"), bindings=section),
            param("gateway-credentials", f"{settings.name}:{settings.node_secret}"),
            param("auth-scheme", "basic"),
            param("timeout", settings.xml_timeout_seconds),
            param("response-max-bytes", XML_ANSWER_MAX_BYTES),
            *(param("enable-post-var", name) for name in POSTED_FIELDS.get(section, ())),
            *_certificate_checks(settings),
            name=section,
        )
        for section in _SECTIONS
    )
    return _configuration("xml_curl.conf", element("bindings", *bindings))


def _json_cdr(settings: NodeConfiguration, *, failed_records: Path, all_records: Path) -> Element:
    """Every leg, by HTTP and on disk.

    `queue-capacity` stays unset: what is queued at shutdown would be destroyed. `disable-100-continue` too:
    it replaces the content type. Delay is spent on the call's own thread, so it is short; what fails goes to
    disk and is swept.
    """
    return _configuration(
        "json_cdr.conf",
        _settings(
            param("url", settings.endpoint("/switch/cdr")),
            param("cred", f"{settings.name}:{settings.node_secret}"),
            param("auth-scheme", "basic"),
            param("timeout", settings.record_timeout_seconds),
            param("retries", settings.record_retries),
            param("delay", settings.record_retry_delay_seconds),
            flag("log-b-leg", True),
            flag("prefix-a-leg", False),
            flag("encode", False),
            flag("encode-values", False),
            flag("log-http-and-disk", True),
            param("log-dir", str(all_records)),
            param("err-log-dir", str(failed_records)),
            flag("log-errors-to-disk", True),
            flag("rotate", False),
            *_certificate_checks(settings),
        ),
    )


def _certificate_checks(settings: NodeConfiguration) -> tuple[Element, ...]:
    """FreeSWITCH checks certificates only when told to."""
    if not settings.api_url.startswith("https:"):
        return ()
    authority = () if settings.api_ca_file is None else (param("ssl-cacert-file", str(settings.api_ca_file)),)
    return (flag("enable-cacert-check", True), flag("enable-ssl-verifyhost", True), *authority)


def _action(application: str, data: str) -> Element:
    return element("action", application=application, data=data)


def _always(*actions: Element) -> Element:
    return element("condition", *actions)


def _refused_context() -> Element:
    """Where calls end that were never given a context: refused, whatever the API says."""
    actions = (
        _action("set", "seatline_refusal=unknown_seat"),
        _action("respond", "403 Forbidden"),
        _action("hangup", "CALL_REJECTED"),
    )
    return element("context", element("extension", _always(*actions), name="refused"), name=REFUSED_CONTEXT)


def _away_context() -> Element:
    """Where every other call ends while the API does not answer.

    Without this FreeSWITCH answers 404, which a carrier passes on to its caller; after 503 it tries another way in.
    """
    return element("context", _away(), name=ANY_OTHER_CONTEXT)


def _away() -> Element:
    """Refuses whatever call comes this far, for the moment and not for good: what it may do only the API knows."""
    answer = SIP_ANSWERS[Reason.SWITCH_AWAY]
    actions = (
        _action("set", f"seatline_refusal={Reason.SWITCH_AWAY.value}"),
        _action("respond", f"{answer.status} {answer.phrase}"),
        _action("hangup", answer.cause),
    )
    return element("extension", _always(*actions), name="away")


def _emergency_context(settings: NodeConfiguration) -> Element:
    """For a call that has reached the emergency context while the API does not answer any more.

    Every gateway in turn, as in `switch.documents.dialplan`; without tenant and seat, which are on the
    channel already.
    """
    extensions: list[Element] = []
    for number in sorted(EMERGENCY_NUMBERS) if settings.gateways else ():
        attempts = "|".join(
            f"[{_attempt_variables(settings, gateway)}]sofia/gateway/{gateway.name}/{number}"
            for gateway in settings.gateways
        )
        extensions.append(
            element(
                "extension",
                element(
                    "condition",
                    *(_action(application, name) for application, name in ROUTED),
                    _action("set", "seatline_direction=emergency"),
                    _action("set", "seatline_leg=caller"),
                    _action("set", f"seatline_destination={number}"),
                    _action("set", "hangup_after_bridge=true"),
                    _action("set", "continue_on_fail=false"),
                    # Which number is the tenant's own only the API knows; a phone's word does not count.
                    _action("set", f"effective_caller_id_number={NO_NUMBER}"),
                    _action("set", f"effective_caller_id_name={NO_NUMBER}"),
                    _action(
                        "bridge",
                        f"{{seatline_direction=emergency,seatline_leg=gateway,seatline_destination={number}}}{attempts}",
                    ),
                    field="destination_number",
                    # Behind it a phone may send the key that ends dialling, and parameters (see `switch.numbers`).
                    expression=f"^{number}#?(?:;.*)?$",
                ),
                name=f"emergency_{number}",
            )
        )
    return element("context", *extensions, _away(), name=EMERGENCY_CONTEXT)


def _attempt_variables(settings: NodeConfiguration, gateway: Gateway) -> str:
    """The last gateway may take its time: there is nobody else to ask."""
    patience = "" if gateway is settings.gateways[-1] else f",leg_progress_timeout={PROGRESS_SECONDS}"
    return f"seatline_gateway={gateway.name}{patience}"
