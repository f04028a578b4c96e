"""How a node signs in at our HTTP endpoints: HTTP Basic (RFC 7617) with its name and its own secret."""

from __future__ import annotations

import base64
import binascii
import hmac
from dataclasses import dataclass, field

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit import sealing
from infra.kit.problems import Unauthenticated
from switch.models import Node

SCHEME = "basic"
HEADER_LIMIT_CHARACTERS = 512
STATE_LEFT = "left"
"""The state of a node that was taken out of the cluster for good: it may not sign in any more."""


@dataclass(frozen=True, slots=True)
class NodeSignIn:
    """What a node claims: its name, and the digest of the secret that it sent."""

    node: str
    secret_digest: str = field(repr=False)

    def is_proven_by(self, stored_digest: str | None) -> bool:
        """Whether the node's stored digest (None: no such node) is that of the secret it sent."""
        return stored_digest is not None and hmac.compare_digest(self.secret_digest, stored_digest)


class NodeNotSignedIn(Unauthenticated):
    """The node's name or secret is missing or wrong, or the node has left the cluster."""

    code = "node_not_signed_in"

    def __init__(self) -> None:
        super().__init__(
            "Sign in with HTTP Basic: the node's name and its secret as `seatline node-config` wrote them.",
            scheme="Basic",
        )


def read_authorization(header: str | None) -> NodeSignIn:
    """The sign-in in an `Authorization` header, not yet checked; raises `NodeNotSignedIn` when there is none."""
    scheme, _, encoded = (header or "").partition(" ")
    if scheme.lower() != SCHEME or len(encoded) > HEADER_LIMIT_CHARACTERS:
        raise NodeNotSignedIn
    try:
        node, separator, secret = base64.b64decode(encoded.strip(), validate=True).decode("ascii").partition(":")
    except (binascii.Error, ValueError):
        raise NodeNotSignedIn from None
    if not separator or not node.isprintable():
        raise NodeNotSignedIn
    return NodeSignIn(node, sealing.digest(secret))


async def check(session: AsyncSession, sign_in: NodeSignIn) -> None:
    """Raise `NodeNotSignedIn` unless this is a node of ours with its secret."""
    query = select(Node.secret_digest).where(Node.name == sign_in.node, Node.state != STATE_LEFT)
    if not sign_in.is_proven_by((await session.execute(query)).scalar_one_or_none()):
        raise NodeNotSignedIn
