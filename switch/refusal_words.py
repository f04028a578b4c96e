"""Why a call was refused, in sentences for people."""

from __future__ import annotations

from collections.abc import Mapping

from switch.admission import Reason

EXPLANATIONS: Mapping[Reason, str] = {
    Reason.TENANT_UNOPENED: "The service is not open yet: the opening invoice is not paid.",
    Reason.TENANT_SUSPENDED: "The service is suspended; emergency numbers can still be reached.",
    Reason.TENANT_CLOSED: "The service has ended.",
    Reason.UNKNOWN_SEAT: "No such seat exists.",
    Reason.SEAT_CLOSED: "The seat is not open.",
    Reason.WRONG_NODE: "Another node serves this tenant; the phone should register there.",
    Reason.ADDRESS_NOT_YOURS: "A phone may register for its own address only.",
    Reason.METHOD_NOT_SERVED: "This kind of request is not served.",
    Reason.UNKNOWN_NUMBER: "The number belongs to nobody here, or rings at no seat.",
    Reason.NUMBER_NOT_YOURS: "The tenant has no number of its own to show as caller; assign one first.",
    Reason.DESTINATION_INVALID: "No such number exists; dial with area code, or with + and country code.",
    Reason.NO_GATEWAY: "There is no carrier that takes the call.",
    Reason.UNKNOWN_GATEWAY: "The call came in from an address that belongs to no carrier in use.",
    Reason.GATEWAYS_FULL: "Every carrier that takes the call carries as many calls as it may.",
    Reason.DESTINATION_BARRED: "Calls to this number are barred.",
    Reason.DESTINATION_PREMIUM: "Premium-rate numbers are not allowed.",
    Reason.COUNTRY_NOT_ALLOWED: "Calls to this country are not allowed.",
    Reason.SHORT_CODES_NOT_ALLOWED: "Calls to short service numbers are not allowed.",
    Reason.RELAYING_NOT_ALLOWED: "A call from outside may leave only to a number that the tenant forwards to.",
    Reason.REPLACING_NOT_ALLOWED: "A running call can be transferred within its tenant; nobody takes it over.",
    Reason.DAILY_CAP_REACHED: "The spend cap of the day is used up; calls out are possible again tomorrow.",
    Reason.MEDIA_NOT_ENCRYPTED: "The tenant's calls must be encrypted; switch SRTP on in the phone.",
    Reason.TOO_MANY_CALLS: "The tenant has as many calls at once as it may.",
    Reason.TOO_MANY_CALLS_OF_SEAT: "The seat has as many calls at once as it may.",
    Reason.TOO_MANY_CALLS_A_SECOND: "The tenant began more calls in one second than it may.",
    Reason.SWITCH_AWAY: "The node could not ask where the call may go; try again in a moment.",
}
"""Every reason has its sentence; a test keeps the table complete."""


def explain(refusal: str | None) -> str | None:
    """The sentence for a reason as it stands in a call record; None where there is none, or a word we do not know."""
    return next((words for reason, words in EXPLANATIONS.items() if reason.value == refusal), None)
