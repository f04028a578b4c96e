"""Increments, charges and the choice of the deck row, worked by hand and against the plain definition."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing.rules.deck_csv import read_deck, read_rows
from billing.rules.errors import DeckRefused
from billing.rules.months import LOCAL_ZONE
from billing.rules.prefixes import Band, Deck, DeckRow, charge
from billing.rules.rating import Tariff, billed_seconds, whole_seconds
from infra.kit.money import rated

HEADER = (
    "prefix,name,connect_fee,rate_per_minute,first_increment,next_increment,"
    "valid_from,valid_to,days,from_time,to_time\n"
)
FRIDAY = "2026-04-03"


def deck(*lines: str) -> Deck:
    return read_deck(HEADER + "\n".join(lines) + "\n")


def priced(found: Deck, destination: str, answered_at: str) -> str | None:
    """The name of the row that prices a call, answered at a local time."""
    row = found.match(destination, datetime.fromisoformat(f"{answered_at}+08:00"))
    return None if row is None else row.name


@pytest.mark.parametrize(
    ("seconds", "first", "following", "billed"),
    [
        (0, 60, 60, 0),
        (1, 60, 60, 60),
        (60, 60, 60, 60),
        (61, 60, 60, 120),
        (61, 60, 6, 66),
        (67, 60, 6, 72),
        (5, 0, 1, 5),
        (30, 30, 7, 30),
    ],
)
def test_billed_seconds(seconds: int, first: int, following: int, billed: int) -> None:
    assert billed_seconds(seconds, first, following) == billed


def test_milliseconds_are_rounded_up_to_seconds() -> None:
    assert [whole_seconds(milliseconds) for milliseconds in (0, 1, 999, 1000, 1001)] == [0, 1, 1, 1, 2]


def test_a_charge_is_rounded_half_away_from_zero_to_four_decimals() -> None:
    assert str(Tariff(Decimal("0.01"), Decimal("0.10")).charge(60)) == "0.1100"
    assert str(Tariff(Decimal(0), Decimal("0.003")).charge(1)) == "0.0001"  # 0.00005
    assert str(Tariff(Decimal("0.5"), Decimal("1")).charge(0)) == "0.0000"


@given(fee=st.decimals(0, 100, places=5), rate=st.decimals(0, 100, places=6), billed=st.integers(1, 100_000))
def test_whole_number_arithmetic_gives_the_exact_charge(fee: Decimal, rate: Decimal, billed: int) -> None:
    assert Tariff(fee, rate).charge(billed) == rated(Fraction(fee) + Fraction(rate) * billed / 60)


def test_the_longest_prefix_wins() -> None:
    found = deck("86,China,,0.1,60,60,,,,,", "8613,mobile,,0.2,60,60,,,,,", "8,zone,,0.3,60,60,,,,,")
    assert priced(found, "8613800138000", "2026-04-03T09:00:00") == "mobile"
    assert priced(found, "8621000", "2026-04-03T09:00:00") == "China"
    assert priced(found, "8", "2026-04-03T09:00:00") == "zone"
    assert priced(found, "49", "2026-04-03T09:00:00") is None
    assert priced(found, "", "2026-04-03T09:00:00") is None


def test_a_row_whose_dates_or_band_do_not_match_does_not_count_at_all() -> None:
    found = deck(
        "86,China,,0.1,60,60,,,,,",
        "8610,old Beijing,,0.2,60,60,,2026-04-02,,,",
        "8610,Beijing by day,,0.3,60,60,,,1-5,08:00,18:00",
    )
    assert priced(found, "8610", "2026-04-02T23:59:59") == "old Beijing"
    assert priced(found, "8610", "2026-04-03T00:00:00") == "China"
    assert priced(found, "8610", "2026-04-03T08:00:00") == "Beijing by day"
    assert priced(found, "8610", "2026-04-03T17:59:59") == "Beijing by day"
    assert priced(found, "8610", "2026-04-03T18:00:00") == "China"
    assert priced(found, "8610", "2026-04-04T09:00:00") == "China"


def test_a_matching_band_beats_none_then_the_latest_valid_from() -> None:
    found = deck(
        "86,base,,0.1,60,60,,,,,",
        "86,april,,0.2,60,60,2026-04-01,,,,",
        "86,evening,,0.3,60,60,2025-01-01,,,18:00,",
        "86,april evening,,0.4,60,60,2026-04-01,,,20:00,22:00",
    )
    assert priced(found, "86", "2026-03-31T12:00:00") == "base"
    assert priced(found, "86", "2026-04-01T12:00:00") == "april"
    assert priced(found, "86", "2026-04-01T23:59:59") == "evening"
    assert priced(found, "86", "2026-04-01T20:00:00") == "april evening"


def test_a_band_past_midnight_belongs_to_the_day_it_begins_on() -> None:
    found = deck("86,Friday night,,0.1,60,60,,,5,22:00,06:00")
    assert priced(found, "86", "2026-04-03T05:00:00") is None
    assert priced(found, "86", "2026-04-03T22:00:00") == "Friday night"
    assert priced(found, "86", "2026-04-04T05:59:59") == "Friday night"
    assert priced(found, "86", "2026-04-04T06:00:00") is None
    sunday = deck("86,Sunday night,,0.1,60,60,,,7,22:00,06:00")
    assert priced(sunday, "86", "2026-04-06T01:00:00") == "Sunday night"


def test_dates_are_tested_at_the_moment_of_answer_even_past_midnight() -> None:
    found = deck("86,April nights,,0.1,60,60,2026-04-01,2026-04-30,,22:00,06:00")
    assert priced(found, "86", "2026-04-01T01:00:00") == "April nights"
    assert priced(found, "86", "2026-05-01T01:00:00") is None


def test_the_moment_of_answer_is_local() -> None:
    found = deck("86,Friday,,0.1,60,60,,,5,,")
    assert found.match("86", datetime(2026, 4, 2, 16, 0, tzinfo=UTC)) is not None
    assert found.match("86", datetime(2026, 4, 3, 16, 0, tzinfo=UTC)) is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (",,,,", ",,,,"),
        ("2026-01-01,,,,", "2026-01-01,2026-02-01,,,"),
        (",,1-5,,", ",,5-7,,"),
        (",,,08:00,12:00", ",,,11:59,13:00"),
        (",,5,22:00,06:00", ",,6,05:00,07:00"),
        (",,7,22:00,06:00", ",,1,05:00,07:00"),
        ("2026-04-03,2026-04-03,,08:00,09:00", "2026-04-03,,5,08:00,09:00"),
    ],
)
def test_a_tie_is_refused_when_the_deck_is_read(one: str, other: str) -> None:
    with pytest.raises(DeckRefused, match="line 3, column prefix: prefix 86 ties with line 2"):
        deck(f"86,one,,0.1,60,60,{one}", f"86,other,,0.1,60,60,{other}")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (",,,,", "2026-01-01,,,,"),
        (",,,,", ",,1,,"),
        (",,1-5,,", ",,6-7,,"),
        (",,,08:00,12:00", ",,,12:00,13:00"),
        (",,5,22:00,06:00", ",,6,06:00,07:00"),
        ("2026-04-03,2026-04-03,,08:00,09:00", "2026-04-03,,6,08:00,09:00"),
    ],
)
def test_rows_that_never_meet_are_no_tie(one: str, other: str) -> None:
    assert len(deck(f"86,one,,0.1,60,60,{one}", f"86,other,,0.1,60,60,{other}")) == 2


@pytest.mark.parametrize(
    ("line", "column"),
    [
        ("+86,x,,0.1,60,60,,,,,", "prefix"),
        (",x,,0.1,60,60,,,,,", "prefix"),
        ("86,x,free,0.1,60,60,,,,,", "connect_fee"),
        ("86,x,,,60,60,,,,,", "rate_per_minute"),
        ("86,x,,-0.1,60,60,,,,,", "rate_per_minute"),
        ("86,x,,0.1,60.5,60,,,,,", "first_increment"),
        ("86,x,,0.1,60,0,,,,,", "next_increment"),
        ("86,x,,0.1,60,60,2026-02-30,,,,", "valid_from"),
        ("86,x,,0.1,60,60,2026-02-03,2026-02-02,,,", "valid_to"),
        ("86,x,,0.1,60,60,,,0-5,,", "days"),
        ("86,x,,0.1,60,60,,,5-1,,", "days"),
        ("86,x,,0.1,60,60,,,,25:00,", "from_time"),
        ("86,x,,0.1,60,60,,,,24:00,", "from_time"),
        ("86,x,,0.1,60,60,,,,8am,", "from_time"),
        ("86,x,,0.1,60,60,,,,08:00,08:61", "to_time"),
        ("86,x,,0.1,60,60,,,,", "to_time"),
        ("86,x,,0.1,60,60,,,,,,7", "number 12"),
    ],
)
def test_a_bad_row_refuses_the_whole_deck_by_line_and_column(line: str, column: str) -> None:
    with pytest.raises(DeckRefused) as refusal:
        deck("1,fine,,0.1,60,60,,,,,", "", line)
    assert refusal.value.field == f"line 4, column {column}"


def test_the_header_is_checked() -> None:
    for text, words in (
        ("", "missing"),
        (HEADER, "no row"),
        (HEADER.replace("name", "nom"), "not known"),
        (HEADER.replace("name", "prefix"), "twice"),
        (HEADER + '86,"x', "end of data"),
    ):
        with pytest.raises(DeckRefused, match=words):
            read_deck(text)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gbk"])
def test_a_deck_may_be_utf8_or_gbk(encoding: str) -> None:
    content = (HEADER + "8610,北京市话,,0.1,60,60,,,,,\r\n").encode(encoding)
    assert read_rows(content)[0].name == "北京市话"
    with pytest.raises(DeckRefused, match="neither UTF-8 nor GBK"):
        read_deck(content + b"\xff\xff")


start = date(2026, 4, 1)
some_days = st.integers(0, 12).map(lambda count: start + timedelta(days=count))
seconds = st.sampled_from([0, 6 * 3600, 12 * 3600, 18 * 3600, 86_399])
bands = st.builds(
    Band,
    st.frozensets(st.integers(1, 7), min_size=1),
    seconds,
    st.sampled_from([3600, 6 * 3600, 12 * 3600, 86_400]),
)
rows = st.builds(
    DeckRow,
    prefix=st.text("12", min_size=1, max_size=3),
    name=st.just("any"),
    connect_fee=st.just(Decimal(0)),
    rate_per_minute=st.just(Decimal(1)),
    first_increment=st.just(60),
    next_increment=st.just(60),
    valid_from=st.none() | some_days,
    valid_to=st.none() | some_days.map(lambda day: day + timedelta(days=6)),
    band=st.none() | bands,
    line=st.integers(2, 10_000),
)


def in_band(band: Band, local: datetime) -> bool:
    """The plain definition: some begin of the band within the last day covers the moment."""
    for back in (0, 1):
        day = local.date() - timedelta(days=back)
        begins = datetime(day.year, day.month, day.day, tzinfo=LOCAL_ZONE) + timedelta(seconds=band.from_second)
        length = (band.to_second - band.from_second) % 86_400 or 86_400
        if day.isoweekday() in band.weekdays and begins <= local < begins + timedelta(seconds=length):
            return True
    return False


@settings(max_examples=300, deadline=None)
@given(st.lists(rows, max_size=8), st.text("12", max_size=4), st.integers(0, 20 * 86_400))
def test_the_match_is_the_one_that_the_plain_definition_gives(
    listed: list[DeckRow], destination: str, after: int
) -> None:
    try:
        found = Deck.from_rows(listed)
    except DeckRefused:
        return
    local = datetime(2026, 4, 1, tzinfo=LOCAL_ZONE) + timedelta(seconds=after)
    matching = [
        row
        for row in listed
        if destination.startswith(row.prefix)
        and (row.valid_from is None or row.valid_from <= local.date())
        and (row.valid_to is None or row.valid_to >= local.date())
        and (row.band is None or in_band(row.band, local))
    ]
    ranked = sorted(
        matching,
        key=lambda row: (len(row.prefix), row.band is not None, row.valid_from or date.min),
        reverse=True,
    )
    assert found.match(destination, local) == (ranked[0] if ranked else None)


def test_the_charge_of_a_row() -> None:
    row = read_rows(HEADER + "86,x,0.05,0.30,60,6,,,,,\n")[0]
    assert charge(row, row.billed_seconds(61)) == Decimal("0.3800")
