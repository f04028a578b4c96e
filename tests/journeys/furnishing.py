"""Furnishes the house: everything once, by the API."""

from __future__ import annotations

from billing.cards.stand_in.server import StandIn
from tests.journeys.examples.edges import edge_body
from tests.journeys.examples.endings import ending_ids
from tests.journeys.examples.finance import one_off_charge_body, re_rating_wanted, refund_body, statement_upload
from tests.journeys.examples.leases import consent_wanted, fault_body, upload_of_deck, window_body
from tests.journeys.examples.papers import equipment_body, paper_upload
from tests.journeys.examples.people import identity_provider_body, new_person
from tests.journeys.house import House
from tests.switch.esl.scripted_node import ScriptedNode
from tests.world import MOBILE, World


async def furnished(world: World, stand_in: StandIn, event_socket: ScriptedNode) -> House:
    """Two tenants side by side since 1 June; it is 2 July and `theirs` has called, been invoiced and paid."""
    await world.has_prices()
    ours = await world.signs(seats=1, opens="2026-06-01")
    theirs = await world.signs(seats=2, opens="2026-06-01", terms={"equipment_on_register": True})
    await world.travel_to("2026-05-31 09:00")
    await ours.pays_everything()
    payment = await theirs.pays_everything()
    await theirs.pays("10.00")
    refund = await world.finance.does("/v1/refunds", refund_body(theirs.tenant_id))
    await world.travel_to("2026-06-17 12:00")
    record = await theirs.seat(1).record(MOBILE, milliseconds=60_000)
    await world.node_reports(record, await theirs.seat(1).node())
    window = await world.operator.does("/v1/maintenance-windows", window_body("2026-06-21"))
    await world.travel_to("2026-07-02 09:00")
    deck = (await upload_of_deck(world, "theirs", default=False).send()).json()
    await world.operator.does(f"/v1/contracts/{theirs.contract_id}/rate-deck", {"rate_deck_id": deck["deck_id"]})
    charge = await world.finance.does("/v1/one-off-charges", one_off_charge_body(theirs))
    statement = (await (await statement_upload(world)).send()).json()
    await theirs.admin.send("PUT", f"/v1/tenants/{theirs.tenant_id}/tax-particulars", json=_tax_particulars())
    fault = await theirs.admin.does("/v1/faults", fault_body(theirs, "2026-06-15"))
    paper = (await paper_upload(theirs).send()).json()
    equipment = await world.operator.does("/v1/equipment", equipment_body(theirs))
    consent = await theirs.admin.does(*consent_wanted(theirs))
    re_rating = await world.finance.does(*re_rating_wanted(theirs))
    monthly = (await theirs.invoice("monthly")).plain["invoice_id"]
    given_up = await world.finance.does(f"/v1/invoices/{monthly}/write-off", {"reason": "insolvent"})
    await world.finance.does(f"/v1/write-offs/{given_up['write_off_id']}/reversal", {"reason": "they pay"})
    seat_id = (await theirs.admin.ask("/v1/seats"))["items"][0]["seat_id"]
    hand_out = await theirs.admin.does(f"/v1/seats/{seat_id}/hand-outs", {})
    endings = await ending_ids(world, theirs)
    provider = f"/v1/tenants/{theirs.tenant_id}/identity-provider"
    await theirs.admin.send("PUT", provider, json=identity_provider_body())
    person_id = await new_person(world, theirs)
    return House(
        world,
        stand_in,
        event_socket,
        ours,
        theirs,
        endings
        | {
            "tenant_id": theirs.tenant_id,
            "contract_id": theirs.contract_id,
            "client_id": theirs.admin.client_id,
            "leg_id": record["variables"]["uuid"],
            "invoice_id": (await theirs.invoice("monthly")).plain["invoice_id"],
            "payment_id": payment["payment_id"],
            "refund_id": refund["refund_id"],
            "charge_id": charge["charge_id"],
            "fault_id": fault["fault_id"],
            "re_rating_id": re_rating["re_rating_id"],
            "write_off_id": given_up["write_off_id"],
            "consent_id": consent["consent_id"],
            "paper_id": paper["paper_id"],
            "equipment_id": equipment["equipment_id"],
            "person_id": person_id,
            "reminder_id": (await theirs.admin.ask("/v1/reminders"))["items"][0]["reminder_id"],
            "statement_id": statement["statement_id"],
            "window_id": window["window_id"],
            "month": "2026-07",
            "line_number": "1",
            "node": "node-1",
            "edge_id": (await world.operator.does("/v1/sip-edges", edge_body()))["edge_id"],
            "hour": "2026-06-17T10",
            "order_id": (await theirs.admin.ask("/v1/seat-orders"))["items"][0]["order_id"],
            "seat_id": seat_id,
            "hand_out_id": hand_out["hand_out_id"],
            "deck_id": deck["deck_id"],
            "node_id": (await world.operator.ask("/v1/nodes"))["items"][0]["node_id"],
            "gateway_id": (await world.operator.does("/v1/gateways", {"name": "spare", "host": "192.0.2.12"}))[
                "gateway_id"
            ],
            "number": (await theirs.admin.ask("/v1/phone-numbers"))["items"][0]["number"],
        },
    )


def _tax_particulars() -> dict[str, str]:
    return {"title": "安心保险经纪有限公司", "credit_code": "91350100M000100Y43"}
