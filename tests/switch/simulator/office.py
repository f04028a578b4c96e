"""What stands behind a simulated node in these tests: a small HTTP office and a configuration directory.

The office answers mod_xml_curl and takes call records as the product's API does, but from dictionaries.
"""

from __future__ import annotations

import asyncio
import base64
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs
from xml.sax.saxutils import quoteattr

from switch.documents.answers import HEALTH_FILE, health
from switch.sip.digest import a1_hash

DOMAIN = "tenant.example"
NODE, SECRET = "node-a", "s3cret"
PASSWORD = "secret"
ESL_PASSWORD = "esl-pass"
DIAL_STRING = (
    "{sip_invite_domain=${dialed_domain},presence_id=${dialed_user}@${dialed_domain}}"
    "${sofia_contact(*/${dialed_user}@${dialed_domain})}"
)
NOT_FOUND = '<document type="freeswitch/xml"><section name="result"><result status="not found"/></section></document>'

Actions = list[tuple[str, str]]


@dataclass
class Office:
    """Users (name to a1-hash), a dialplan (destination to actions) and the call records that came in."""

    users: dict[str, str] = field(default_factory=dict[str, str])
    user_variables: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])
    dialplan: dict[str, Actions] = field(default_factory=dict[str, Actions])
    forms: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    records: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    queries: list[str] = field(default_factory=list[str])
    question_status: int = 200
    record_status: int = 200
    record_gate: asyncio.Event | None = None
    arrived: asyncio.Condition = field(default_factory=asyncio.Condition)
    server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        """Where the office listens."""
        assert self.server is not None
        port = self.server.sockets[0].getsockname()[1]
        return f"http://127.0.0.1:{port}"

    def add_user(self, name: str, password: str = PASSWORD, **variables: str) -> None:
        """A user of the tenant's domain who may register and call."""
        self.users[name] = a1_hash(name, DOMAIN, password)
        self.user_variables[name] = {"user_context": "seats", **variables}

    async def open(self) -> None:
        """Listen."""
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=2_000)

    async def close(self) -> None:
        """Listen no more."""
        if self.server is not None:
            self.server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._answer_one(reader, writer)
        finally:  # also when the test ends first
            writer.close()

    async def _answer_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        path = head.split(" ")[1]
        headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        expected = base64.b64encode(f"{NODE}:{SECRET}".encode()).decode().lower()
        if headers.get("authorization") != f"basic {expected}":
            status, text = 401, ""
        elif path.split("?")[0].endswith("/cdr"):
            status, text = await self._take_record(path, body)
        else:
            form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
            self.forms.append(form)
            status, text = self.question_status, self._answer(form)
        content = text.encode()
        writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: {len(content)}\r\n\r\n".encode() + content)
        await writer.drain()

    async def _take_record(self, path: str, body: bytes) -> tuple[int, str]:
        if self.record_gate is not None:
            await self.record_gate.wait()
        if self.record_status == 200:
            async with self.arrived:
                self.records.append(json.loads(body))
                self.queries.append(path)
                self.arrived.notify_all()
        return self.record_status, ""

    async def wait_records(self, count: int) -> list[dict[str, Any]]:
        """The variables of the first `count` call records, in order of arrival."""
        async with asyncio.timeout(10), self.arrived:
            await self.arrived.wait_for(lambda: len(self.records) >= count)
        return [record["variables"] for record in self.records]

    def _answer(self, form: dict[str, str]) -> str:
        if form["section"] == "directory" and "user" in form:
            return self._user(form["user"], form["domain"])
        if form["section"] == "dialplan":
            return self._plan(form["Caller-Context"], form["Caller-Destination-Number"])
        if form.get("key_value") == HEALTH_FILE:
            return health()
        return NOT_FOUND

    def _user(self, name: str, domain: str) -> str:
        if domain != DOMAIN or name not in self.users:
            return NOT_FOUND
        variables = "".join(
            f"<variable name={quoteattr(key)} value={quoteattr(value)}/>"
            for key, value in self.user_variables[name].items()
        )
        return (
            f'<document type="freeswitch/xml"><section name="directory"><domain name="{DOMAIN}">'
            f'<user id="{name}"><params><param name="a1-hash" value="{self.users[name]}"/>'
            f'<param name="dial-string" value="{DIAL_STRING}"/></params>'
            f"<variables>{variables}</variables></user></domain></section></document>"
        )

    def _plan(self, context: str, destination: str) -> str:
        actions = self.dialplan.get(destination)
        if actions is None:
            return NOT_FOUND
        inner = "".join(f"<action application={quoteattr(name)} data={quoteattr(data)}/>" for name, data in actions)
        return (
            f'<document type="freeswitch/xml"><section name="dialplan"><context name={quoteattr(context)}>'
            f'<extension name="decided"><condition>{inner}</condition></extension>'
            "</context></section></document>"
        )


def write_configuration(
    directory: Path, *, office: str, carrier: str, record_params: str = "", tls_directory: Path | None = None
) -> None:
    """A small configuration directory in FreeSWITCH's own syntax, on ports that the system chooses.

    `tls_directory`: with the certificate of the profile for phones, which speaks TLS then.
    """
    directory.mkdir(parents=True, exist_ok=True)
    tls = ""
    if tls_directory is not None:
        tls = (
            '<param name="tls" value="true"/><param name="tls-sip-port" value="0"/>'
            f'<param name="tls-cert-dir" value="{tls_directory}"/>'
        )
    (directory / "autoload_configs").mkdir()
    files = {
        "freeswitch.xml": f"""<?xml version="1.0"?>
<document type="freeswitch/xml">
  <X-PRE-PROCESS cmd="set" data="office={office}"/>
  <X-PRE-PROCESS cmd="set" data="domain={DOMAIN}"/>
  <section name="configuration">
    <X-PRE-PROCESS cmd="include" data="autoload_configs/*.xml"/>
  </section>
  <section name="dialplan"><context name="refused"/></section>
  <section name="directory"/>
</document>
""",
        "autoload_configs/modules.conf.xml": """<include>
<configuration name="modules.conf"><modules>
  <load module="mod_sofia"/><load module="mod_xml_curl"/><load module="mod_json_cdr"/>
  <load module="mod_event_socket"/><load module="mod_hash"/>
</modules></configuration>
</include>
""",
        "autoload_configs/event_socket.conf.xml": f"""<configuration name="event_socket.conf"><settings>
  <param name="listen-ip" value="127.0.0.1"/><param name="listen-port" value="0"/>
  <param name="password" value="{ESL_PASSWORD}"/>
</settings></configuration>
""",
        "autoload_configs/xml_curl.conf.xml": f"""<configuration name="xml_curl.conf"><bindings>
  <binding name="all">
    <param name="gateway-url" value="$${{office}}/xml" bindings="directory|dialplan|configuration"/>
    <param name="gateway-credentials" value="{NODE}:{SECRET}"/>
    <param name="timeout" value="5"/>
  </binding>
</bindings></configuration>
""",
        "autoload_configs/json_cdr.conf.xml": f"""<configuration name="json_cdr.conf"><settings>
  <param name="url" value="$${{office}}/cdr"/>
  <param name="cred" value="{NODE}:{SECRET}"/>
  <param name="encode" value="false"/>
  <param name="encode-values" value="false"/>
  <param name="log-b-leg" value="true"/>
  <param name="timeout" value="5"/>
  <param name="err-log-dir" value="{directory}/spool"/>
  {record_params}
</settings></configuration>
""",
        "autoload_configs/switch.conf.xml": """<configuration name="switch.conf"><settings>
  <param name="max-sessions" value="2000"/><param name="sessions-per-second" value="500"/>
</settings></configuration>
""",
        "autoload_configs/sofia.conf.xml": f"""<configuration name="sofia.conf"><profiles>
  <profile name="internal"><settings>
    <param name="sip-ip" value="127.0.0.1"/><param name="sip-port" value="0"/>
    <param name="context" value="refused"/><param name="auth-calls" value="true"/>{tls}
  </settings></profile>
  <profile name="external">
    <gateways><gateway name="carrier">
      <param name="proxy" value="{carrier}"/><param name="register" value="false"/>
      <param name="caller-id-in-from" value="true"/>
    </gateway></gateways>
    <settings>
      <param name="sip-ip" value="127.0.0.1"/><param name="sip-port" value="0"/>
      <param name="context" value="public"/><param name="auth-calls" value="false"/>
    </settings>
  </profile>
</profiles></configuration>
""",
    }
    for name, text in files.items():
        (directory / name).write_text(text, encoding="utf-8")
