"""Where a node finds XML: first by asking the bindings of mod_xml_curl, then in its static tree.

Source: `mod_xml_curl.c` (`xml_url_fetch`) and `switch_xml.c` (`switch_xml_locate`): any error, any status
but 200 and the answer "not found" fall through to the static tree; each request is a new connection.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from xml.etree import ElementTree

import httpx

from switch.simulator.events import url_encode
from switch.simulator.http import certificate_checks, connecting_anew
from switch.simulator.settings import XmlBinding
from switch.simulator.xml_document import (
    MAX_DOCUMENT_BYTES,
    SwitchDocument,
    XmlRefused,
    expanded,
    parse_xml,
    section_of,
)

USER_AGENT = "freeswitch-xml/1.0"
HTTP_OK = 200

_log = logging.getLogger(__name__)


class XmlLookup:
    """Asks for sections of configuration over HTTP, falling back to the static tree."""

    def __init__(self, document: SwitchDocument, bindings: tuple[XmlBinding, ...], *, hostname: str) -> None:
        self.document = document
        self._bindings = bindings
        self._hostname = hostname
        self._clients: dict[tuple[bool, str], httpx.AsyncClient] = {}

    async def locate(
        self,
        section: str,
        *,
        tag_name: str = "",
        key_name: str = "",
        key_value: str = "",
        form: Iterable[tuple[str, str]] = (),
    ) -> ElementTree.Element | None:
        """The `<section>` that answers, or None.

        `form` are the name/value pairs that follow the five standard fields, in order.
        """
        fields = [
            ("hostname", self._hostname),
            ("section", section),
            ("tag_name", tag_name),
            ("key_name", key_name),
            ("key_value", key_value),
            *form,
        ]
        body = "&".join(f"{name}={url_encode(value)}" for name, value in fields)
        for binding in self._bindings:
            if section in binding.sections:
                found = await self._ask(binding, section, body)
                if found is not None:
                    return found
        return self.document.section(section)

    async def _ask(self, binding: XmlBinding, section: str, body: str) -> ElementTree.Element | None:
        try:
            response = await self._client(binding).post(
                binding.url,
                content=body.encode(),
                headers={
                    "Content-Type": "application/x-www-form-urlencoded",
                    "User-Agent": USER_AGENT,
                    "Connection": "close",
                },
                auth=httpx.BasicAuth(binding.user, binding.password) if binding.user else httpx.USE_CLIENT_DEFAULT,
                timeout=binding.timeout_seconds,
            )
        except (httpx.HTTPError, OSError) as error:
            _log.warning("no XML for section %s from %s: %s", section, binding.url, type(error).__name__)
            return None
        if response.status_code != HTTP_OK or len(response.content) > MAX_DOCUMENT_BYTES:
            _log.warning("no XML for section %s: %s answered %d", section, binding.url, response.status_code)
            return None
        try:
            # What came over HTTP goes through the preprocessor like a file (`switch_xml_parse_file`).
            return section_of(parse_xml(expanded(response.text, self.document.global_variables)), section)
        except XmlRefused as error:
            _log.warning("no XML for section %s from %s: %s", section, binding.url, error)
            return None

    def _client(self, binding: XmlBinding) -> httpx.AsyncClient:
        key = binding.verify_certificate, binding.authority_file
        if key not in self._clients:
            self._clients[key] = connecting_anew(verify=certificate_checks(*key))
        return self._clients[key]

    async def close(self) -> None:
        """Close what is open; the lookup cannot be used afterwards."""
        for client in self._clients.values():
            await client.aclose()
        self._clients.clear()


def configuration_named(section: ElementTree.Element | None, name: str) -> ElementTree.Element | None:
    """The `<configuration name=...>` of a configuration section, or None."""
    if section is None:
        return None
    return next((item for item in section.iter("configuration") if item.get("name") == name), None)
