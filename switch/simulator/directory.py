"""Finds users the way mod_sofia and mod_dptools do: one directory request per question, nothing remembered.

Source: `switch_xml.c` (`switch_xml_locate_user`, `switch_xml_locate_user_merged`), `sofia_reg.c`
(`sofia_reg_parse_auth`), recorded requests of a running 1.11.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from xml.etree import ElementTree

from switch.simulator.events import NodeIdentity
from switch.simulator.settings import parameters
from switch.simulator.xml_lookup import XmlLookup
from switch.sip.digest import a1_hash

Pairs = list[tuple[str, str]]


@dataclass(frozen=True)
class DirectoryUser:
    """One user with its parameters and variables; those of group and domain are merged in."""

    id: str
    domain: str
    attributes: dict[str, str]
    params: dict[str, str]
    variables: dict[str, str]

    def __repr__(self) -> str:
        return f"DirectoryUser({self.id}@{self.domain})"

    def hashed_a1(self, auth_user: str, realm: str) -> str | None:
        """The a1-hash to verify against, from `a1-hash` or `password`; None when the user has neither."""
        if stored := self.params.get("a1-hash"):
            return stored
        password = self.params.get("password")
        return a1_hash(auth_user, realm, password) if password else None


class Directory:
    """Asks for users over the node's XML lookup."""

    def __init__(self, lookup: XmlLookup, identity: NodeIdentity) -> None:
        self._lookup = lookup
        self._identity = identity

    async def find(
        self,
        user: str,
        domain: str,
        form: Iterable[tuple[str, str]] = (),
        *,
        event_name: str = "REQUEST_PARAMS",
        ip: str = "",
    ) -> DirectoryUser | None:
        """The user, or None when nobody knows it. `form` says what it is for (`action`, ...)."""
        pairs = self.request_head(event_name, "switch_xml.c", "switch_xml_locate_user", 1900)
        pairs.extend(form)
        pairs.extend([("key", "id"), ("user", user), ("domain", domain)])
        if ip:
            pairs.append(("ip", ip))
        section = await self._lookup.locate(
            "directory", tag_name="domain", key_name="name", key_value=domain, form=pairs
        )
        return _locate(section, user, domain)

    async def locate_text(self, section: str, tag: str, key: str, value: str) -> str:
        """The XML of the first element `<tag key="value">` of a section, as `xml_locate` shows it; '' for none."""
        form = self.request_head("REQUEST_PARAMS", "mod_commands.c", "xml_locate_function", 1887)
        found = await self._lookup.locate(section, tag_name=tag, key_name=key, key_value=value, form=form)
        wanted = None if found is None else next((each for each in found.iter(tag) if each.get(key) == value), None)
        return "" if wanted is None else ElementTree.tostring(wanted, encoding="unicode")

    def request_head(self, event_name: str, file: str, function: str, line: int) -> Pairs:
        """The fields that stand in front of every request's own: those of an event."""
        head = self._identity.event_headers(file=file, function=function, line=line)
        return [("Event-Name", event_name), *head.items()]


def _locate(section: ElementTree.Element | None, user: str, domain: str) -> DirectoryUser | None:
    if section is None:
        return None
    for domain_element in section.iter("domain"):
        if domain_element.get("name") != domain:
            continue
        for parents, element in _users(domain_element):
            if user in {element.get("id"), element.get("number-alias")}:
                return _merged(domain, (domain_element, *parents, element))
    return None


def _users(
    domain: ElementTree.Element,
) -> Iterable[tuple[tuple[ElementTree.Element, ...], ElementTree.Element]]:
    for path in ("user", "users/user"):
        for element in domain.iterfind(path):
            yield (), element
    for group in [*domain.iterfind("groups/group"), *domain.iterfind("group")]:
        for path in ("user", "users/user"):
            for element in group.iterfind(path):
                yield (group,), element


def _merged(domain: str, elements: tuple[ElementTree.Element, ...]) -> DirectoryUser:
    params: dict[str, str] = {}
    variables: dict[str, str] = {}
    for element in elements:
        params.update(parameters(element.find("params")))
        variables.update(parameters(element.find("variables"), tag="variable"))
    user = elements[-1]
    return DirectoryUser(user.get("id", ""), domain, dict(user.attrib), params, variables)
