"""The XML that a FreeSWITCH node is told: answers to mod_xml_curl and the files of a node's configuration.

Everything here is a pure function from values to text. Two guards hold everywhere: `markup` escapes whatever
stands in an attribute, so that text of a tenant never becomes markup; `channel` lets only harmless characters
into anything that FreeSWITCH interprets a second time (dial strings, arguments of applications, channel
variables).
"""

from __future__ import annotations

from switch.documents.answers import configuration, not_found
from switch.documents.dialplan import dialplan
from switch.documents.directory import DirectoryUser, directory_user
from switch.documents.forms import dialplan_call, directory_lookup
from switch.documents.settings import Gateway, NodeConfiguration, SettingRefused

__all__ = [
    "DirectoryUser",
    "Gateway",
    "NodeConfiguration",
    "SettingRefused",
    "configuration",
    "dialplan",
    "dialplan_call",
    "directory_lookup",
    "directory_user",
    "not_found",
]
