"""Refusals around bank statements."""

from __future__ import annotations

from http import HTTPStatus

from billing.rules.errors import BillingRefused
from infra.kit.problems import Conflict, NotFound, Refusal


class MappingRefused(BillingRefused):
    """A column mapping cannot be used; `field` names the part at fault."""

    code = "bank_mapping_refused"
    title = "The column mapping is not acceptable"


class StatementRefused(BillingRefused):
    """A statement is refused whole; `field` names the line and, where one is at fault, the column."""

    code = "bank_statement_refused"
    title = "The bank statement was refused"


class CurrencyRefused(StatementRefused):
    """A statement holds money of another currency than CNY (clause C25)."""

    code = "currency_not_accepted"
    title = "Only CNY is taken"


class StatementOfTheWrongKind(Refusal):
    """A statement came as something other than CSV or XLSX."""

    code = "unsupported_media_type"
    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    title = "This kind of body is not taken here"


class MappingNotFound(NotFound):
    """There is no column mapping of this name."""

    code = "bank_mapping_not_found"


class MappingNameTaken(Conflict):
    """A column mapping of this name exists; mappings are never changed, since statements were read with them."""

    code = "bank_mapping_name_taken"


class StatementNotFound(NotFound):
    """There is no such statement."""

    code = "bank_statement_not_found"


class StatementLineNotFound(NotFound):
    """There is no such line of a statement."""

    code = "bank_statement_line_not_found"


class StatementLineNotWaiting(Conflict):
    """The line waits for nobody: it has its payment, or repeats another line."""

    code = "bank_statement_line_not_waiting"
