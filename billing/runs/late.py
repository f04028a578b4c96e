"""What became known of a contract after its last invoice and waits for the next one, as conditions on `Contract`.

After the final invoice these alone make a contract due: for a supplementary one (rules 3 and 11).
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, func, select

from billing import ledger
from billing.corrections.models import ReRating
from billing.data_traffic.models import DataUsage
from billing.models import Charge, Contract, Holding, Invoice, OneOffCharge
from billing.outages import history
from billing.outages.models import Fault
from billing.rules.months import Month, day_begins


def calls(month: Month) -> ColumnElement[bool]:
    """Whether a contract has calls that go on an invoice of up to this month and are on none yet."""
    return (
        select(Charge.leg_id)
        .where(
            Charge.tenant_id == Contract.tenant_id,
            Charge.contract_id == Contract.contract_id,
            Charge.billing_month > Contract.billed_through,
            Charge.billing_month < month.first,
        )
        .exists()
    )


def data(month: Month) -> ColumnElement[bool]:
    """Whether a contract has data traffic that goes on an invoice of up to this month and is on none yet."""
    return (
        select(DataUsage.record_id)
        .where(
            DataUsage.tenant_id == Contract.tenant_id,
            DataUsage.contract_id == Contract.contract_id,
            DataUsage.billing_month > Contract.billed_through,
            DataUsage.billing_month < month.first,
            DataUsage.amount > 0,
        )
        .exists()
    )


def supplements(month: Month) -> ColumnElement[bool]:
    """Whether a contract has differences of re-ratings that go on an invoice of up to this month and are on none."""
    return (
        select(ReRating.re_rating_id)
        .where(
            ReRating.tenant_id == Contract.tenant_id,
            ReRating.contract_id == Contract.contract_id,
            ReRating.billing_month > Contract.billed_through,
            ReRating.billing_month < month.first,
        )
        .exists()
    )


def charges(month: Month) -> ColumnElement[bool]:
    """Whether a contract has one-off charges from before this month that are on no invoice yet."""
    return (
        select(OneOffCharge.charge_id)
        .where(
            OneOffCharge.tenant_id == Contract.tenant_id,
            OneOffCharge.contract_id == Contract.contract_id,
            OneOffCharge.billed_on.is_(None),
            OneOffCharge.cancelled_at.is_(None),
            OneOffCharge.on < month.first,
        )
        .exists()
    )


def faults(month: Month) -> ColumnElement[bool]:
    """Whether a contract has faults from before this month that no invoice has looked at as a whole.

    One that still lasts is looked at once more when it has ended.
    """
    return (
        select(Fault.fault_id)
        .where(
            Fault.tenant_id == Contract.tenant_id,
            Fault.contract_id == Contract.contract_id,
            Fault.to_credit,
            Fault.began_at < day_begins(month.first),
            Fault.ended_at.is_not(None),
            history.counting(),
        )
        .exists()
    )


def deposits() -> ColumnElement[bool]:
    """Whether a contract has deposits that no invoice has given back, though its final one is made.

    They were paid after it, such as by a payment that was reversed meanwhile and has come after all.
    """
    paid = (
        (Invoice.tenant_id == Contract.tenant_id)
        & (Invoice.contract_id == Contract.contract_id)
        & Invoice.reason.in_(ledger.ORDER_REASONS)
        & Invoice.voided_at.is_(None)
        & (Invoice.paid >= Invoice.total)
    )
    of_holdings = (
        select(Holding.number)
        .join(Invoice, (Invoice.tenant_id == Holding.tenant_id) & (Invoice.invoice_id == Holding.order_invoice_id))
        .where(
            Holding.tenant_id == Contract.tenant_id,
            Holding.contract_id == Contract.contract_id,
            Holding.deposit_asked > 0,
            Holding.deposit_returned.is_(False),
            paid,
        )
        .exists()
    )
    of_contract = select(Invoice.invoice_id).where(Invoice.fixed_deposit_asked > 0, paid).exists()
    return (Contract.billed_through >= func.date_trunc("month", Contract.ends_on)) & (
        of_holdings | (Contract.fixed_deposit_returned.is_(False) & of_contract)
    )
