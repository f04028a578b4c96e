"""How a leg was heard: read from its record with care, shown with the call, summed up day by day."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import pytest

from infra.kit import clock
from switch.call_quality import CallQuality, QualityVariables, read_quality
from tests.api import Api
from tests.switch.exchange import Exchange, call_record

HEARD = {
    "read_codec": "PCMA",
    "rtp_audio_in_mos": "4.21",
    "rtp_audio_in_quality_percentage": "93.50",
    "rtp_audio_in_jitter_max_variance": "12.75",
    "rtp_audio_in_media_packet_count": "990",
    "rtp_audio_in_skip_packet_count": "10",
}
NOON = datetime.fromisoformat("2026-07-01T12:00:00+08:00")


def test_what_the_node_says_of_a_leg_it_heard() -> None:
    assert read_quality(QualityVariables(**HEARD)) == CallQuality(
        codec="PCMA",
        mean_opinion_score=Decimal("4.21"),
        quality_percent=Decimal("93.50"),
        jitter_variance=Decimal("12.75"),
        loss_percent=Decimal("1.00"),
        packets_received=990,
    )


def test_silence_has_no_score() -> None:
    silent = QualityVariables(**(HEARD | {"rtp_audio_in_media_packet_count": "0", "rtp_audio_in_mos": "4.50"}))
    assert read_quality(silent) == CallQuality(codec="PCMA", packets_received=0)


@pytest.mark.parametrize("odd", ["", "-1", "nan", "9" * 40, "1e9", "4,5", "\x00", 4.5, None, [], {"a": 1}, "٤"])
def test_what_cannot_be_read_is_left_out(odd: object) -> None:
    names = [name for name in HEARD if name not in ("rtp_audio_in_media_packet_count", "read_codec")]
    read = read_quality(QualityVariables(rtp_audio_in_media_packet_count="5", **dict.fromkeys(names, odd)))
    assert read == CallQuality(packets_received=5)
    assert read_quality(QualityVariables(rtp_audio_in_media_packet_count=odd)).packets_received is None


@pytest.mark.parametrize("odd", ["", "PC MA", "x" * 33, "\x00", 8, None, ["PCMA"]])
def test_a_codec_is_one_word(odd: object) -> None:
    assert read_quality(QualityVariables(read_codec=odd)) == CallQuality()


async def test_a_record_with_odd_statistics_is_stored_and_billed_all_the_same(api: Api) -> None:
    exchange = await Exchange(api).open()
    renter = await exchange.add_tenant()
    record = call_record(renter.tenant_id)
    record["variables"] |= {"rtp_audio_in_mos": 17, "read_codec": ["PCMA"], "rtp_audio_in_media_packet_count": "9" * 18}
    record |= {"core-uuid": 7}
    assert (await exchange.report(record)).status_code == 200
    (leg,) = await exchange.stored()
    assert (leg.codec, leg.mean_opinion_score, leg.packets_received, leg.boot_id) == (None, None, None, None)
    assert await exchange.to_rate() == [leg.leg_id]
    assert await exchange.set_aside() == []


async def test_quality_is_shown_with_the_call_and_by_day_node_and_gateway(api: Api) -> None:
    exchange = await Exchange(api).open()
    renter = await exchange.add_tenant()
    clock.travel_to(NOON)
    worse = HEARD | {"rtp_audio_in_mos": "2.01", "rtp_audio_in_jitter_max_variance": "99.00"}
    for heard in (HEARD, worse):
        leg = call_record(renter.tenant_id, began_at=NOON, seatline_gateway="carrier")
        leg["variables"] |= heard
        await exchange.report(leg)
    broken = call_record(
        renter.tenant_id, began_at=NOON, milliseconds=0, seatline_gateway="carrier", hangup_cause="NETWORK_OUT_OF_ORDER"
    )
    await exchange.report(broken)
    await exchange.report(call_record(renter.tenant_id, leg="caller", began_at=NOON), node="node-2")
    operator = await api.client("platform_operator")
    calls = (await operator.get("/v1/calls")).json()["items"]
    shown = next(call for call in calls if call["mean_opinion_score"] == "4.21")
    assert (shown["codec"], shown["loss_percent"], shown["packets_received"]) == ("PCMA", "1.00", 990)
    days = (await operator.get("/v1/call-quality")).json()["items"]
    assert [(day["day"], day["node"], day["gateway"], day["legs"]) for day in days] == [
        ("2026-07-01", "node-1", "carrier", 3),
        ("2026-07-01", "node-2", None, 1),
    ]
    assert (days[0]["answered"], days[0]["heard"], days[0]["failed"]) == (2, 2, 1)
    assert (days[0]["mean_opinion_score"], days[0]["worst_opinion_score"]) == ("3.11", "2.01")
    assert (days[0]["loss_percent"], days[0]["jitter_variance"]) == ("1.00", "99.00")
    assert days[1]["mean_opinion_score"] is None
    assert len((await operator.get("/v1/call-quality", {"node": "node-2"})).json()["items"]) == 1
    earlier = {"from": "2026-06-01", "to": "2026-06-30"}
    assert (await operator.get("/v1/call-quality", earlier)).json()["items"] == []


@pytest.mark.parametrize(
    "days",
    [
        {"from": "2026-06-01", "to": "2026-07-02"},
        {"from": "2026-07-02", "to": "2026-07-01"},
        {"to": "9999-12-31"},
        {"to": "0001-01-01"},
    ],
)
async def test_too_many_days_or_none_are_refused(api: Api, days: dict[str, str]) -> None:
    operator = await api.client("platform_operator")
    answer = await operator.get("/v1/call-quality", days)
    assert (answer.status_code, answer.json()["field"]) == (422, "from")
