"""HTTP to a tenant's identity provider: where webhooks may go (tenancy/webhooks/targets.py), and no farther.

A host is resolved once, every address it has is judged, and the connection goes to one that was judged. Redirects are
not followed, proxies of the environment not used, answers are read to a limit.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import msgspec

from infra.kit.settings import Settings
from tenancy.oidc.errors import ProviderUnusable
from tenancy.webhooks.errors import TargetRefused
from tenancy.webhooks.targets import Resolver, read

CONNECT_TIMEOUT_SECONDS = 5.0
ANSWER_TIMEOUT_SECONDS = 10.0
ANSWER_LIMIT_BYTES = 1_000_000


def may_lead_inside(settings: Settings) -> bool:
    """Whether http and private addresses are allowed: in development."""
    return settings.environment == "development"


def check_url(url: str, settings: Settings) -> None:
    """Refuse a URL that may not be called, as far as that can be told without looking it up. Raises `TargetRefused`."""
    read(url, inside_allowed=may_lead_inside(settings))


@asynccontextmanager
async def client(settings: Settings) -> AsyncGenerator[httpx.AsyncClient]:
    """An HTTP client that reaches public addresses only (in development any); raises `TargetRefused` for others."""
    resolver = Resolver(inside_allowed=may_lead_inside(settings))
    try:
        async with httpx.AsyncClient(
            transport=_Judged(resolver),
            timeout=httpx.Timeout(ANSWER_TIMEOUT_SECONDS, connect=CONNECT_TIMEOUT_SECONDS),
            headers={"accept": "application/json", "accept-encoding": "identity"},
            follow_redirects=False,
            trust_env=False,
        ) as http:
            yield http
    finally:
        resolver.close()


async def ask(http: httpx.AsyncClient, method: str, url: str, **request: Any) -> tuple[int, dict[str, Any]]:
    """Status and JSON object of an answer, which is here within `ANSWER_TIMEOUT_SECONDS`.

    Raises `ProviderUnusable` where there is none to be had.
    """
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT_SECONDS), http.stream(method, url, **request) as answer:
            body = bytearray()
            async for part in answer.aiter_raw():  # as it came: packed answers, which we ask for none of, may be bombs
                body += part
                if len(body) > ANSWER_LIMIT_BYTES:
                    raise ProviderUnusable(f"The identity provider's answer from {url} is too long.")
            status = answer.status_code
    except TimeoutError as error:
        raise ProviderUnusable(f"The identity provider takes too long to answer at {url}.") from error
    except TargetRefused as refusal:
        raise ProviderUnusable(f"The identity provider may not be called: {refusal.detail}") from refusal
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise ProviderUnusable(f"The identity provider does not answer at {url}: {type(error).__name__}.") from error
    try:
        return status, msgspec.json.decode(bytes(body), type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProviderUnusable(f"The identity provider's answer from {url} ({status}) is no JSON object.") from error


class _Judged(httpx.AsyncHTTPTransport):
    """Connects to an address that was judged, under the name that was asked for (Host header and TLS)."""

    def __init__(self, resolver: Resolver) -> None:
        super().__init__(trust_env=False)
        self._resolver = resolver

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        target = read(str(request.url), inside_allowed=self._resolver.inside_allowed)
        try:
            address = await self._resolver.address_of(target)
        except OSError as error:
            raise httpx.ConnectError(f"{target.host} has no address", request=request) from error
        request.extensions = {**request.extensions, "sni_hostname": target.host}
        request.url = request.url.copy_with(host=address)
        return await super().handle_async_request(request)
