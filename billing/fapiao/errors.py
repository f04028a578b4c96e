"""Refusals around fapiao and tax particulars; what a rule refuses is a `billing.rules.fapiao.FapiaoRefused`."""

from __future__ import annotations

from http import HTTPStatus

from billing.rules.errors import BillingRefused
from infra.kit.problems import Conflict, NotFound, Refusal


class TaxParticularsRefused(BillingRefused):
    """A particular is missing or of the wrong form; `field` names it."""

    code = "tax_particulars_refused"
    title = "The tax particulars are not acceptable"


class TaxParticularsNotFound(NotFound):
    """The tenant has not given its tax particulars yet."""

    code = "tax_particulars_not_found"


class FapiaoNotFound(NotFound):
    """There is no such fapiao for this caller."""

    code = "fapiao_not_found"


class FapiaoNumberUsed(Conflict):
    """A fapiao with this number is recorded already, here or on another invoice."""

    code = "fapiao_number_used"


class FapiaoVoided(Conflict):
    """The fapiao has been voided or replaced already."""

    code = "fapiao_voided"


class InvoiceIsVoid(Conflict):
    """No fapiao goes with a void invoice."""

    code = "invoice_is_void"


class TooManyInvoices(Conflict):
    """An export would go through more invoices than one answer takes."""

    code = "too_many_invoices"


class FapiaoFileRefused(BillingRefused):
    """A file of fapiao numbers cannot be read; `field` names the line and, where one is at fault, the column."""

    code = "fapiao_file_refused"
    title = "The file of fapiao numbers was refused"


class FapiaoFileOfTheWrongKind(Refusal):
    """A file of fapiao numbers came as something other than CSV or XLSX."""

    code = "unsupported_media_type"
    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    title = "This kind of body is not taken here"
