"""Requests of the lease: contracts, orders, seats, decks, faults, maintenance."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

from infra.kit import clock
from tests.billing import agreements
from tests.billing.histories import add, document
from tests.journeys.house import Example, House
from tests.world import PRICES, Customer, World

_numbers = itertools.count(1)


def upload_of_deck(world: World, name: str, *, default: bool) -> Example:
    path = f"/v1/rate-decks?name={name}&default={str(default).lower()}"
    return Example(world.operator, path, content=PRICES.encode(), headers={"content-type": "text/csv"})


async def _create_contract(house: House) -> Example:
    lease = {"tenant_id": house.theirs.tenant_id, "title": "二期", "preset": "onsite", "opens_on": "2026-10-01"}
    return Example(house.world.operator, "/v1/contracts", lease)


async def _new_contract(house: House) -> str:
    """The path of a contract of `theirs` that opens in autumn."""
    return f"/v1/contracts/{(await (await _create_contract(house)).send()).json()['contract_id']}"


async def _amend_contract(house: House) -> Example:
    body = agreements.amendment("2026-12-01", {"grace_days": 9})
    return Example(house.world.finance, f"{await _new_contract(house)}/amendments", body)


async def _preview_amendment(house: House) -> Example:
    path = f"/v1/contracts/{house.theirs.contract_id}/amendments/preview"
    body = {"effective_on": "2026-09-01", "terms": {"rent_per_seat": "2100.00"}}
    return Example(house.world.finance, path, body)


async def _cancel_amendment(house: House) -> Example:
    amendment = await _amend_contract(house)
    await amendment.send()
    return Example(house.world.finance, f"{amendment.path}/2/cancellation", {"reason": "not needed"})


async def _renew_contract(house: House) -> Example:
    lease = {"tenant_id": house.theirs.tenant_id, "title": "三期", "preset": "onsite", "opens_on": "2026-10-01"}
    made = await house.world.operator.does("/v1/contracts", lease | {"term_years": 1})
    path = f"/v1/contracts/{made['contract_id']}/renewal"
    return Example(house.world.finance, path, agreements.renewal(term_years=1))


async def _agree_contract_end(house: House) -> Example:
    return Example(house.world.finance, f"{await _new_contract(house)}/agreed-end", agreements.agreed_end("2026-12-31"))


async def _end_contract_extraordinarily(house: House) -> Example:
    body = agreements.extraordinary_end("2026-11-30", penalty="5000.00")
    return Example(house.world.operator, f"{await _new_contract(house)}/extraordinary-end", body)


async def _withdraw_contract_end(house: House) -> Example:
    end = await _agree_contract_end(house)
    await end.send()
    path = end.path.replace("agreed-end", "end-withdrawal")
    return Example(house.world.finance, path, {"reason": "both go on"})


def consent_wanted(customer: Customer) -> tuple[str, dict[str, Any]]:
    body = {"kind": "sub_letting", "company": "某分公司", "reason": "a branch of ours"}
    return f"/v1/contracts/{customer.contract_id}/consents", body


async def _request_consent(house: House) -> Example:
    return Example(house.theirs.admin, *consent_wanted(house.theirs))


async def _consent_path(house: House) -> str:
    return f"/v1/consents/{(await (await _request_consent(house)).send()).json()['consent_id']}"


async def _grant_consent(house: House) -> Example:
    return Example(house.world.operator, f"{await _consent_path(house)}/grant", {"reason": "known to us"})


async def _refuse_consent(house: House) -> Example:
    return Example(house.world.operator, f"{await _consent_path(house)}/refusal", {"reason": "unknown to us"})


async def _choose_rate_deck(house: House) -> Example:
    path = f"/v1/contracts/{house.theirs.contract_id}/rate-deck"
    return Example(house.world.finance, path, {"rate_deck_id": house.ids["deck_id"]})


async def _create_rate_deck(house: House) -> Example:
    return upload_of_deck(house.world, f"deck-{next(_numbers)}", default=True)


async def _place_seat_order(house: House) -> Example:
    day = clock.today() + timedelta(days=5 + next(_numbers))
    body = {"contract_id": house.theirs.contract_id, "kind": "add", "quantity": 1, "effective_on": day.isoformat()}
    return Example(house.theirs.admin, "/v1/seat-orders", body | {"tenant_id": house.theirs.tenant_id})


async def new_order(house: House) -> dict[str, Any]:
    return (await (await _place_seat_order(house)).send()).json()


async def _cancel_seat_order(house: House) -> Example:
    path = f"/v1/seat-orders/{(await new_order(house))['order_id']}/cancellation"
    return Example(house.theirs.admin, path, {"reason": "no need"})


async def _move_of_an_order(house: House, path: str) -> Example:
    order = await new_order(house)
    later = clock.today() + timedelta(days=200 + next(_numbers))
    return Example(
        house.theirs.admin, f"/v1/seat-orders/{order['order_id']}/{path}", {"effective_on": later.isoformat()}
    )


async def _move_seat_order(house: House) -> Example:
    return await _move_of_an_order(house, "move")


async def _preview_seat_order_move(house: House) -> Example:
    return await _move_of_an_order(house, "move/preview")


async def _reissue_credentials(house: House) -> Example:
    body = {"including_tunnel": False}
    return Example(house.theirs.admin, f"/v1/seats/{house.ids['seat_id']}/credentials", body)


async def _name_seat(house: House) -> Example:
    return Example(house.theirs.admin, f"/v1/seats/{house.ids['seat_id']}/name", {"name": f"王 {next(_numbers)}"})


def fault_body(customer: Customer, day: str, **other: Any) -> dict[str, Any]:
    whom = {"tenant_id": customer.tenant_id, "contract_id": customer.contract_id, "note": "no registration"}
    return whom | {"began_at": f"{day}T09:00:00+08:00", "ended_at": f"{day}T19:00:00+08:00"} | other


async def _next_fault(house: House, **other: Any) -> dict[str, Any]:
    """A fault of a day of its own, so that it is not known already."""
    known = (await house.theirs.admin.ask("/v1/faults"))["items"]
    return fault_body(house.theirs, f"2026-06-{1 + len(known):02}", **other)


async def _report_fault(house: House) -> Example:
    return Example(house.theirs.admin, "/v1/faults", await _next_fault(house))


async def _new_fault(house: House, **other: Any) -> str:
    made = await house.world.operator.does("/v1/faults", await _next_fault(house, **other))
    return f"/v1/faults/{made['fault_id']}"


async def _confirm_fault(house: House) -> Example:
    decision = {"cause": "operator", "reason": "our switch"}
    return Example(house.world.operator, f"{await _new_fault(house)}/confirmation", decision)


async def _reclassify_fault(house: House) -> Example:
    decision = {"cause": "force_majeure", "reason": "a storm"}
    return Example(house.world.finance, f"{await _new_fault(house, cause='operator')}/reclassification", decision)


async def _end_fault(house: House) -> Example:
    path = await _new_fault(house, began_at="2026-07-02T08:00:00+08:00", ended_at=None)
    return Example(house.world.operator, f"{path}/end", {"ended_at": "2026-07-02T08:30:00+08:00"})


async def _correct_fault(house: House) -> Example:
    path = await _new_fault(house, cause="operator")
    day = (await house.world.operator.ask(path))["began_at"][:10]
    other = {"ended_at": f"{day}T20:00:00+08:00", "reason": "it took an hour longer", "numbers": [1]}
    return Example(house.world.operator, f"{path}/correction", other)


async def _withdraw_fault(house: House) -> Example:
    return Example(house.world.operator, f"{await _new_fault(house)}/withdrawal", {"reason": "a test call"})


def window_body(day: str) -> dict[str, Any]:
    times = {"begins_at": f"{day}T02:00:00+08:00", "ends_at": f"{day}T04:00:00+08:00"}
    return times | {"note": "new switch software"}


async def _announce_window(house: House) -> Example:
    """In a month of its own, since a month has two at most."""
    known = (await house.world.operator.ask("/v1/maintenance-windows"))["items"]
    day = f"2026-{7 + len(known):02}-20"
    return Example(house.world.operator, "/v1/maintenance-windows", window_body(day))


async def _new_window(house: House) -> str:
    made = (await (await _announce_window(house)).send()).json()
    return f"/v1/maintenance-windows/{made['window_id']}"


async def _move_window(house: House) -> Example:
    times = {"begins_at": "2026-07-28T02:00:00+08:00", "ends_at": "2026-07-28T04:00:00+08:00"}
    return Example(house.world.operator, f"{await _new_window(house)}/move", times | {"reason": "earlier"})


async def _cancel_window(house: House) -> Example:
    return Example(house.world.operator, f"{await _new_window(house)}/cancellation", {"reason": "no need"})


async def _close_window(house: House) -> Example:
    """The window of June was over two hours late."""
    listed = (await house.world.operator.ask("/v1/maintenance-windows"))["items"]
    june = next(each for each in listed if each["begins_at"].startswith("2026-06"))
    late = {"ended_at": "2026-06-21T06:00:00+08:00"}
    return Example(house.world.operator, f"/v1/maintenance-windows/{june['window_id']}/closure", late)


async def _make_quote(house: House) -> Example:
    question = document("hosted", "2026-06-01", "2026-07-31", [add("2026-06-01", 2)])
    return Example(house.theirs.admin, "/v1/quotes", question)


EXAMPLES: dict[str, Callable[[House], Awaitable[Example]]] = {
    "AgreeContractEnd": _agree_contract_end,
    "AmendContract": _amend_contract,
    "AnnounceMaintenanceWindow": _announce_window,
    "CancelAmendment": _cancel_amendment,
    "CancelMaintenanceWindow": _cancel_window,
    "CancelSeatOrder": _cancel_seat_order,
    "ChooseRateDeck": _choose_rate_deck,
    "CloseMaintenanceWindow": _close_window,
    "ConfirmFault": _confirm_fault,
    "CorrectFault": _correct_fault,
    "CreateContract": _create_contract,
    "CreateRateDeck": _create_rate_deck,
    "EndContractExtraordinarily": _end_contract_extraordinarily,
    "EndFault": _end_fault,
    "GrantConsent": _grant_consent,
    "MakeQuote": _make_quote,
    "MoveMaintenanceWindow": _move_window,
    "MoveSeatOrder": _move_seat_order,
    "NameSeat": _name_seat,
    "PlaceSeatOrder": _place_seat_order,
    "PreviewAmendment": _preview_amendment,
    "PreviewSeatOrderMove": _preview_seat_order_move,
    "ReclassifyFault": _reclassify_fault,
    "RefuseConsent": _refuse_consent,
    "ReissueSeatCredentials": _reissue_credentials,
    "RenewContract": _renew_contract,
    "ReportFault": _report_fault,
    "RequestConsent": _request_consent,
    "WithdrawContractEnd": _withdraw_contract_end,
    "WithdrawFault": _withdraw_fault,
}
"""By operation id."""
