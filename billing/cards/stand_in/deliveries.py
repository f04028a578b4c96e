"""Events sent to the webhook, signed: at once, or held to be sent later, twice, in another order, badly signed."""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256

import httpx

from billing.cards.stand_in.objects import Document, now
from infra.kit import logs

log = logs.get(__name__)
TRIES = 5
PAUSE_SECONDS = 0.5
TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event as it was sent, and the status that the webhook answered."""

    event_id: str
    kind: str
    status: int


class Deliveries:
    """Sends events to one webhook, one after another."""

    def __init__(self, webhook_url: str, *, secret: str, times: int = 1) -> None:
        self.webhook_url = webhook_url
        self.times = times
        """How often each event is sent."""
        self.held: list[Document] = []
        self.sent: list[Delivery] = []
        self._secret = secret
        self._holds = False
        self._http: httpx.AsyncClient | None = None
        self._waiting: asyncio.Queue[Document] = asyncio.Queue()
        self._sender: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to send."""
        self._http = httpx.AsyncClient(timeout=TIMEOUT_SECONDS)
        self._sender = asyncio.create_task(self._send_forever())

    async def stop(self) -> None:
        """Leave what waits unsent."""
        if self._sender is not None:
            self._sender.cancel()
            await asyncio.gather(self._sender, return_exceptions=True)
        if self._http is not None:
            await self._http.aclose()

    def tell(self, event: Document) -> None:
        """Something has happened: send it, or keep it while events are held."""
        if self._holds:
            self.held.append(event)
        else:
            self._waiting.put_nowait(event)

    def hold(self) -> None:
        """From now on keep events in `held`."""
        self._holds = True

    def release(self, events: Iterable[Document] | None = None) -> None:
        """Send what is held, or `events` in their order, and hold no more."""
        chosen, self.held, self._holds = list(self.held if events is None else events), [], False
        for event in chosen:
            self._waiting.put_nowait(event)

    async def arrived(self) -> None:
        """Wait until everything was sent."""
        await self._waiting.join()

    def signature(self, body: bytes, *, signed_at: int | None = None, secret: str | None = None) -> str:
        """The `Stripe-Signature` of a body."""
        moment = now() if signed_at is None else signed_at
        signed = hmac.new((secret or self._secret).encode(), f"{moment}.".encode() + body, sha256).hexdigest()
        return f"t={moment},v1={signed}"

    async def send(self, event: Document, *, signed_at: int | None = None, secret: str | None = None) -> httpx.Response:
        """Send one event, whatever the answer; `signed_at` and `secret` make the signature old or wrong."""
        if self._http is None:
            raise RuntimeError("The stand-in was not started.")
        body = json.dumps(event).encode()
        signature = self.signature(body, signed_at=signed_at, secret=secret)
        headers = {"content-type": "application/json", "stripe-signature": signature}
        answer = await self._http.post(self.webhook_url, content=body, headers=headers)
        self.sent.append(Delivery(event["id"], event["type"], answer.status_code))
        return answer

    async def _send_forever(self) -> None:
        while True:
            event = await self._waiting.get()
            try:
                for _ in range(self.times):
                    await self._send_until_taken(event)
            finally:
                self._waiting.task_done()

    async def _send_until_taken(self, event: Document) -> None:
        for attempt in range(TRIES):
            try:
                if (await self.send(event)).is_success:
                    return
            except httpx.HTTPError as error:
                log.info("stand_in.webhook_away", error=type(error).__name__)
            await asyncio.sleep(PAUSE_SECONDS * 2**attempt)
        log.warning("stand_in.event_not_taken", event_id=event["id"], kind=event["type"])
