"""Whether a tenant's calls are encrypted: said through the API, carried out in the dialplan."""

from __future__ import annotations

from datetime import date

import pytest

from switch.admission import Encryption, Reason, SeatView, Standing, TenantView
from switch.documents.dialplan import dialplan
from switch.documents.forms import offers_encryption
from switch.gateway_choice import GatewayOption
from switch.routing import Call, EmergencyRoute, GatewayRoute, Origin, RefusedRoute, SeatRoute, route
from tests.api import Api

ON = date(2026, 6, 8)


def tenant(encryption: Encryption) -> TenantView:
    return TenantView(
        tenant_id="ten_1",
        domain="acme.example.com",
        standing=Standing.ACTIVE,
        serving_node="fs-1",
        seats={name: SeatView(name, f"seat_{name}", is_open=True) for name in ("1001", "1002")},
        numbers={"862150001": None},
        caller_number="862150001",
        encryption=encryption,
    )


def call(dialled: str, *, offers: bool) -> Call:
    gateways = (GatewayOption("carrier", (), 100, 100, None, is_up=True),)
    return Call(
        Origin.SEAT, "fs-1", "ten_1", dialled, ON, extension="1001", gateways=gateways, offers_encryption=offers
    )


@pytest.mark.parametrize("encryption", list(Encryption))
@pytest.mark.parametrize("offers", [True, False])
@pytest.mark.parametrize(("dialled", "way"), [("13800138000", GatewayRoute), ("1002", SeatRoute)])
def test_a_plain_call_is_refused_exactly_where_encryption_is_demanded(
    encryption: Encryption, *, offers: bool, dialled: str, way: type[object]
) -> None:
    found = route(call(dialled, offers=offers), tenant(encryption))
    if encryption is Encryption.DEMANDED and not offers:
        assert isinstance(found, RefusedRoute)
        assert found.reason is Reason.MEDIA_NOT_ENCRYPTED
    else:
        assert isinstance(found, way)


def test_an_emergency_call_is_never_refused_for_being_plain() -> None:
    assert isinstance(route(call("110", offers=False), tenant(Encryption.DEMANDED)), EmergencyRoute)


@pytest.mark.parametrize(
    ("encryption", "said"),
    [
        (Encryption.ACCEPTED, None),
        (Encryption.OFFERED, "rtp_secure_media_outbound=optional:AES_256_CM_HMAC_SHA1_80:AES_CM_128_HMAC_SHA1_80"),
        (Encryption.DEMANDED, "rtp_secure_media_outbound=mandatory:AES_256_CM_HMAC_SHA1_80:AES_CM_128_HMAC_SHA1_80"),
    ],
)
def test_the_called_phone_is_offered_what_its_tenant_wants_and_no_weak_suite(
    encryption: Encryption, said: str | None
) -> None:
    document = dialplan("ten_1", route(call("1002", offers=True), tenant(encryption)))
    assert ("rtp_secure_media_outbound" in document) == (said is not None)
    assert said is None or f"{said}}}user/1002@acme.example.com" in document


def test_an_offer_is_read_from_the_session_description() -> None:
    with_key = "v=0\r\nm=audio 4000 RTP/SAVP 8\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:abc\r\n"
    assert offers_encryption({"variable_switch_r_sdp": with_key})
    assert not offers_encryption({"variable_switch_r_sdp": "v=0\r\nm=audio 4000 RTP/AVP 8\r\n"})
    assert not offers_encryption({})


async def test_a_tenant_says_it_for_itself_and_nobody_elses(api: Api) -> None:
    ours = await api.tenant("ours")
    admin = await api.client("tenant_admin", ours)
    path = f"/v1/tenants/{ours}/media-policy"
    assert (await admin.get(path)).json() == {"tenant_id": ours, "encryption": "accepted"}
    for encryption in ("demanded", "offered", "offered"):
        changed = await admin.http.put(path, json={"encryption": encryption}, headers=admin.headers)
        assert (changed.status_code, changed.json()["encryption"]) == (200, encryption)
    assert (await admin.get(path)).json()["encryption"] == "offered"
    wrong = await admin.http.put(path, json={"encryption": "perhaps"}, headers=admin.headers)
    assert wrong.status_code in (400, 422)
    stranger = await api.client("tenant_admin", await api.tenant("theirs"))
    assert (await stranger.get(path)).status_code == 404
    assert (await stranger.http.put(path, json={"encryption": "accepted"}, headers=stranger.headers)).status_code == 404
    audit = (await (await api.client("platform_operator")).get("/v1/audit", params={"tenant_id": ours})).json()
    said = [entry["facts"]["encryption"] for entry in audit["items"] if entry["action"] == "media_policy.changed"]
    assert sorted(said) == ["demanded", "offered"]
