"""Where a call goes, decided on what the tables say at the moment the node asks (standing above all)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, LiteralString, NamedTuple

from infra.kit import clock, logs
from switch import call_policy, numbers
from switch.admission import Encryption, SeatView, Standing, TenantView
from switch.batching import Batcher
from switch.configuration_answers import ConfigurationAnswers
from switch.direct_connections import DirectConnections, PlainConnection
from switch.documents import dialplan, dialplan_call, not_found
from switch.documents.forms import calling_tenant, is_sent_on, occupied_gateway, source_address
from switch.form_reading import read_form
from switch.gateway_choice import GatewayOption
from switch.node_sign_in import STATE_LEFT, NodeNotSignedIn, NodeSignIn
from switch.routing import EMERGENCY_CONTEXT, PUBLIC_CONTEXT, RefusedRoute, route

log = logs.get(__name__)

BATCH_LIMIT_CALLS = 64
QUEUE_LIMIT_CALLS = 2_000
CONCURRENT_BATCHES = 2
ANSWER_TIMEOUT_SECONDS = 2.0

SEEN_FOR = timedelta(seconds=60)
"""How long what was seen to run at another node counts against limits: the live view compares itself every 15 s, and
what nobody watches any more must bar nobody."""


def _elsewhere(which: LiteralString) -> LiteralString:
    """How many such legs of the tenant run at other nodes that are watched, node by node along the primary key."""
    return f"""(SELECT coalesce(sum(there.legs), 0)::integer FROM live_node AS seen CROSS JOIN LATERAL (
            SELECT count(*) AS legs FROM live_leg AS running
            WHERE running.tenant_id = tenant.tenant_id AND running.node = seen.node
              AND running.direction <> 'emergency' AND {which}
        ) AS there
        WHERE seen.node <> call.node AND seen.compared_at > %(compared_after)s)"""  # noqa: S608 - our own words


_SELECT = f"""
SELECT node.secret_digest, tenant.tenant_id, tenant.sip_domain, tenant.standing, placement.serving_node,
       called.number, called.extension, shown.number,
       (SELECT json_agg(json_build_array(
                   account.username, account.seat_id, account.is_open,
                   {_elsewhere("running.seat_id = account.seat_id AND running.leg IN ('caller', 'seat')")}))
        FROM sip_account AS account
        WHERE account.tenant_id = tenant.tenant_id
          AND (account.username IN (call.caller, call.dialled, called.extension) OR account.seat_id = call.seat_id)),
       (SELECT json_agg(json_build_array(
                   gateway.name, gateway.prefixes, gateway.priority, gateway.weight, gateway.capacity_calls,
                   coalesce(seen.is_up, true)))
        FROM gateway
        LEFT JOIN gateway_state AS seen ON seen.node = call.node AND seen.gateway_id = gateway.gateway_id
        WHERE gateway.is_enabled),
       (SELECT row_to_json(policy) FROM platform_call_policy AS policy WHERE policy.name = 'platform'),
       (SELECT row_to_json(policy) FROM call_policy AS policy WHERE policy.tenant_id = tenant.tenant_id),
       (SELECT media.encryption FROM media_policy AS media WHERE media.tenant_id = tenant.tenant_id),
       {_elsewhere("(running.leg = 'caller' OR (running.leg = 'gateway' AND running.direction = 'inbound'))")}
FROM unnest(%(nodes)s::text[], %(tenants)s::text[], %(numbers)s::text[], %(callers)s::text[], %(dialled)s::text[],
            %(seats)s::text[])
     WITH ORDINALITY AS call (node, tenant_id, number, caller, dialled, seat_id, position)
LEFT JOIN node ON node.name = call.node AND node.state <> %(left)s
LEFT JOIN phone_number AS called ON called.number = call.number
LEFT JOIN tenant ON tenant.tenant_id = coalesce(call.tenant_id, called.tenant_id)
LEFT JOIN placement ON placement.tenant_id = tenant.tenant_id
LEFT JOIN LATERAL (
    SELECT number FROM phone_number
    WHERE phone_number.tenant_id = tenant.tenant_id AND is_caller_number
    ORDER BY number LIMIT 1
) AS shown ON true
ORDER BY call.position
"""  # noqa: S608 - our own words


class Question(NamedTuple):
    """A call as the tables are asked about it: by its tenant (from a seat) or by its number (from a gateway).

    `seat_id`: whose call it is that is sent on.
    """

    sign_in: NodeSignIn
    tenant_id: str | None
    number: str | None
    caller: str | None
    dialled: str | None
    seat_id: str | None = None


class Found(NamedTuple):
    """What the tables say about a call."""

    secret_digest: str | None
    tenant_id: str | None
    domain: str | None
    standing: str | None
    serving_node: str | None
    called_number: str | None
    called_extension: str | None
    caller_number: str | None
    accounts: list[tuple[str, str | None, bool, int]] | None
    gateways: list[tuple[str, list[str], int, int, int | None, bool]] | None
    platform_policy: dict[str, Any] | None
    own_policy: dict[str, Any] | None
    encryption: str | None
    calls_elsewhere: int


class Dialling:
    """Answers dialplan questions."""

    def __init__(self, connections: DirectConnections, configuration: ConfigurationAnswers) -> None:
        self._connections = connections
        self._configuration = configuration
        self._batcher: Batcher[Question, Found] = Batcher(
            self._read,
            name="dialling",
            batch_limit_questions=BATCH_LIMIT_CALLS,
            queue_limit_questions=QUEUE_LIMIT_CALLS,
            batch_timeout_seconds=ANSWER_TIMEOUT_SECONDS,
            concurrent_batches=CONCURRENT_BATCHES,
        )

    async def answer(self, sign_in: NodeSignIn, body: bytes) -> str:
        """The document for a form of mod_xml_curl's section `dialplan`.

        A context that is neither a tenant's nor one of ours is not found: the node's own files answer for it.
        Errors: `NodeNotSignedIn`, `MalformedRequest`, 503 (`Unavailable`) when there is no answer in time.
        """
        form = read_form(body)
        context = form.get("Caller-Context", "")
        question = _question(sign_in, form)
        found = await self._batcher.ask(question)
        if not sign_in.is_proven_by(found.secret_digest):
            raise NodeNotSignedIn
        # A seat's call runs in its own tenant's context or in the emergency one, never in another tenant's.
        if context not in (PUBLIC_CONTEXT, EMERGENCY_CONTEXT) and (not context or context != question.tenant_id):
            return not_found()
        gateway = await self._gateway_of(sign_in, form) if context == PUBLIC_CONTEXT else None
        options = _gateways(found)
        call = dialplan_call(form, node=sign_in.node, gateways=options, on=clock.today(), gateway=gateway)
        decision = route(call, _tenant_view(found))
        if isinstance(decision, RefusedRoute):
            log.info("call.refused", node=sign_in.node, tenant_id=found.tenant_id, reason=decision.reason)
        return dialplan(context, decision, is_sent_on=is_sent_on(form), occupied=occupied_gateway(form, options))

    async def close(self) -> None:
        """Answer what waits, then take no more."""
        await self._batcher.close()

    async def _read(self, questions: Sequence[Question]) -> list[Found]:
        parameters: dict[str, Any] = {
            "nodes": [question.sign_in.node for question in questions],
            "tenants": [question.tenant_id for question in questions],
            "numbers": [question.number for question in questions],
            "callers": [question.caller for question in questions],
            "dialled": [question.dialled for question in questions],
            "seats": [question.seat_id for question in questions],
            "left": STATE_LEFT,
            "compared_after": clock.now() - SEEN_FOR,
        }

        async def fetch(connection: PlainConnection) -> list[Found]:
            cursor = await connection.execute(_SELECT, parameters)
            return [Found(*row) for row in await cursor.fetchall()]

        return await self._connections.run(fetch)

    async def _gateway_of(self, sign_in: NodeSignIn, form: dict[str, str]) -> str | None:
        """The name of the gateway that a call from outside came in by, found by its address; None for a phone's call.

        A phone that names a gateway in the address it calls (`;gw=`) is put among its calls by mod_sofia.
        """
        if form.get("variable_seatline_extension"):
            return None
        current = await self._configuration.current(sign_in)
        found = current.gateway_from(*source_address(form))
        return found.name if found is not None else None


def _question(sign_in: NodeSignIn, form: dict[str, str]) -> Question:
    dialled = form.get("Caller-Destination-Number", "")
    if form.get("Caller-Context") == PUBLIC_CONTEXT and not is_sent_on(form):
        destination = numbers.normalise(dialled)
        number = destination.digits if isinstance(destination, numbers.E164) else None
        return Question(sign_in, None, number, None, None)
    return Question(
        sign_in,
        _askable(calling_tenant(form)),
        None,
        _askable(form.get("variable_seatline_extension")),
        numbers.plain_digits(dialled),
        _askable(form.get("variable_seatline_seat")) if is_sent_on(form) else None,
    )


def _askable(text: str | None) -> str | None:
    """A text that may be put to the database; what holds a control character names nothing there."""
    return text if text and text.isprintable() else None


def _gateways(found: Found) -> tuple[GatewayOption, ...]:
    return tuple(
        GatewayOption(name, tuple(prefixes), priority, weight, capacity_calls, is_up)
        for name, prefixes, priority, weight, capacity_calls, is_up in found.gateways or ()
    )


def _tenant_view(found: Found) -> TenantView | None:
    if found.tenant_id is None or found.domain is None or found.standing is None:
        return None
    shown: dict[str, str | None] = {found.caller_number: None} if found.caller_number is not None else {}
    called: dict[str, str | None] = (
        {found.called_number: found.called_extension} if found.called_number is not None else {}
    )
    return TenantView(
        tenant_id=found.tenant_id,
        domain=found.domain,
        standing=Standing(found.standing),
        serving_node=found.serving_node or "",
        seats={account[0]: SeatView(*account) for account in found.accounts or ()},
        numbers=shown | called,
        caller_number=found.caller_number,
        policy=call_policy.of_tenant(call_policy.read_policy(found.platform_policy), found.own_policy),
        encryption=Encryption(found.encryption) if found.encryption is not None else Encryption.ACCEPTED,
        calls_elsewhere=found.calls_elsewhere,
    )
