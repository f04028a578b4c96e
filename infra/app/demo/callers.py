"""The demo's people at the API: each signs in with client credentials and speaks HTTP like any customer."""

from __future__ import annotations

import itertools
from http import HTTPStatus
from typing import Any

import httpx

from infra.app.demo.narrator import ExpectationFailed

TIMEOUT_SECONDS = 30.0
_keys = itertools.count(1)


class Caller:
    """One signed-in API client."""

    def __init__(self, url: str, client_id: str, client_secret: str) -> None:
        self.client_id = client_id
        self.client_secret = client_secret
        self._http = httpx.AsyncClient(base_url=url, timeout=TIMEOUT_SECONDS)

    async def sign_in(self) -> None:
        """Get a token (RFC 6749 client credentials); a story that jumps a month needs a new one now and then."""
        answer = await self._http.post(
            "/oauth/token", data={"grant_type": "client_credentials"}, auth=(self.client_id, self.client_secret)
        )
        self._http.headers["authorization"] = f"Bearer {_checked(answer).json()['access_token']}"

    async def _send(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        answer = await self._http.request(method, path, **arguments)
        if answer.status_code == HTTPStatus.UNAUTHORIZED:
            await self.sign_in()
            answer = await self._http.request(method, path, **arguments)
        return _checked(answer)

    async def get(self, path: str, **params: Any) -> Any:
        """A JSON answer."""
        return (await self._send("GET", path, params=params)).json()

    async def all(self, path: str, **params: Any) -> list[Any]:
        """Every item of a list, page after page."""
        items: list[Any] = []
        after: dict[str, str] = {}
        while True:
            page = await self.get(path, limit=200, **params, **after)
            items += page["items"]
            if page["next"] is None:
                return items
            after = {"after": page["next"]}

    async def get_bytes(self, path: str) -> bytes:
        """A document."""
        return (await self._send("GET", path)).content

    async def post(self, path: str, **body: Any) -> Any:
        """A JSON answer to a JSON body, with an Idempotency-Key of its own."""
        headers = {"idempotency-key": f"demo-{next(_keys)}"}
        answer = await self._send("POST", path, json=body, headers=headers)
        return answer.json() if answer.content else None

    async def put(self, path: str, **body: Any) -> Any:
        """A JSON answer to a JSON body that replaces what is there."""
        return (await self._send("PUT", path, json=body)).json()

    async def upload(self, path: str, content: bytes, *, media_type: str = "text/csv", **params: Any) -> Any:
        """Post a file."""
        return (
            await self._send("POST", path, content=content, params=params, headers={"content-type": media_type})
        ).json()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()


def _checked(answer: httpx.Response) -> httpx.Response:
    if answer.is_error:
        raise ExpectationFailed(
            f"{answer.request.method} {answer.request.url.path} answered {answer.status_code}: {answer.text[:500]}"
        )
    return answer
