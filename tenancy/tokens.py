"""Machine sign-in: client credentials (RFC 6749 section 4.4) on Authlib's classes, opaque revocable tokens."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Any, cast

from authlib.oauth2.rfc6749 import (
    AuthorizationServer,
    ClientMixin,
    InvalidClientError,
    OAuth2Payload,
    OAuth2Request,
)
from authlib.oauth2.rfc6749.grants import ClientCredentialsGrant
from authlib.oauth2.rfc6749.util import extract_basic_authorization
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit import audit, clock, sealing
from infra.kit.database import PLATFORM
from infra.kit.ids import is_id, new_id
from infra.kit.principal import Principal
from infra.kit.problems import InvalidInput, NotFound, Unauthenticated
from tenancy.models import AccessToken, Client
from tenancy.roles import ROLES, TENANT_ROLES, Role, permissions_of

TOKEN_PREFIX = "sat_"  # noqa: S105 - a prefix that lets scanners recognise a leaked token
SECRET_PREFIX = "scs_"  # noqa: S105
NAME_LIMIT_CHARACTERS = 200


async def create_client(session: AsyncSession, *, name: str, role: str, tenant_id: str | None) -> tuple[Client, str]:
    """A new API client and its secret, which is shown this once."""
    if role not in ROLES:
        raise InvalidInput(f"A role is one of {', '.join(ROLES)}.", field="role")
    if (role in TENANT_ROLES) != (tenant_id is not None):
        expected = "needs" if role in TENANT_ROLES else "has no"
        raise InvalidInput(f"A client with the role {role} {expected} tenant_id.", field="tenant_id")
    if not name.strip() or len(name) > NAME_LIMIT_CHARACTERS:
        raise InvalidInput(f"A client's name has 1 to {NAME_LIMIT_CHARACTERS} characters.", field="name")
    secret = SECRET_PREFIX + sealing.new_secret()
    client = Client(
        client_id=new_id("cli"),
        tenant_id=tenant_id,
        name=name,
        role=role,
        secret_digest=sealing.digest(secret),
        made_by=audit.actor.get().partition(" ")[0],
        created_at=clock.now(),
        revoked_at=None,
    )
    session.add(client)
    await session.flush()
    await audit.record(session, tenant_id or PLATFORM, "client.created", client.client_id, role=role, name=name)
    return client, secret


async def revoke_client(session: AsyncSession, client_id: str, tenant_id: str | None) -> Client:
    """End a client, and with it every token of it, from this commit on.

    `tenant_id` narrows it to a tenant's own clients.
    """
    client = await session.get(Client, client_id, with_for_update=True)
    if client is None or (tenant_id is not None and client.tenant_id != tenant_id):
        raise NotFound(f"There is no client {client_id}.")
    client.revoked_at = client.revoked_at or clock.now()
    await audit.record(session, client.tenant_id or PLATFORM, "client.revoked", client_id)
    return client


async def hold_maker(session: AsyncSession, client_id: str) -> None:
    """Hold the client that is making another until the end of the transaction: whoever revokes it with all that it has
    made waits, and finds the new one. Raises `Unauthenticated` where it was revoked meanwhile."""
    query = select(Client.client_id).where(Client.client_id == client_id, Client.revoked_at.is_(None))
    if (await session.execute(query.with_for_update(read=True))).first() is None:
        raise Unauthenticated("The client was revoked; get another one.")


async def live_clients_of(session: AsyncSession, maker_id: str) -> list[Client]:
    """The clients that are not revoked and that a person made, or that those have made in turn; locked, oldest first.

    Whoever made a client has seen its secret.
    """
    found: dict[str, Client] = {}
    makers = [maker_id]
    while makers:
        query = (
            select(Client)
            .where(Client.made_by.in_(makers), Client.client_id.not_in(list(found)))
            .order_by(Client.client_id)
            .with_for_update()
            .execution_options(populate_existing=True)
        )
        made = list((await session.execute(query)).scalars())
        found |= {client.client_id: client for client in made}
        makers = [client.client_id for client in made]
    return sorted((each for each in found.values() if each.revoked_at is None), key=lambda each: each.client_id)


async def authenticate(session: AsyncSession, authorization: str | None) -> Principal:
    """The caller of an `Authorization: Bearer …` header (RFC 6750)."""
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated("Send `Authorization: Bearer <token>` with a token from POST /oauth/token.")
    row = (
        await session.execute(
            select(Client, AccessToken)
            .join(AccessToken, AccessToken.client_id == Client.client_id)
            .where(AccessToken.token_digest == sealing.digest(token.strip()))
        )
    ).one_or_none()
    if row is None:
        raise Unauthenticated("The token is not known; get one from POST /oauth/token.")
    client, access = cast("tuple[Client, AccessToken]", tuple(row))
    if access.revoked_at is not None or client.revoked_at is not None or access.expires_at <= clock.now():
        raise Unauthenticated("The token has expired or was revoked; get a new one from POST /oauth/token.")
    role = cast("Role", client.role)
    if (role in TENANT_ROLES) != (client.tenant_id is not None):
        raise Unauthenticated("The client's role does not fit its tenant; ask the operator for another client.")
    return Principal(
        client_id=client.client_id, tenant_id=client.tenant_id, role=role, permissions=permissions_of(role)
    )


async def revoke_token(session: AsyncSession, token: str, client_id: str) -> None:
    """RFC 7009: end one token of this client; an unknown token is no error."""
    await session.execute(
        update(AccessToken)
        .where(
            AccessToken.token_digest == sealing.digest(token),
            AccessToken.client_id == client_id,
            AccessToken.revoked_at.is_(None),
        )
        .values(revoked_at=clock.now())
    )


class _Payload(OAuth2Payload):
    def __init__(self, form: Mapping[str, str]) -> None:
        self._form = dict(form)

    @property
    def data(self) -> dict[str, str]:
        return self._form


class _Request(OAuth2Request):
    """A token request whose form was read already."""

    def __init__(self, form: Mapping[str, str], headers: Mapping[str, str]) -> None:
        super().__init__("POST", "https://localhost/oauth/token", headers=dict(headers))
        self.payload = _Payload(form)

    @property
    def form(self) -> dict[str, str]:
        return cast("_Payload", self.payload).data


class _RegisteredClient(ClientMixin):
    """Authlib's view of a `Client` row."""

    def __init__(self, row: Client) -> None:
        self.row = row

    def get_client_id(self) -> str:
        return self.row.client_id

    def get_allowed_scope(self, scope: Collection[str] | str) -> str:
        return ""

    def check_client_secret(self, client_secret: str) -> bool:
        return self.row.revoked_at is None and sealing.matches(client_secret, self.row.secret_digest)

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return method in ("client_secret_basic", "client_secret_post")

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type == "client_credentials"


class _ClientCredentials(ClientCredentialsGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = ["client_secret_basic", "client_secret_post"]  # noqa: RUF012 - Authlib's form


class _Server(AuthorizationServer):
    """Authlib's server over the one client row that was loaded for this request."""

    def __init__(self, client: Client | None, lifetime_seconds: int) -> None:
        super().__init__()
        self._client = client
        self.issued: dict[str, Any] | None = None
        self.register_grant(_ClientCredentials)
        self.register_token_generator("default", cast("Any", self._token))
        self._lifetime_seconds = lifetime_seconds

    def _token(self, *_: Any, **__: Any) -> dict[str, Any]:
        return {
            "token_type": "Bearer",
            "access_token": TOKEN_PREFIX + sealing.new_secret(),
            "expires_in": self._lifetime_seconds,
        }

    def query_client(self, client_id: str) -> ClientMixin:
        if self._client is not None and self._client.client_id == client_id:
            return _RegisteredClient(self._client)
        raise InvalidClientError(status_code=401, description="The client is not known.")

    def save_token(self, token: dict[str, Any], request: OAuth2Request) -> None:
        self.issued = token

    def create_oauth2_request(self, request: OAuth2Request) -> OAuth2Request:
        return request

    def handle_response(self, status: int, body: Any, headers: Any) -> tuple[int, dict[str, Any], dict[str, str]]:
        return status, dict(body), dict(headers)

    def send_signal(self, name: str, *args: Any, **kwargs: Any) -> None:
        """Nobody listens to Authlib's signals here."""


def _client_id_of(form: Mapping[str, str], headers: Mapping[str, str]) -> str | None:
    basic_client_id, _ = extract_basic_authorization(dict(headers))
    return cast("str | None", basic_client_id) or form.get("client_id")


def _readable(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers as Authlib names them, without credentials that are no UTF-8: Authlib would stumble over those."""
    canonical = {name.title(): value for name, value in headers.items()}
    try:
        extract_basic_authorization(canonical)
    except UnicodeDecodeError:
        del canonical["Authorization"]
    return canonical


async def token_response(
    session: AsyncSession, form: Mapping[str, str], headers: Mapping[str, str], *, lifetime_seconds: int
) -> tuple[int, dict[str, Any], dict[str, str]]:
    """Answer a token request (RFC 6749 section 3.2): status, JSON body, headers."""
    canonical = _readable(headers)
    client_id = _client_id_of(form, canonical)
    known = client_id is not None and is_id("cli", client_id)
    client = await session.get(Client, client_id) if known else None
    server = _Server(client, lifetime_seconds)
    answer = cast("tuple[int, dict[str, Any], dict[str, str]]", server.create_token_response(_Request(form, canonical)))
    if server.issued is not None and client is not None:
        now = clock.now()
        session.add(
            AccessToken(
                token_digest=sealing.digest(server.issued["access_token"]),
                client_id=client.client_id,
                issued_at=now,
                expires_at=now + timedelta(seconds=lifetime_seconds),
                revoked_at=None,
            )
        )
    return answer
