"""What is wrong with a node: a pure rule from its reading and what we expect to findings with advice."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from switch.doctor.reading import NodeReading
from switch.documents.directory import INTERNAL_PROFILE
from switch.documents.settings import NodeConfiguration
from switch.documents.sofia import EXTERNAL_PROFILE
from switch.listening import Place

OLDEST_VERSION = (1, 10)
WARNING_SKEW_SECONDS = 1.0
ERROR_SKEW_SECONDS = 5.0
SLOW_ANSWER_SECONDS = 1.0
SLOW_API_SECONDS = 1.0
CERTIFICATE_WARNING = timedelta(days=30)
CERTIFICATE_ERROR = timedelta(days=7)
BUSY_SHARE = 0.8
DAY_SECONDS = 86_400

_VERSION = re.compile(r"(?P<major>\d{1,3})\.(?P<minor>\d{1,3})")
WRITE_AGAIN = "write its configuration again (seatline node-config) and restart it after a drain"


class Verdict(StrEnum):
    """How bad a finding is; an error stops or endangers service."""

    FINE = "fine"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `advice` is empty where nothing is to be done."""

    check: str
    verdict: Verdict
    found: str
    expected: str
    advice: str = ""


_VERDICT_OF_STATE = {
    "active": Verdict.FINE,
    "cut_off": Verdict.ERROR,
    "dead": Verdict.ERROR,
    "left": Verdict.ERROR,
}
"""Of another state somebody knows, since somebody wanted it: a warning."""


@dataclass(frozen=True, slots=True)
class CertificateReading:
    """The certificate of a TLS address (`host:port`); `expires_at` None: there was none, `problem` says why.

    `is_used`: it works for whoever it is there for, so that where there is none it only cannot be seen from here.
    """

    what: str
    address: str
    expires_at: datetime | None
    problem: str = ""
    is_used: bool = False


@dataclass(frozen=True, slots=True)
class SupervisionReading:
    """What the node's row says: its state, and how long ago it was heard of (None: never)."""

    state: str
    is_supervised: bool
    heard_seconds_ago: float | None
    silence_limit_seconds: float


@dataclass(frozen=True, slots=True)
class Examination:
    """Everything that the findings depend on. `at`: the moment of the examination, in real time."""

    expected: NodeConfiguration
    modules: Sequence[str]
    reading: NodeReading
    supervision: SupervisionReading
    certificates: Sequence[CertificateReading]
    at: datetime


def worst(findings: Sequence[Finding]) -> Verdict:
    """The verdict on the whole node."""
    ranks = list(Verdict)
    return max((finding.verdict for finding in findings), key=ranks.index, default=Verdict.FINE)


def examine(examination: Examination) -> list[Finding]:
    """Every finding, in the order in which one would look."""
    reading = examination.reading
    findings = [*_supervision(examination.supervision), _connection(examination)]
    if reading.unreachable is None and reading.name is not None:
        findings += [
            *_identity(examination),
            *_clock(reading),
            *_modules(examination),
            *_limits(examination),
            *_profiles(examination),
            *_gateways(examination),
            *_api(examination),
        ]
    return [*findings, *(certificate_finding(each, examination.at) for each in examination.certificates)]


def _supervision(supervision: SupervisionReading) -> Iterator[Finding]:
    yield _judged(
        "supervisor",
        Verdict.FINE if supervision.is_supervised else Verdict.ERROR,
        "a supervisor holds its lease" if supervision.is_supervised else "no supervisor holds its lease",
        "one running `seatline switchd`",
        "start `seatline switchd`; its log names nodes that it cannot supervise",
    )
    seconds = supervision.heard_seconds_ago
    is_silent = seconds is None or seconds > supervision.silence_limit_seconds
    yield _judged(
        "heartbeat",
        Verdict.ERROR if is_silent else Verdict.FINE,
        "never heard of" if seconds is None else f"last heard of {seconds:.0f} s ago",
        f"within {supervision.silence_limit_seconds:g} s",
        "see the finding `connection`; check that FreeSWITCH runs and that the network lets us through",
    )
    yield _judged(
        "state",
        _VERDICT_OF_STATE.get(supervision.state, Verdict.WARNING),
        supervision.state,
        "active",
        "joining and dead nodes become active when they are heard, a drained one when its drain is cancelled, one that "
        "is cut off when it gets answers from the API",
    )


def _connection(examination: Examination) -> Finding:
    reading, expected = examination.reading, examination.expected
    where = f"an event socket at {expected.esl_host}:{expected.esl_port} that takes our password"
    if reading.unreachable is not None:
        advice = "check that FreeSWITCH runs there, that node-config's --control-network names this machine"
        return Finding("connection", Verdict.ERROR, reading.unreachable, where, f"{advice}, and its password")
    if reading.unanswered is not None:
        advice = "look at its load, its disk and its log; what was not answered is not judged below"
        return Finding("connection", Verdict.ERROR, f"no answer to {reading.unanswered}", "an answer in time", advice)
    return _judged(
        "connection",
        Verdict.WARNING if reading.slowest_answer_seconds > SLOW_ANSWER_SECONDS else Verdict.FINE,
        f"slowest answer {reading.slowest_answer_seconds:.2f} s",
        f"each within {SLOW_ANSWER_SECONDS:g} s",
        "look at its load; a slow node is asked less and its tenants' phones wait",
    )


def _identity(examination: Examination) -> Iterator[Finding]:
    reading, name = examination.reading, examination.expected.name
    yield _judged(
        "name",
        Verdict.FINE if reading.name == name else Verdict.ERROR,
        reading.name or "none",
        name,
        f"another node listens at this address, or this one runs from other files: {WRITE_AGAIN}",
    )
    if reading.status is None:
        yield Finding("version", Verdict.ERROR, "no readable status", "FreeSWITCH", "is this FreeSWITCH?")
        return
    found = _VERSION.search(reading.status.version)
    is_new = found is not None and (int(found["major"]), int(found["minor"])) >= OLDEST_VERSION
    oldest = ".".join(map(str, OLDEST_VERSION))
    yield _judged(
        "version",
        Verdict.FINE if is_new else Verdict.ERROR,
        reading.status.version,
        f"{oldest} or newer",
        f"drain the node and install FreeSWITCH {oldest} or newer",
    )
    if not reading.status.is_ready and examination.supervision.state in ("active", "cut_off"):
        advice = "`fsctl resume` on the node, or drain it so that its tenants move"
        if reading.asks_api is False:
            advice = "it gets no answer from the API (see `api`) and takes calls again by itself when it does"
        yield Finding("readiness", Verdict.ERROR, "not ready: paused, although nobody drains it", "ready", advice)


def _clock(reading: NodeReading) -> Iterator[Finding]:
    """A node of a demo goes by the demo's clock; then how far that has travelled is no fault of the node's."""
    if reading.skew_seconds is None:
        return
    off = reading.skew_seconds
    goes_by = "ours"
    if abs(off - reading.travelled_seconds) < abs(off):
        off -= reading.travelled_seconds
        goes_by = f"the demo's clock, which has travelled {reading.travelled_seconds / DAY_SECONDS:.1f} days"
    skew = abs(off)
    yield _judged(
        "clock",
        Verdict.ERROR
        if skew > ERROR_SKEW_SECONDS
        else Verdict.WARNING
        if skew > WARNING_SKEW_SECONDS
        else Verdict.FINE,
        f"{skew:.3f} s {'ahead of' if off > 0 else 'behind'} {goes_by}",
        f"within {WARNING_SKEW_SECONDS:g} s",
        "synchronise it (chrony, ntpd), then `fsctl sync_clock_when_idle`: call records carry its time, and a call"
        " during which it is set has a wrong length",
    )


def _modules(examination: Examination) -> Iterator[Finding]:
    if examination.reading.modules:
        missing = [name for name in examination.modules if not examination.reading.modules.get(name)]
        yield _judged(
            "modules",
            Verdict.ERROR if missing else Verdict.FINE,
            f"not loaded: {', '.join(missing)}" if missing else f"{len(examination.modules)} loaded",
            "every module that node-config names",
            "install the missing modules and restart it; its log says why one does not load",
        )


def _limits(examination: Examination) -> Iterator[Finding]:
    reading, expected = examination.reading, examination.expected
    for check, found, wanted, unit in (
        ("max_sessions", reading.max_sessions, expected.max_sessions, "legs at once"),
        ("sessions_per_second", reading.sessions_per_second, expected.sessions_per_second, "legs a second"),
    ):
        if found is not None:
            yield _judged(
                check,
                Verdict.FINE if found >= wanted else Verdict.WARNING,
                f"{found} {unit}",
                f"at least {wanted} {unit}",
                f"somebody lowered it on the node: {WRITE_AGAIN}",
            )
    if reading.status is not None and reading.max_sessions:
        share = reading.status.sessions / reading.max_sessions
        yield _judged(
            "load",
            Verdict.WARNING if share > BUSY_SHARE else Verdict.FINE,
            f"{reading.status.sessions} legs, {share:.0%} of its limit",
            f"below {BUSY_SHARE:.0%}",
            "move tenants to another node (POST /v1/tenants/{id}/move), or add one; with a smaller `capacity_seats` "
            "(PUT /v1/nodes/{id}) no more come",
        )


def _profiles(examination: Examination) -> Iterator[Finding]:
    place = Place.configured(examination.expected)
    for profile in (INTERNAL_PROFILE, EXTERNAL_PROFILE):
        state = examination.reading.profiles.get(profile, "missing")
        found, expected = examination.reading.sockets.get(profile), place.expected(profile)
        is_elsewhere = found is not None and not place.has(profile, found)
        advice = "see its log: most often its port is taken or its certificate cannot be read"
        if is_elsewhere:
            advice = f"phones and gateways are sent to {expected}: {WRITE_AGAIN}, or change its row back"
        yield _judged(
            f"profile {profile}",
            Verdict.FINE if state.startswith("RUNNING") and not is_elsewhere else Verdict.ERROR,
            state if found is None else f"{state} at {found}",
            f"RUNNING at {expected}",
            advice,
        )


def _gateways(examination: Examination) -> Iterator[Finding]:
    reading = examination.reading
    for gateway in examination.expected.gateways:
        state = reading.gateways.get(gateway.name)
        is_down = reading.gateways_up.get(gateway.name) is False
        wanted = "REGED" if gateway.register else "known and not down"
        is_fine = state is not None and not is_down and (not gateway.register or state == "REGED")
        advice = "check its sign-in at the carrier"
        if state is None:
            advice = "`sofia profile external rescan` on the node, then its log"
        elif is_down:
            advice = f"it does not answer OPTIONS at {gateway.address}: ask the carrier, look at the line to it"
        yield _judged(
            f"gateway {gateway.name}",
            Verdict.FINE if is_fine else Verdict.ERROR if state is None or is_down else Verdict.WARNING,
            f"{state}, down" if state and is_down else state or "unknown to the node",
            wanted,
            advice,
        )
        if reading.admits_gateways.get(gateway.name) is False:
            advice = "switchd tells it within seconds: is it running? then `reloadacl` on the node, and its log"
            found = f"calls from {', '.join(gateway.networks)} are turned away"
            yield Finding(f"gateway {gateway.name} in", Verdict.ERROR, found, "its addresses may call in", advice)


def _api(examination: Examination) -> Iterator[Finding]:
    reading, expected = examination.reading, examination.expected
    if reading.asks_api is None or reading.api_seconds is None:
        return
    if not reading.asks_api:
        found = f"the node got no answer from the API in {reading.api_seconds:.1f} s"
        url = reading.api_url or expected.api_url
        advice = f"check from there that {url} answers, its CA file and its secret: {WRITE_AGAIN}"
        yield Finding("api", Verdict.ERROR, found, "an answer: without it nobody registers or calls", advice)
        return
    yield _judged(
        "api",
        Verdict.WARNING if reading.api_seconds > SLOW_API_SECONDS else Verdict.FINE,
        f"answers the node in {reading.api_seconds:.2f} s",
        f"within {SLOW_API_SECONDS:g} s (it gives up after {expected.xml_timeout_seconds} s)",
        "look at the API's load, the database and the network between",
    )


def certificate_finding(certificate: CertificateReading, at: datetime) -> Finding:
    """How long a certificate still holds at a moment of real time."""
    check, expected = f"certificate {certificate.what}", f"valid for more than {CERTIFICATE_WARNING.days} days"
    if certificate.expires_at is None:
        found = f"none at {certificate.address}: {certificate.problem}"
        if certificate.is_used:
            advice = "it cannot be looked at from here: watch its end where it can be reached"
            return Finding(check, Verdict.WARNING, found, expected, advice)
        return Finding(check, Verdict.ERROR, found, expected, "check that it listens there and has a certificate")
    left = certificate.expires_at - at
    verdict = Verdict.ERROR if left < CERTIFICATE_ERROR else Verdict.WARNING
    return _judged(
        check,
        Verdict.FINE if left >= CERTIFICATE_WARNING else verdict,
        f"{certificate.address}: {'expired' if left < timedelta(0) else 'expires'} {certificate.expires_at:%Y-%m-%d}",
        expected,
        "renew it; a node takes a new one when it is restarted, after a drain",
    )


def _judged(check: str, verdict: Verdict, found: str, expected: str, advice: str) -> Finding:
    """A finding whose advice is shown only where there is something to do."""
    return Finding(check, verdict, found, expected, "" if verdict is Verdict.FINE else advice)
