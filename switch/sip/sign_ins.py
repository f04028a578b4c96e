"""A carrier's registrar: challenges REGISTER requests and remembers whose were right."""

from __future__ import annotations

import time
from collections.abc import Mapping

from switch.sip.digest import Challenge, Credentials, NonceBook, NonceVerdict, a1_hash, verify
from switch.sip.errors import SipError
from switch.sip.message import Request
from switch.sip.transactions import ServerTransaction

REALM = "carrier.example"


class SignIns:
    """Who may sign in and who has.

    `accounts`: passwords by user name; it may be changed at any time. `contacts`: of whoever is signed in, where its
    requests said that it can be reached. `refused` counts wrong names and passwords.
    """

    def __init__(self, accounts: Mapping[str, str]) -> None:
        self.accounts = dict(accounts)
        self.contacts: dict[str, str] = {}
        self.refused = 0
        self._nonces = NonceBook(time.monotonic)

    def answer(self, transaction: ServerTransaction) -> None:
        """Challenge, refuse or accept one REGISTER."""
        request = transaction.request
        given = request.headers.get("Authorization")
        try:
            credentials = Credentials.parse(given) if given is not None else None
        except SipError:
            credentials = None
        if credentials is None:
            self._challenge(transaction, stale=False)
        elif not self._is_right(credentials):
            self.refused += 1
            transaction.respond(403)
        elif self._nonces.check(credentials) is NonceVerdict.STALE:
            self._challenge(transaction, stale=True)
        else:
            self._accept(transaction, credentials.user)

    def _is_right(self, credentials: Credentials) -> bool:
        password = self.accounts.get(credentials.user)
        return password is not None and verify(
            credentials, method="REGISTER", hashed_a1=a1_hash(credentials.user, REALM, password)
        )

    def _challenge(self, transaction: ServerTransaction, *, stale: bool) -> None:
        challenge = Challenge(REALM, self._nonces.issue(), stale=stale)
        transaction.respond(401, headers=[("WWW-Authenticate", str(challenge))])

    def _accept(self, transaction: ServerTransaction, user: str) -> None:
        request = transaction.request
        contact = request.headers.get("Contact") or ""
        seconds = _expires_seconds(request, contact)
        if seconds and contact:
            self.contacts[user] = contact
            transaction.respond(200, headers=[("Contact", contact.partition(">")[0] + f">;expires={seconds}")])
        else:
            self.contacts.pop(user, None)
            transaction.respond(200)


def _expires_seconds(request: Request, contact: str) -> int:
    """What was asked for: the Contact's own expires, else the header, else an hour."""
    texts = (contact.partition(";expires=")[2].partition(";")[0], request.headers.get("Expires") or "")
    return next((int(text) for text in texts if text.isascii() and text.isdecimal() and len(text) < 10), 3_600)
