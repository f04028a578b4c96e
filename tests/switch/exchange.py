"""A tenant on a node as the node's HTTP endpoints see it: forms and records in, documents and rows out."""

from __future__ import annotations

import itertools
import json
import uuid
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote

import httpx
from sqlalchemy import delete, select

from infra.kit import clock
from infra.kit.database import Scope
from infra.kit.ids import new_id
from infra.kit.sealing import Seal
from switch import accounts, gateways, nodes, phone_numbers, placements
from switch.models import CallRecord, NewCall, Node, SetAsideRecord
from switch.nodes import NodeDetails
from tenancy import tenants
from tenancy.models import Tenant
from tests.api import Api

RECORDED = Path(__file__).parent / "recorded"
_numbers = itertools.count(1)

REGISTER = {"action": "sip_auth", "sip_auth_method": "REGISTER"}
INVITE = {"action": "sip_auth", "sip_auth_method": "INVITE"}
RING = {"action": "user_call"}
NOT_FOUND = 'status="not found"'


def recorded_form(name: str) -> dict[str, str]:
    """A form as a running FreeSWITCH posted it."""
    return dict(parse_qsl((RECORDED / f"{name}.form").read_text(), keep_blank_values=True))


def encoded(form: dict[str, str]) -> bytes:
    """A form as FreeSWITCH writes it: spaces as %20."""
    return "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in form.items()).encode()


@dataclass
class Renter:
    """A tenant with open seats 1001, 1002, ... and a caller number."""

    tenant: Tenant
    seats: dict[str, str]
    """seat_id by extension."""
    number: str

    @property
    def tenant_id(self) -> str:
        """The tenant's id, which is also its dialplan context."""
        return self.tenant.tenant_id

    @property
    def domain(self) -> str:
        """The tenant's SIP domain."""
        return self.tenant.sip_domain


@dataclass
class Exchange:
    """The application with nodes `node-1` and `node-2`."""

    api: Api
    secrets: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def seal(self) -> Seal:
        """The seal of the installation under test."""
        return Seal(self.api.settings.secret_key)

    async def open(self) -> Exchange:
        """Add two nodes and a carrier."""
        for name in ("node-1", "node-2"):
            await self.add_node(name)
        async with self.api.database.transaction(Scope.platform()) as session:
            await gateways.create_gateway(session, self.seal, name="carrier", host="192.0.2.10", port=5070)
        return self

    async def add_node(self, name: str) -> None:
        """A new active node."""
        base = 21_000 + 10 * next(_numbers)
        details = NodeDetails(
            name=name,
            sip_host="127.0.0.1",
            sip_port=base,
            external_sip_port=base + 1,
            rtp_start_port=30_000,
            rtp_end_port=31_000,
            esl_host="127.0.0.1",
            esl_port=base + 2,
        )
        async with self.api.database.transaction(Scope.platform()) as session:
            node = await nodes.create_node(session, self.seal, details)
            node.state = "active"
            self.secrets[name] = self.seal.open(node.sealed_secret)

    async def add_tenant(self, *, seats: int = 2, node: str = "node-1", domain: str | None = None) -> Renter:
        """A new active tenant that `node` serves."""
        number = next(_numbers)
        async with self.api.database.transaction(Scope.platform()) as session:
            tenant = await tenants.create_tenant(
                session, name=f"tenant {number}", sip_domain=domain or f"tenant-{number}.example.com"
            )
            owned = {str(1001 + index): new_id("seat") for index in range(seats)}
            await accounts.open_accounts(session, tenant, [(seat, extension) for extension, seat in owned.items()])
            await placements.assign(session, tenant.tenant_id, home_node=node, spare_node="node-2")
            caller = await phone_numbers.assign(
                session, tenant.tenant_id, f"+8610888{number:05}", extension="1001", is_caller_number=True
            )
        return Renter(tenant, owned, caller.number)

    async def change_node(self, name: str, **values: Any) -> None:
        """Change columns of a node's row."""
        async with self.api.database.transaction(Scope.platform()) as session:
            node = (await session.execute(select(Node).where(Node.name == name))).scalar_one()
            for column, value in values.items():
                setattr(node, column, value)

    async def suspend(self, renter: Renter) -> None:
        """Suspend the tenant."""
        async with self.api.database.transaction(Scope.platform()) as session:
            await tenants.suspend(session, renter.tenant_id, reason="payment_overdue")

    async def restore(self, renter: Renter) -> None:
        """Restore the tenant."""
        async with self.api.database.transaction(Scope.platform()) as session:
            await tenants.restore(session, renter.tenant_id)

    async def post(
        self, path: str, body: bytes, *, node: str = "node-1", content_type: str = "application/x-www-form-urlencoded"
    ) -> httpx.Response:
        """A POST of a node, signed in."""
        return await self.api.http.post(
            path,
            content=body,
            auth=(node, self.secrets.get(node, "wrong")),
            headers={"content-type": content_type},
        )

    async def ask(self, section: str, form: dict[str, str], *, node: str = "node-1") -> str:
        """The document that a node gets."""
        answer = await self.post(f"/switch/{section}", encoded(form), node=node)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/xml; charset=utf-8")
        return answer.text

    async def look_up(self, renter: Renter, user: str, purpose: dict[str, str], *, node: str = "node-1") -> str:
        """The directory's answer about a user of a tenant."""
        return await self.ask("directory", lookup_form(user, renter.domain) | purpose, node=node)

    async def dial(
        self, renter: Renter, dialled: str, *, extension: str = "1001", context: str | None = None, node: str = "node-1"
    ) -> str:
        """The dialplan's answer to a call of a seat."""
        form = recorded_form("dialplan") | {
            "Caller-Context": context or renter.tenant_id,
            "Caller-Destination-Number": dialled,
            "variable_seatline_tenant": renter.tenant_id,
            "variable_seatline_extension": extension,
        }
        return await self.ask("dialplan", form, node=node)

    async def report(
        self,
        record: dict[str, Any] | bytes,
        *,
        node: str = "node-1",
        query: str = "",
        content_type: str = "application/json",
    ) -> httpx.Response:
        """Post a call record."""
        body = record if isinstance(record, bytes) else json.dumps(record, ensure_ascii=False).encode()
        return await self.post(f"/switch/cdr{query}", body, node=node, content_type=content_type)

    async def stored(self) -> list[CallRecord]:
        """Every stored leg."""
        async with self.api.database.transaction(Scope.platform()) as session:
            return list((await session.execute(select(CallRecord).order_by(CallRecord.leg_id))).scalars())

    async def to_rate(self) -> list[str]:
        """The legs on the billing room's work list."""
        async with self.api.database.transaction(Scope.platform()) as session:
            return list((await session.execute(select(NewCall.leg_id).order_by(NewCall.leg_id))).scalars())

    async def empty_work_list(self) -> None:
        """As if every leg had been rated."""
        async with self.api.database.transaction(Scope.platform()) as session:
            await session.execute(delete(NewCall))

    async def set_aside(self) -> list[SetAsideRecord]:
        """Every record set aside."""
        async with self.api.database.transaction(Scope.platform()) as session:
            return list((await session.execute(select(SetAsideRecord).order_by(SetAsideRecord.record_id))).scalars())


def lookup_form(user: str, domain: str) -> dict[str, str]:
    """A directory form as a running FreeSWITCH posts it, about this user."""
    return recorded_form("register") | {
        "key_value": domain,
        "sip_auth_username": user,
        "sip_auth_realm": domain,
        "sip_to_user": user,
        "sip_to_host": domain,
        "user": user,
        "domain": domain,
    }


def call_record(
    tenant_id: str,
    *,
    leg: str = "gateway",
    direction: str = "outbound",
    began_at: datetime | None = None,
    milliseconds: int = 4_040,
    **variables: str,
) -> dict[str, Any]:
    """A record as a running FreeSWITCH posts it, of a leg answered a second after it began (0 ms: not answered).

    Without the boot it belongs to: a record alone says nothing of the sessions beside it.
    """
    began = int((began_at or clock.now()).timestamp()) * 1_000_000
    answered = began + 1_000_000 if milliseconds else 0
    record: dict[str, Any] = json.loads(
        (RECORDED / f"{'gateway' if leg == 'gateway' else 'caller'}-leg.json").read_text()
    )
    del record["core-uuid"]
    record["switchname"] = "node-1"
    record["variables"] |= {
        "uuid": str(uuid.uuid4()),
        "seatline_tenant": tenant_id,
        "seatline_leg": leg,
        "seatline_direction": direction,
        "seatline_destination": "8613800138000",
        "start_uepoch": str(began),
        "answer_uepoch": str(answered),
        "end_uepoch": str((answered or began) + milliseconds * 1_000),
        "billmsec": str(milliseconds),
    } | variables
    return record
