"""A desk from which somebody uses the API, and what is seen from there."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import httpx

from infra.kit import money

UNAUTHENTICATED = 401


class Desk:
    """A caller of the API that signs in anew when its token has run out, as it does when months pass."""

    def __init__(self, http: httpx.AsyncClient, client_id: str, secret: str) -> None:
        self.client_id = client_id
        self._http = http
        self._secret = secret
        self._token = ""

    async def send(
        self, method: str, path: str, *, headers: dict[str, str] | None = None, **arguments: Any
    ) -> httpx.Response:
        """One request, whatever its answer."""
        answer = await self._try(method, path, headers or {}, arguments)
        if answer.status_code == UNAUTHENTICATED:
            await self._sign_in()
            answer = await self._try(method, path, headers or {}, arguments)
        return answer

    async def get(self, path: str, **params: Any) -> httpx.Response:
        """GET, whatever its answer."""
        return await self.send("GET", path, params=params)

    async def post(self, path: str, body: Any = None, *, key: str | None = None) -> httpx.Response:
        """POST of a JSON body (none: no body at all), whatever its answer."""
        headers = {"idempotency-key": key} if key else {}
        arguments = {} if body is None else {"json": body}
        return await self.send("POST", path, headers=headers, **arguments)

    async def ask(self, path: str, **params: Any) -> Any:
        """The JSON of a GET that must succeed."""
        return (await _successful(await self.get(path, **params))).json()

    async def does(self, path: str, body: Any = None) -> Any:
        """The JSON of a POST that must succeed."""
        return (await _successful(await self.post(path, body))).json()

    async def _try(self, method: str, path: str, headers: dict[str, str], arguments: dict[str, Any]) -> httpx.Response:
        signed = headers | {"authorization": f"Bearer {self._token}"}
        return await self._http.request(method, path, headers=signed, **arguments)

    async def _sign_in(self) -> None:
        form = {"grant_type": "client_credentials"}
        answer = await self._http.post("/oauth/token", data=form, auth=(self.client_id, self._secret))
        self._token = str((await _successful(answer)).json()["access_token"])


async def _successful(answer: httpx.Response) -> httpx.Response:
    request = answer.request
    assert answer.is_success, f"{request.method} {request.url} answered {answer.status_code}: {answer.text[:800]}"
    return answer


@dataclass(frozen=True)
class InvoiceSeen:
    """An invoice as the API shows it."""

    plain: dict[str, Any]

    @property
    def dates(self) -> tuple[str, str, str | None]:
        """Issued, due, and from when it suspends."""
        return self.plain["issued_on"], self.plain["due_on"], self.plain["suspends_on"]

    @property
    def state(self) -> str:
        """open, paid or void."""
        return self.plain["state"]

    @property
    def total(self) -> str:
        """CNY."""
        return self.plain["total"]

    def kinds(self) -> dict[str, str]:
        """The sum of each kind of line."""
        sums: defaultdict[str, Decimal] = defaultdict(lambda: money.ZERO)
        for line in self.plain["lines"]:
            sums[line["kind"]] += Decimal(line["amount"])
        return {kind: str(amount) for kind, amount in sums.items()}
