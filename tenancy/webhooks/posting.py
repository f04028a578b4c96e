"""One POST to a target: to the address that was judged, in a bounded time, with no redirect followed."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus

import httpx

from tenancy.webhooks.errors import TargetRefused
from tenancy.webhooks.targets import Resolver, read

TIMEOUT_SECONDS = 10.0
"""For the whole attempt: finding the address, connecting, TLS, sending, and the answer."""
ANSWER_LIMIT_BYTES = 4_096
"""As much of an answer is read; it is only shown in the delivery log."""
ANSWER_LIMIT_CHARACTERS = 500
PROBLEM_LIMIT_CHARACTERS = 300
USER_AGENT = "Seatline-Webhooks/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Posted:
    """What came of a POST; `problem` None: the target has taken it."""

    status: int | None = None
    problem: str | None = None
    answer: str = ""
    address: str | None = None
    duration_milliseconds: int = 0
    retry_after: timedelta | None = None

    @property
    def is_gone(self) -> bool:
        """Whether the target says that it wants nothing any more (410)."""
        return self.status == HTTPStatus.GONE


class Poster:
    """Sends POSTs, many at once. Connections are never shared: two names may lead to one address."""

    def __init__(
        self, resolver: Resolver, *, tls: ssl.SSLContext | None = None, timeout_seconds: float = TIMEOUT_SECONDS
    ) -> None:
        self._resolver = resolver
        self._timeout_seconds = timeout_seconds
        self._http = httpx.AsyncClient(
            verify=tls or ssl.create_default_context(),
            trust_env=False,  # a proxy of the machine would resolve the name anew
            follow_redirects=False,
            timeout=timeout_seconds,
            limits=httpx.Limits(max_keepalive_connections=0, max_connections=None),
        )

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Posted:
        """POST a JSON body and tell what came of it; never raises for what the target does."""
        begun = time.monotonic()
        posted = Posted(problem=f"no answer within {self._timeout_seconds:g} seconds")
        try:
            async with asyncio.timeout(self._timeout_seconds):
                posted = await self._posted(url, headers, body)
        except TimeoutError:
            pass  # said above
        except TargetRefused as refusal:
            posted = Posted(problem=refusal.detail)
        except (OSError, httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            posted = Posted(problem=_readable(f"{type(error).__name__}: {error}")[:PROBLEM_LIMIT_CHARACTERS])
        took = int((time.monotonic() - begun) * 1000)
        return Posted(
            status=posted.status,
            problem=posted.problem,
            answer=posted.answer,
            address=posted.address,
            duration_milliseconds=took,
            retry_after=posted.retry_after,
        )

    async def close(self) -> None:
        """Close what is open."""
        await self._http.aclose()
        self._resolver.close()

    async def _posted(self, url: str, headers: Mapping[str, str], body: bytes) -> Posted:
        target = read(url, inside_allowed=self._resolver.inside_allowed)
        address = await self._resolver.address_of(target)
        pinned = f"[{address}]" if ":" in address else address
        request = self._http.build_request(
            "POST",
            f"{target.scheme}://{pinned}:{target.port}{target.path}",
            content=body,
            headers={
                **headers,
                "host": target.authority,
                "content-type": "application/json",
                "user-agent": USER_AGENT,
                "accept-encoding": "identity",
            },
            extensions={"sni_hostname": target.host},  # the name that the certificate must be for
        )
        response = await self._http.send(request, stream=True)
        try:
            answer = await _beginning_of(response)
        finally:
            await response.aclose()
        if response.is_success:
            return Posted(status=response.status_code, answer=answer, address=address)
        problem = f"answered {response.status_code}"
        if response.is_redirect:
            problem += ": redirects are not followed"
        return Posted(
            status=response.status_code,
            problem=problem,
            answer=answer,
            address=address,
            retry_after=_wish(response.headers.get("retry-after")),
        )


async def _beginning_of(response: httpx.Response) -> str:
    """The first bytes as they came: nothing is unpacked."""
    read_so_far = b""
    async for piece in response.aiter_raw(ANSWER_LIMIT_BYTES):
        read_so_far += piece
        if len(read_so_far) >= ANSWER_LIMIT_BYTES:
            break
    return _readable(read_so_far[:ANSWER_LIMIT_BYTES].decode("utf-8", errors="replace"))[:ANSWER_LIMIT_CHARACTERS]


def _wish(text: str | None) -> timedelta | None:
    """`Retry-After` in seconds; a date is not read."""
    return timedelta(seconds=int(text)) if text and text.isascii() and text.isdigit() and len(text) <= 6 else None


def _readable(text: str) -> str:
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())
