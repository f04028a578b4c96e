"""What every agreement about a contract is checked for: who signed and why, since when it was known, what stands."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from billing.agreements.errors import AgreementRefused, InsideNotice
from billing.contracts import LONGEST_CONTRACT_YEARS
from billing.errors import AfterTheEnd, ContractNotOpen
from billing.models import Contract
from infra.kit import clock

NAME_LIMIT_CHARACTERS = 200
REASON_LIMIT_CHARACTERS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """Why, and who has signed for both sides."""

    reason: str
    by_operator: str
    by_tenant: str

    def checked(self) -> Signed:
        """The same without spaces around; raises `AgreementRefused`, naming what is missing or too long."""
        return Signed(
            reason=text(self.reason, "reason", REASON_LIMIT_CHARACTERS),
            by_operator=text(self.by_operator, "signed_by_operator", NAME_LIMIT_CHARACTERS),
            by_tenant=text(self.by_tenant, "signed_by_tenant", NAME_LIMIT_CHARACTERS),
        )


def text(value: str, place: str, limit_characters: int) -> str:
    """A text that says something; raises `AgreementRefused`."""
    found = value.strip()
    if not found or len(found) > limit_characters:
        expected = f"1 to {limit_characters} characters"
        raise AgreementRefused(place, f"it has {len(found)} characters", expected)
    return found


def waiver(value: str | None) -> str | None:
    """Why the notice is waived, where it is."""
    return None if value is None else text(value, "notice_waiver", REASON_LIMIT_CHARACTERS)


def check_lasting(contract: Contract, today: date) -> None:
    """Refuse whatever would change a contract that is over."""
    if contract.state in {"ended", "lapsed"} or (contract.ends_on is not None and contract.ends_on < today):
        state = "lapsed" if contract.state == "lapsed" else "ended"
        raise ContractNotOpen(
            f"The contract {contract.contract_id} has {state}; sign another one.", field="contract_id"
        )


def check_noticed(contract: Contract, noticed_on: date) -> None:
    """Refuse a notice from before the signature or from the future."""
    today = clock.today()
    if not contract.signed_on <= noticed_on <= today:
        expected = f"the day of the written notice, from {contract.signed_on} to {today}"
        raise AgreementRefused("noticed_on", f"{noticed_on} is not acceptable", expected)


def check_notice(day: date, place: str, *, noticed_on: date, earliest: date, is_waived: bool) -> None:
    """Refuse a day inside the notice period, unless both sides have waived it."""
    if day < earliest and not is_waived:
        raise InsideNotice(
            f"{place}: {day} is inside the notice period; with a notice of {noticed_on} the first day possible is "
            f"{earliest}. Choose that day or a later one, or record why both sides waive the notice.",
            field=place,
            earliest=earliest.isoformat(),
        )


def check_future(contract: Contract, day: date, place: str) -> None:
    """Refuse a day on which something new cannot begin: past, today, up to the opening, after the end, far away."""
    today = clock.today()
    after = max(today, contract.opens_on)
    latest_year = today.year + LONGEST_CONTRACT_YEARS
    if day <= after or day.year > latest_year:
        expected = f"a day after {after}, because what is past or ordered stays, up to the year {latest_year}"
        raise AgreementRefused(place, f"{day} is not acceptable", expected)
    if contract.ends_on is not None and day > contract.ends_on:
        raise AfterTheEnd(f"The contract ends on {contract.ends_on}; renew it first, or choose a day until then.",
                          field=place)  # fmt: skip
