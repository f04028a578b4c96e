"""Requests to the stand-in: form bodies read, keys checked, answers kept for the idempotency key that asked."""

from __future__ import annotations

import hashlib
import html
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from billing.cards.stand_in import objects
from billing.cards.stand_in.account import Account, Refused
from billing.cards.stand_in.objects import Document

_PART = re.compile(r"\[([^\]]*)\]")


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request, its header names in small letters."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer."""

    status: int
    body: bytes
    media_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


def read_form(text: str) -> dict[str, Any]:
    """`line_items[0][quantity]=1` and its like as nested mappings and lists."""
    whole: dict[str, Any] = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        path = [name.partition("[")[0], *_PART.findall(name)]
        place = whole
        for part in path[:-1]:
            place = place.setdefault(part, {})
        place[path[-1]] = value
    return {name: _listed(value) for name, value in whole.items()}


def _listed(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    found = {str(name): _listed(each) for name, each in value.items()}
    return list(found.values()) if found and all(name.isdigit() for name in found) else found


class Desk:
    """Answers requests over one account."""

    def __init__(self, account: Account, *, secret_key: str) -> None:
        self._account = account
        self._secret_key = secret_key
        self._answered: dict[str, tuple[str, Answer]] = {}
        self.requests: list[Request] = []
        """Everything that was asked, in order."""
        self.failures: list[int] = []
        """Statuses with which the next requests are answered instead, one each; 0 drops the connection."""
        self.answers_lost: int = 0
        """How many of the next POSTs are carried out without their answer arriving."""

    def answer(self, request: Request) -> Answer | None:
        """The answer to one request; None where the connection is to end without one."""
        self.requests.append(request)
        if request.path.startswith("/pay/"):
            return self._page(request)
        if self.failures:
            status = self.failures.pop(0)
            return _error(status, "api_error", "The stand-in was told to fail.") if status else None
        if request.headers.get("authorization") != f"Bearer {self._secret_key}":
            return _error(401, "invalid_request_error", "Invalid API Key provided.")
        key = request.headers.get("idempotency-key") if request.method == "POST" else None
        return self._carry_out(request) if key is None else self._once(key, request)

    def _once(self, key: str, request: Request) -> Answer | None:
        """Carry a request out, or give the answer again that its key was given before."""
        digest = hashlib.sha256(f"{request.method} {request.path}\n".encode() + request.body).hexdigest()
        known = self._answered.get(key)
        if known is None:
            known = self._answered[key] = (digest, self._carry_out(request))
        if known[0] != digest:
            return _error(400, "idempotency_error", "The key came with other parameters before.")
        if self.answers_lost:
            self.answers_lost -= 1
            return None
        return known[1]

    def _carry_out(self, request: Request) -> Answer:
        try:
            params = read_form(request.query if request.method == "GET" else request.body.decode())
            found = self._route(request.method, request.path.strip("/").split("/")[1:], params)
        except Refused as refused:
            document = objects.error("invalid_request_error", refused.message, code=refused.code, param=refused.param)
            return Answer(refused.status, _json(document))
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            return _error(400, "invalid_request_error", f"A parameter is missing or wrong: {error}.")
        return Answer(200, _json(found))

    def _route(self, method: str, path: list[str], params: dict[str, Any]) -> Document:
        account = self._account
        match method, path:
            case "POST", ["checkout", "sessions"]:
                found = account.opens_session(params)
            case "POST", ["checkout", "sessions", name, "expire"]:
                found = account.ends_session(name)
            case "GET", ["checkout", "sessions", name]:
                found = account.get(name, "checkout.session")
            case "GET", ["payment_intents", name]:
                found = account.get(name, "payment_intent")
            case "GET", ["charges", name]:
                found = account.get(name, "charge")
            case "POST", ["refunds"]:
                found = account.refunds(
                    params["payment_intent"], amount=int(params["amount"]), metadata=params.get("metadata", {})
                )
            case "GET", ["refunds" | "disputes" as kind]:
                inside = [each.removeprefix("data.") for each in params.get("expand", [])]
                listed = account.of_payment(kind.removesuffix("s"), params["payment_intent"])
                return objects.page([account.shown(each, inside) for each in listed], f"/v1/{kind}")
            case _:
                where = f"{method}: /v1/{'/'.join(path)}"
                raise Refused(f"Unrecognized request URL ({where}).", code="url_unknown", status=404)
        return account.shown(found, params.get("expand", []))

    def _page(self, request: Request) -> Answer:
        """The page on which a payer pays: a button instead of a card form."""
        name = request.path.removeprefix("/pay/")
        try:
            session = self._account.get(name, "checkout.session")
            if request.method == "POST":
                self._account.pays(name)
                return Answer(303, b"", "text/plain", {"location": str(session["success_url"])})
        except Refused as refused:
            return Answer(refused.status, refused.message.encode(), "text/plain; charset=utf-8")
        shown = f"{int(session['amount_total']) / 100:,.2f} {session['currency'].upper()}"
        form = "<form method=post><button>Pay</button></form>" if session["status"] == "open" else "<p>Ended.</p>"
        page = f"<!doctype html><title>Stand-in</title><h1>{html.escape(shown)}</h1>{form}"
        return Answer(200, page.encode(), "text/html; charset=utf-8")


def _error(status: int, kind: str, message: str) -> Answer:
    return Answer(status, _json(objects.error(kind, message)))


def _json(document: Document) -> bytes:
    return json.dumps(document).encode()
