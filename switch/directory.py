"""What a node is told about a SIP account, as true as it was when it asked.

Nothing is remembered between two lookups: standing, seat, account and placement are read anew for each, so a
suspension holds from its commit on even when no command reaches a node (contract rule 7). Lookups that arrive while a
read is under way share the next one (switch/batching.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from infra.kit import logs
from switch.admission import (
    EmergencyOnly,
    Listed,
    Lookup,
    Purpose,
    Reason,
    Refused,
    SeatView,
    Standing,
    TenantView,
    answer_lookup,
)
from switch.batching import Batcher
from switch.direct_connections import DirectConnections, PlainConnection
from switch.documents import DirectoryUser, directory_lookup, directory_user, not_found
from switch.form_reading import read_fields
from switch.node_sign_in import STATE_LEFT, NodeNotSignedIn, NodeSignIn

log = logs.get(__name__)

BATCH_LIMIT_LOOKUPS = 128
QUEUE_LIMIT_LOOKUPS = 5_000
CONCURRENT_BATCHES = 2
ANSWER_TIMEOUT_SECONDS = 2.0
"""Half of what a node waits for an answer at most (twice this time, see `Batcher`); then it gets 503."""

USER_LIMIT_CHARACTERS = 64
DOMAIN_LIMIT_CHARACTERS = 253

PLANNER = (
    # The statement is always answered from the indexes, whatever the statistics say: on tables of any size, and also
    # before the first ANALYZE of a new installation.
    "plan_cache_mode=force_generic_plan",
    "enable_seqscan=off",
    "enable_hashjoin=off",
    "enable_mergejoin=off",
    "jit=off",
)

WANTED_FIELDS = frozenset(
    {b"action", b"purpose", b"user", b"domain", b"sip_auth_method", b"sip_to_user", b"sip_to_host"}
)

_SELECT = """
SELECT node.secret_digest, domain.tenant_id, tenant.standing, placement.serving_node,
       account.seat_id, account.a1_hash, account.is_open, account.generation
FROM unnest(%(nodes)b::text[], %(domains)b::text[], %(users)b::text[])
     WITH ORDINALITY AS lookup (node, domain, username, position)
LEFT JOIN node ON node.name = lookup.node AND node.state <> %(left)s
LEFT JOIN sip_domain AS domain ON domain.domain = lookup.domain
LEFT JOIN tenant ON tenant.tenant_id = domain.tenant_id
LEFT JOIN placement ON placement.tenant_id = domain.tenant_id
LEFT JOIN sip_account AS account
       ON account.tenant_id = domain.tenant_id AND account.username = lookup.username
ORDER BY lookup.position
"""


class Question(NamedTuple):
    """Who asks for whom."""

    sign_in: NodeSignIn
    domain: str
    user: str


class Found(NamedTuple):
    """What the tables say about a question; None where there is nothing. Never leaves this process unjudged."""

    secret_digest: str | None
    tenant_id: str | None
    standing: str | None
    serving_node: str | None
    seat_id: str | None
    a1_hash: str | None
    is_open: bool | None
    generation: int | None


class Directory:
    """Answers directory lookups."""

    def __init__(self, connections: DirectConnections) -> None:
        self._connections = connections
        self._batcher: Batcher[Question, Found] = Batcher(
            self._read,
            name="directory",
            batch_limit_questions=BATCH_LIMIT_LOOKUPS,
            queue_limit_questions=QUEUE_LIMIT_LOOKUPS,
            batch_timeout_seconds=ANSWER_TIMEOUT_SECONDS,
            concurrent_batches=CONCURRENT_BATCHES,
        )

    async def answer(self, sign_in: NodeSignIn, body: bytes) -> str:
        """The document for a form of mod_xml_curl's section `directory`; one that says "not found" where that is so.

        Errors: `NodeNotSignedIn`, and 503 (`Unavailable`) when there is no answer in time.
        """
        lookup = directory_lookup(read_fields(body, WANTED_FIELDS), node=sign_in.node)
        # Also a lookup for nobody is only answered to a node of ours.
        domain, user = (lookup.domain, lookup.user) if lookup is not None and _is_plausible(lookup) else ("", "")
        found = await self._batcher.ask(Question(sign_in, domain, user))
        if not sign_in.is_proven_by(found.secret_digest):
            raise NodeNotSignedIn
        if lookup is None:
            return not_found()
        return _document(lookup, found)

    async def prove(self, sign_in: NodeSignIn) -> None:
        """Answer nobody's question, the way a registration's is: returns where that works.

        Errors: `NodeNotSignedIn`, `Unavailable`.
        """
        found = await self._batcher.ask(Question(sign_in, "", ""))
        if not sign_in.is_proven_by(found.secret_digest):
            raise NodeNotSignedIn

    async def close(self) -> None:
        """Answer what waits, then take no more."""
        await self._batcher.close()

    async def _read(self, questions: Sequence[Question]) -> list[Found]:
        parameters: dict[str, Any] = {
            "nodes": [question.sign_in.node for question in questions],
            "domains": [question.domain for question in questions],
            "users": [question.user for question in questions],
            "left": STATE_LEFT,
        }

        async def fetch(connection: PlainConnection) -> list[Found]:
            cursor = await connection.execute(_SELECT, parameters)
            return [Found(*row) for row in await cursor.fetchall()]

        return await self._connections.run(fetch)


def _is_plausible(lookup: Lookup) -> bool:
    """Whether such an account can exist; the rest (control characters above all) is not put to the database."""
    return (
        len(lookup.user) <= USER_LIMIT_CHARACTERS
        and len(lookup.domain) <= DOMAIN_LIMIT_CHARACTERS
        and lookup.user.isascii()
        and lookup.user.isprintable()
        and lookup.domain.isascii()
        and lookup.domain.isprintable()
    )


def _document(lookup: Lookup, found: Found) -> str:
    tenant = _tenant_view(lookup, found)
    decision = answer_lookup(lookup, tenant)
    if isinstance(decision, Refused) or tenant is None or found.a1_hash is None:
        reason = decision.reason if isinstance(decision, Refused) else Reason.UNKNOWN_SEAT
        log.debug("directory.not_found", node=lookup.node, purpose=lookup.purpose, reason=reason)
        return not_found()
    if isinstance(decision, EmergencyOnly):
        log.debug("directory.emergency_only", node=lookup.node, tenant_id=tenant.tenant_id, reason=decision.reason)
    return directory_user(
        DirectoryUser(
            domain=tenant.domain,
            username=decision.seat.extension,
            a1_hash=found.a1_hash,
            tenant_id=tenant.tenant_id,
            seat_id=decision.seat.seat_id,
            context=tenant.tenant_id,
            generation=found.generation if lookup.purpose is Purpose.REGISTER else None,
        ),
        emergency_only=not isinstance(decision, Listed),
        calls=lookup.purpose is Purpose.INVITE,
    )


def _tenant_view(lookup: Lookup, found: Found) -> TenantView | None:
    if found.tenant_id is None or found.standing is None:
        return None
    seats: dict[str, SeatView] = {}
    if found.a1_hash is not None and found.is_open is not None:
        seats[lookup.user] = SeatView(lookup.user, found.seat_id, found.is_open)
    return TenantView(
        tenant_id=found.tenant_id,
        domain=lookup.domain,
        standing=Standing(found.standing),
        serving_node=found.serving_node or "",
        seats=seats,
    )
