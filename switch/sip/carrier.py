"""A carrier at the other end of a gateway: answers, refuses or rings as told, and calls into the switch."""

from __future__ import annotations

from collections.abc import Mapping

from switch.sip.agent import UserAgent
from switch.sip.call import Call
from switch.sip.dialog import Address
from switch.sip.endpoint import resolve
from switch.sip.errors import WaitExceeded
from switch.sip.message import Request
from switch.sip.phone import ANSWER_TIMEOUT_SECONDS, CANCEL_TIMEOUT_SECONDS
from switch.sip.policy import Policy
from switch.sip.sign_ins import SignIns
from switch.sip.transactions import ServerTransaction, Timers
from switch.sip.uri import NameAddress, SipUri

MAX_NUMBERS = 10_000


class Carrier(UserAgent):
    """A gateway endpoint; its address goes into the switch's gateway as proxy.

    `policy` applies to every number that `set_policy` did not give one of its own. `accounts`: who may sign in, by user
    name, with which password; without any nobody can (405).
    """

    def __init__(
        self,
        local_host: str,
        local_port: int = 0,
        *,
        policy: Policy | None = None,
        timers: Timers | None = None,
        user_agent: str = "Carrier",
        accounts: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(
            local_host=local_host,
            local_port=local_port,
            policy=policy,
            timers=timers,
            user_agent=user_agent,
        )
        self._policies: dict[str, Policy] = {}
        self._sign_ins = SignIns(accounts or {})

    def __repr__(self) -> str:
        return f"<Carrier at {self._local[0]}:{self._local[1]}>"

    @property
    def sign_ins(self) -> SignIns:
        """Who may sign in, and who has."""
        return self._sign_ins

    def set_policy(self, number: str, policy: Policy) -> None:
        """What happens to calls to this number, written as the switch writes it in the Request-URI."""
        if len(self._policies) >= MAX_NUMBERS and number not in self._policies:
            raise ValueError(f"at most {MAX_NUMBERS} numbers can have a policy of their own")
        self._policies[number] = policy

    def policy_for(self, request: Request) -> Policy:
        """By the number in the Request-URI."""
        return self._policies.get(SipUri.parse(request.uri).user, self.policy)

    async def dial(self, number: str, *, switch: Address, caller_number: str) -> Call:
        """Start a call to a number of the switch's and return it at once."""
        await self.start()
        destination = await resolve(*switch)
        host, port = destination
        caller = NameAddress(SipUri(self.address[0], caller_number), caller_number)
        return self.place(SipUri(host, number, port), caller, destination)

    async def call(
        self,
        number: str,
        *,
        switch: Address,
        caller_number: str,
        answer_timeout_seconds: float = ANSWER_TIMEOUT_SECONDS,
    ) -> Call:
        """Call and wait until it is answered or refused; withdrawn (status 487) after
        `answer_timeout_seconds`.

        Raises SipTimeout when the switch does not answer at all, SipTransportError.
        """
        call = await self.dial(number, switch=switch, caller_number=caller_number)
        try:
            await call.wait_settled(answer_timeout_seconds)
        except WaitExceeded:
            call.cancel()
            await call.wait_settled(max(CANCEL_TIMEOUT_SECONDS, self._timers.transaction_seconds))
        return call

    def _receive(self, transaction: ServerTransaction) -> None:
        if transaction.request.method == "REGISTER" and self._sign_ins.accounts:
            self._sign_ins.answer(transaction)
        else:
            super()._receive(transaction)
