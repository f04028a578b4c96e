"""Refusals of what puts invoices right."""

from __future__ import annotations

from infra.kit.problems import Conflict, InvalidInput, NotFound


class InvoiceNotCreditable(Conflict):
    """The invoice is void, written off, or a credit note itself."""

    code = "invoice_not_creditable"


class InvoiceNotWrittenOff(Conflict):
    """Only what is open of a monthly or final invoice can be given up."""

    code = "invoice_not_written_off"


class WriteOffNotFound(NotFound):
    """There is no such write-off for this caller."""

    code = "write_off_not_found"


class WriteOffReversed(Conflict):
    """The write-off has been reversed already."""

    code = "write_off_reversed"


class ReRatingNotFound(NotFound):
    """There is no such re-rating for this caller."""

    code = "re_rating_not_found"


class ReRatingOpen(Conflict):
    """A re-rating of this contract and month has not been settled or cancelled yet."""

    code = "re_rating_open"


class ReRatingState(Conflict):
    """The re-rating is still being computed, or is settled or cancelled already."""

    code = "re_rating_state"


class ReRatingRefused(InvalidInput):
    """The month or the deck cannot be priced again; `field` names the one at fault."""

    code = "re_rating_refused"
