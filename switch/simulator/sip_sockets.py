"""The sockets of one SIP profile: UDP and TCP at one port, TLS at another where the configuration says so.

Source: `sofia.c` (`sofia_profile_thread_run`, `config_sofia`): a profile of which one socket cannot be opened does not
start.
"""

from __future__ import annotations

import ssl

from switch.simulator.settings import ProfileSettings, TlsSettings
from switch.sip.dialog import Address
from switch.sip.endpoint import OnRequest, SipEndpoint
from switch.sip.errors import SipTransportError
from switch.sip.listener import Listening
from switch.sip.transactions import Timers

CERTIFICATE_FILE = "agent.pem"
PORT_ATTEMPTS = 20
"""How often a port is looked for that is free for UDP and TCP, where none is named."""

UDP, TCP, TLS = "UDP", "TCP", "TLS"

_VERSIONS = {
    "tlsv1": ssl.TLSVersion.TLSv1,
    "tlsv1.1": ssl.TLSVersion.TLSv1_1,
    "tlsv1.2": ssl.TLSVersion.TLSv1_2,
    "tlsv1.3": ssl.TLSVersion.TLSv1_3,
}


class SipSockets:
    """The endpoints of a profile, by transport. Make it with `open`."""

    def __init__(self, endpoints: dict[str, SipEndpoint]) -> None:
        self._endpoints = endpoints

    @classmethod
    async def open(cls, settings: ProfileSettings, *, on_request: OnRequest, timers: Timers | None) -> SipSockets:
        """Open all of them or none. Raises SipTransportError."""
        listening = Listening(tls_context(settings.tls)) if settings.tls is not None else None
        opened = cls({})
        try:
            await opened._open_plain(settings, on_request, timers)
            if settings.tls is not None:
                opened._endpoints[TLS] = await _open(settings, settings.tls.port, on_request, timers, listening)
        except SipTransportError:
            opened.close()
            raise
        return opened

    async def _open_plain(self, settings: ProfileSettings, on_request: OnRequest, timers: Timers | None) -> None:
        for attempts_left in reversed(range(PORT_ATTEMPTS)):
            datagrams = await _open(settings, settings.sip_port, on_request, timers, None)
            try:
                streams = await _open(settings, datagrams.address[1], on_request, timers, Listening())
            except SipTransportError:
                datagrams.close()
                if settings.sip_port or not attempts_left:
                    raise
                continue
            self._endpoints = {UDP: datagrams, TCP: streams}
            return

    def of(self, transport: str) -> SipEndpoint:
        """The endpoint of UDP, TCP or TLS. Raises SipTransportError when the profile does not speak it."""
        endpoint = self._endpoints.get(transport)
        if endpoint is None:
            raise SipTransportError(f"this profile does not speak SIP over {transport}; see `tls` in its settings")
        return endpoint

    @property
    def address(self) -> Address:
        """Where UDP and TCP listen."""
        return self.of(UDP).address

    @property
    def tls_address(self) -> Address | None:
        """Where TLS listens, if at all."""
        return self._endpoints[TLS].address if TLS in self._endpoints else None

    def close(self) -> None:
        """Fall silent at once."""
        for endpoint in self._endpoints.values():
            endpoint.close()


async def _open(
    settings: ProfileSettings,
    port: int,
    on_request: OnRequest,
    timers: Timers | None,
    listening: Listening | None,
) -> SipEndpoint:
    return await SipEndpoint.open(
        settings.sip_ip,
        port,
        on_request=on_request,
        timers=timers,
        user_agent=settings.user_agent,
        listening=listening,
    )


def tls_context(settings: TlsSettings) -> ssl.SSLContext:
    """What the profile shows and agrees to; phones need show no certificate. Raises SipTransportError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = min(
        (_VERSIONS[version] for version in settings.versions if version in _VERSIONS), default=ssl.TLSVersion.TLSv1_2
    )
    file = settings.directory / CERTIFICATE_FILE
    try:
        if settings.ciphers:
            context.set_ciphers(settings.ciphers)
        context.load_cert_chain(file)
    except OSError as error:
        raise SipTransportError(f"SIP over TLS: {file} or `tls-ciphers` cannot be used: {error}") from error
    return context
