"""Refusals around a contract's change, renewal, end and transfer."""

from __future__ import annotations

from billing.rules.errors import BillingRefused
from infra.kit.problems import Conflict, InvalidInput, NotFound


class AgreementRefused(BillingRefused):
    """A day, name, reason or ground of an agreement is not acceptable; `field` names the one at fault."""

    code = "agreement_refused"
    title = "What was agreed is not acceptable"


class InsideNotice(InvalidInput):
    """The day lies inside the notice period (C15, C16)."""

    code = "inside_notice_period"
    title = "The notice is too short"


class TermsOverlap(Conflict):
    """Other terms are agreed from this day or a later one on."""

    code = "terms_overlap"


class VersionNotFound(NotFound):
    """The contract has no such version of its terms."""

    code = "contract_version_not_found"


class VersionNotCancellable(Conflict):
    """The terms hold already, were cancelled, or later ones build on them."""

    code = "contract_version_not_cancellable"


class NothingToRenew(Conflict):
    """The contract has no end, or one that was agreed before its term is over."""

    code = "nothing_to_renew"


class RenewalTooLate(Conflict):
    """A renewal is agreed at least one month before the end (C14)."""

    code = "renewal_too_late"


class EndNotEarlier(InvalidInput):
    """An early end lies before the end that stands."""

    code = "end_not_earlier"


class OrdersBeyondTheEnd(Conflict):
    """Orders are to take effect after the new end."""

    code = "orders_beyond_the_end"


class NoEndToWithdraw(Conflict):
    """No early end stands that could be withdrawn."""

    code = "no_end_to_withdraw"


class EndNotWithdrawable(Conflict):
    """The early end has taken effect, on the contract or on what was charged."""

    code = "end_not_withdrawable"


class PenaltyUnknown(InvalidInput):
    """The contract names no penalty, and neither does the request."""

    code = "penalty_unknown"


class SubLettingConsented(Conflict):
    """Sub-letting to which the operator has consented is no ground (C16, C17)."""

    code = "sub_letting_consented"


class ConsentNotFound(NotFound):
    """There is no such consent for this caller."""

    code = "consent_not_found"


class ConsentDecided(Conflict):
    """The request was decided already."""

    code = "consent_decided"
