"""Answers to mod_xml_curl that carry no account and no call: nothing found, and the current configuration."""

from __future__ import annotations

from functools import cache

from switch.documents.markup import document, element
from switch.documents.settings import NodeConfiguration
from switch.documents.sofia import access_lists, sofia_configuration

HEALTH_FILE = "seatline.conf"
"""Stands in no file of a node: what it has of it came from the API this moment, asked with its own secret."""


@cache
def health() -> str:
    """The answer that shows a node's way to the API works from end to end."""
    found = element("configuration", name=HEALTH_FILE, description="Answered by the API")
    return document(element("section", found, name="configuration"))


@cache
def not_found() -> str:
    """FreeSWITCH's "not found"; the node then looks at its own files, where there is no account and no
    tenant.
    """
    return document(element("section", element("result", status="not found"), name="result"))


def configuration(settings: NodeConfiguration, name: str) -> str:
    """The answer to a question for the configuration file `name`, such as `sofia.conf`.

    Only what changes while a node runs is answered: the profiles with the current gateways, and the list of
    addresses that gateways call from. Everything else stays in the node's own files.
    """
    current = {"sofia.conf": sofia_configuration, "acl.conf": access_lists}.get(name)
    if current is None:
        return not_found()
    return document(element("section", current(settings), name="configuration"))
