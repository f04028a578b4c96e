"""The account behind the stand-in: what its holder asks for by the API, and what payers and their banks do."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from billing.cards.stand_in import objects
from billing.cards.stand_in.objects import Document

DISPUTE_FEE = 1500
"""In the smallest unit of the account's currency."""

LEAST_AMOUNT = 400
"""Of a payment, in fen."""


class Refused(Exception):
    """The API's holder asked for what cannot be; becomes an answer of 400, or 404 for an unknown object."""

    def __init__(self, message: str, *, code: str, param: str | None = None, status: int = 400) -> None:
        super().__init__(message)
        self.message, self.code, self.param, self.status = message, code, param, status


@dataclass(frozen=True, slots=True)
class Settlement:
    """How the account is settled: its currency, what one CNY gives in it, and the part that Stripe keeps."""

    currency: str = "cny"
    exchange_rate: Fraction | None = None
    fee: Fraction = Fraction(34, 1000)

    def of(self, amount: int) -> int:
        """An amount of fen in the account's currency, in its smallest unit (of two decimals)."""
        return amount if self.exchange_rate is None else round(amount * self.exchange_rate)


@dataclass
class Account:
    """The state. `tell` is called with every event, in the order in which things happen."""

    tell: Callable[[Document], None]
    page_url: str = ""
    settlement: Settlement = field(default_factory=Settlement)
    settles_late: bool = False
    """Whether a charge reaches the balance only with `settles`."""
    known: dict[str, Document] = field(default_factory=dict[str, Document])
    """Every object by its id."""
    refuses_refunds: str | None = None
    """An error code with which refunds are refused (`insufficient_funds`); None: they go through."""

    def get(self, name: str, kind: str) -> Document:
        """An object. Raises `Refused` as `resource_missing`."""
        found = self.known.get(name)
        if found is None or found["object"] != kind:
            raise Refused(f"No such {kind}: '{name}'", code="resource_missing", param="id", status=404)
        return found

    def opens_session(self, params: Mapping[str, Any]) -> Document:
        """The holder makes a Checkout Session."""
        try:
            session = objects.session(params, page_url=self.page_url)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise Refused(f"Missing required param: {error}.", code="parameter_missing") from error
        if session["amount_total"] < LEAST_AMOUNT:
            raise Refused("The amount is below the least.", code="amount_too_small", param="line_items")
        self.known[session["id"]] = session
        session["_intent_metadata"] = dict(params.get("payment_intent_data", {}).get("metadata", {}))
        return session

    def ends_session(self, name: str) -> Document:
        """The holder ends an open session, or its time is over."""
        session = self.get(name, "checkout.session")
        if session["status"] != "open":
            raise Refused(f"The session is {session['status']}.", code="resource_invalid_state")
        session["status"], session["url"] = "expired", None
        self._happens("checkout.session.expired", session)
        return session

    def pays(self, name: str, *, method: str = "card", later: bool = False, **changed: Any) -> Document:
        """A payer pays on a session; `later`: by a method that takes days. `changed`: fields of the PaymentIntent that
        differ from what was asked for (`currency`, `amount`). Returns the PaymentIntent.
        """
        session = self.get(name, "checkout.session")
        if session["status"] != "open":
            raise Refused(f"The session is {session['status']}.", code="resource_invalid_state")
        intent = objects.payment_intent(
            amount=session["amount_total"], currency=session["currency"], metadata=session["_intent_metadata"]
        )
        intent.update(changed)
        self.known[intent["id"]] = intent
        session["payment_intent"], session["status"], session["url"] = intent["id"], "complete", None
        if later:
            intent["status"] = "processing"
            self._happens("checkout.session.completed", session)
            return intent
        self._succeeds(session, intent, method)
        self._happens("checkout.session.completed", session)
        return intent

    def clears(self, intent_name: str, *, method: str = "card") -> None:
        """A payment that took days has arrived."""
        intent = self.get(intent_name, "payment_intent")
        session = self._session_of(intent)
        self._succeeds(session, intent, method)
        self._happens("checkout.session.async_payment_succeeded", session)

    def bounces(self, intent_name: str) -> None:
        """A payment that took days has failed."""
        intent = self.get(intent_name, "payment_intent")
        intent["status"] = "requires_payment_method"
        self._happens("payment_intent.payment_failed", intent)
        self._happens("checkout.session.async_payment_failed", self._session_of(intent))

    def settles(self, charge_name: str) -> None:
        """What a charge brings reaches the balance."""
        charge = self.get(charge_name, "charge")
        self._reaches_balance(charge)
        self._happens("charge.updated", charge)

    def refunds(
        self,
        intent_name: str,
        *,
        amount: int | None = None,
        metadata: Mapping[str, str] | None = None,
        status: str = "succeeded",
    ) -> Document:
        """The holder sends money back, by the API or in the dashboard."""
        intent = self.get(intent_name, "payment_intent")
        charge = self._charge_of(intent)
        left: int = charge["amount"] - charge["amount_refunded"]
        amount = left if amount is None else amount
        if self.refuses_refunds is not None:
            raise Refused("The refund is not possible.", code=self.refuses_refunds)
        if charge["disputed"]:
            raise Refused("The charge is disputed.", code="charge_disputed", param="charge")
        if not 0 < amount <= left:
            raise Refused("The charge has been refunded.", code="charge_already_refunded", param="amount")
        refund = objects.refund(charge, amount=amount, metadata=metadata or {})
        refund["status"] = status
        refund["balance_transaction"] = self._moves(refund["id"], "refund", -amount, 0)["id"]
        self.known[refund["id"]] = refund
        charge["amount_refunded"] += amount
        charge["refunded"] = charge["amount_refunded"] == charge["amount"]
        self._happens("refund.created", refund)
        self._happens("charge.refunded", charge)
        return refund

    def fails_refund(self, name: str) -> None:
        """The payer's bank does not take a refund; the money is the holder's again."""
        refund = self.get(name, "refund")
        refund["status"] = "failed"
        self.get(refund["charge"], "charge")["amount_refunded"] -= refund["amount"]
        self._happens("refund.failed", refund)

    def disputes(self, intent_name: str, *, amount: int | None = None, inquiry: bool = False) -> Document:
        """A payer's bank takes the money of a charge back; an inquiry only asks."""
        charge = self._charge_of(self.get(intent_name, "payment_intent"))
        status = "warning_needs_response" if inquiry else "needs_response"
        dispute = objects.dispute(charge, amount=amount or charge["amount"], status=status)
        self.known[dispute["id"]] = dispute
        charge["disputed"] = True
        if not inquiry:
            dispute["balance_transactions"].append(
                self._moves(dispute["id"], "adjustment", -dispute["amount"], DISPUTE_FEE)
            )
        self._happens("charge.dispute.created", dispute)
        return dispute

    def closes_dispute(self, name: str, *, won: bool) -> None:
        """The bank decides. What is won comes back; the fee does not."""
        dispute = self.get(name, "dispute")
        dispute["status"] = "won" if won else "lost"
        if won:
            dispute["balance_transactions"].append(self._moves(name, "adjustment", dispute["amount"], 0))
        self._happens("charge.dispute.closed", dispute)

    def of_payment(self, kind: str, intent_name: str) -> list[Document]:
        """The refunds or disputes of a payment, the newest first."""
        found = [each for each in self.known.values() if each["object"] == kind]
        return [each for each in reversed(found) if each["payment_intent"] == intent_name]

    def shown(self, document: Document, expand: list[str]) -> Document:
        """An object as it is answered: without what is ours, with what is to be expanded put in its place."""
        answer = {name: copy.deepcopy(value) for name, value in document.items() if not name.startswith("_")}
        for path in expand:
            self._expand(answer, path.split("."))
        return answer

    def _expand(self, document: Document, path: list[str]) -> None:
        name, rest = path[0], path[1:]
        value = document.get(name)
        if isinstance(value, str):
            value = document[name] = self.shown(self.known[value], [])
        if rest and isinstance(value, dict):
            self._expand(value, rest)

    def _succeeds(self, session: Document, intent: Document, method: str) -> None:
        charge = objects.charge(intent, method=method)
        self.known[charge["id"]] = charge
        intent["latest_charge"], intent["status"] = charge["id"], "succeeded"
        intent["amount_received"] = intent["amount"]
        session["payment_status"] = "paid"
        if not self.settles_late:
            self._reaches_balance(charge)
        self._happens("charge.succeeded", charge)
        self._happens("payment_intent.succeeded", intent)

    def _reaches_balance(self, charge: Document) -> None:
        fee = round(self.settlement.of(charge["amount"]) * self.settlement.fee)
        charge["balance_transaction"] = self._moves(charge["id"], "charge", charge["amount"], fee)["id"]

    def _moves(self, source: str, kind: str, amount: int, fee: int) -> Document:
        rate = self.settlement.exchange_rate
        entry = objects.balance_transaction(
            source,
            kind=kind,
            amount=self.settlement.of(amount),
            fee=fee,
            currency=self.settlement.currency,
            exchange_rate=None if rate is None else float(rate),
        )
        self.known[entry["id"]] = entry
        return entry

    def _session_of(self, intent: Document) -> Document:
        return next(each for each in self.known.values() if each.get("payment_intent") == intent["id"])

    def _charge_of(self, intent: Document) -> Document:
        if intent["latest_charge"] is None:
            raise Refused("The payment has no charge.", code="resource_invalid_state", param="payment_intent")
        return self.get(intent["latest_charge"], "charge")

    def _happens(self, kind: str, about: Document) -> None:
        self.tell(objects.event(kind, self.shown(about, [])))
