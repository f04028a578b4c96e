"""Request and response bodies of monthly runs."""

from __future__ import annotations

from datetime import datetime

from billing.runs.models import SetAsideContract
from billing.runs.releases import RunState
from infra.kit import money
from infra.kit.http import Body, View


class Release(Body):
    """The release of a month; with the figures of the preview that was looked at, it goes out only as it was seen.

    `sign_off`: why the month goes out although call records of some hours are missing (see completeness). It takes the
    `hours_version` of the refusal that showed these hours, and signs for no others.
    """

    note: str | None = None
    contracts_due: int | None = None
    expected_total: str | None = None
    sign_off: str | None = None
    hours_version: str | None = None


class RunStateView(View):
    """The run of a month: `waiting` for its release, `running`, or `finished`.

    `contracts_due` still lack an invoice; `set_aside` of them wait for a person. `issued` invoices of the month come to
    `total`; voided ones do not count.
    """

    month: str
    state: str
    contracts_due: int
    issued: int
    total: str
    currency: str
    set_aside: int
    released_at: datetime | None
    released_by: str | None
    note: str | None
    finished_at: datetime | None


class SetAsideContractView(View):
    """A contract that a run could not bill (`failed`), or whose invoice was `voided` to be made again."""

    tenant_id: str
    contract_id: str
    month: str
    reason: str
    problem: str
    times: int
    set_aside_at: datetime
    resolved_at: datetime | None


def run_state_view(state: RunState) -> RunStateView:
    """A run as the API shows it."""
    run = state.run
    return RunStateView(
        month=str(state.month),
        state=state.state,
        contracts_due=state.contracts_due,
        issued=state.issued,
        total=money.amount_text(state.total),
        currency=money.CURRENCY,
        set_aside=state.set_aside,
        released_at=None if run is None else run.released_at,
        released_by=None if run is None else run.released_by,
        note=None if run is None else run.note,
        finished_at=None if run is None or run.state != "finished" else run.finished_at,
    )


def set_aside_contract_view(row: SetAsideContract) -> SetAsideContractView:
    """A contract that was set aside as the API shows it."""
    return SetAsideContractView(
        tenant_id=row.tenant_id,
        contract_id=row.contract_id,
        month=row.month,
        reason=row.reason,
        problem=row.problem,
        times=row.times,
        set_aside_at=row.set_aside_at,
        resolved_at=row.resolved_at,
    )
