"""Small pieces of the kit: money, ids, settings, logs, sealing, clock, jobs."""

from __future__ import annotations

import json
from collections.abc import Generator
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from cryptography.fernet import InvalidToken
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from infra.kit import clock, jobs, logs, money
from infra.kit.database import Database, Scope
from infra.kit.ids import is_id, new_id
from infra.kit.sealing import Seal
from infra.kit.settings import SettingRefused, load


@pytest.mark.parametrize(
    ("exact", "rounded"),
    [("0.005", "0.01"), ("-0.005", "-0.01"), ("2.674999", "2.67"), ("1.005", "1.01"), ("-1.0049", "-1.00")],
)
def test_halves_are_rounded_away_from_zero(exact: str, rounded: str) -> None:
    assert money.fen(Decimal(exact)) == Decimal(rounded)


@given(st.fractions(-(10**15), 10**15, max_denominator=31 * 30))
def test_rounding_is_never_off_by_more_than_half_a_fen(amount: Fraction) -> None:
    assert abs(Fraction(money.fen(amount)) - amount) <= Fraction(1, 200)
    assert money.fen(-amount) == -money.fen(amount)


def test_nothing_is_written_as_minus_zero() -> None:
    assert money.amount_text(Decimal("-0.001")) == "0.00"


def test_ids_are_prefixed_and_ordered_by_time() -> None:
    clock.travel_to(datetime(2026, 1, 1, tzinfo=UTC))
    earlier = new_id("seat")
    clock.travel_to(datetime(2026, 1, 2, tzinfo=UTC))
    assert earlier < new_id("seat")
    assert is_id("seat", earlier)
    assert not is_id("seat", "seat_short")


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({"SEATLINE_HTTP_PORT": "http"}, "SEATLINE_HTTP_PORT"),
        ({"SEATLINE_HTTP_PORT": "70000"}, "SEATLINE_HTTP_PORT"),
        ({"SEATLINE_HTTP_PORT": "80.5"}, "SEATLINE_HTTP_PORT"),
        ({"SEATLINE_DATABASE_URL": "mysql://x"}, "SEATLINE_DATABASE_URL"),
        ({"SEATLINE_ENVIRONMENT": "staging"}, "SEATLINE_ENVIRONMENT"),
        ({"SEATLINE_ENVIRONMENT": "production"}, "SEATLINE_DATABASE_URL"),
        ({"SEATLINE_ENVIRONMENT": "production", "SEATLINE_CLOCK_FILE": "x"}, "SEATLINE_CLOCK_FILE"),
        (
            {"SEATLINE_ENVIRONMENT": "production", "SEATLINE_DATABASE_URL": "postgresql://localhost/x"},
            "SEATLINE_SECRET_KEY",
        ),
        ({"SEATLINE_SECRET_KEY": "too short"}, "SEATLINE_SECRET_KEY"),
        ({"SEATLINE_LOG_LEVEL": "loud"}, "SEATLINE_LOG_LEVEL"),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_it(environ: dict[str, str], named: str, tmp_path: Path) -> None:
    with pytest.raises(SettingRefused) as refusal:
        load({"SEATLINE_DATA_DIRECTORY": str(tmp_path)} | environ)
    assert str(refusal.value).startswith(f"{named}: ")
    assert "\n" not in str(refusal.value)


def test_the_development_key_is_made_once_and_kept_private(tmp_path: Path) -> None:
    first = load({"SEATLINE_DATA_DIRECTORY": str(tmp_path)})
    assert load({"SEATLINE_DATA_DIRECTORY": str(tmp_path)}).secret_key == first.secret_key
    assert (tmp_path / "secret.key").stat().st_mode & 0o077 == 0


def test_secrets_do_not_reach_the_log() -> None:
    event = {
        "event": "node.joined",
        "esl_password": "ClueCon",
        "url": "postgresql://seatline:hunter2@db/seatline",
        "request": {"Authorization": "Bearer sat_x", "items": [{"a1_hash": "5f4dcc3b"}]},
    }
    written = json.dumps(logs.redact(None, "info", event))
    for secret in ("ClueCon", "hunter2", "sat_x", "5f4dcc3b"):
        assert secret not in written


def test_a_seal_opens_only_under_its_key(tmp_path: Path) -> None:
    one = Seal(load({"SEATLINE_DATA_DIRECTORY": str(tmp_path / "1")}).secret_key)
    other = Seal(load({"SEATLINE_DATA_DIRECTORY": str(tmp_path / "2")}).secret_key)
    assert one.open(one.close("密码")) == "密码"
    with pytest.raises(InvalidToken):
        other.open(one.close("x"))


@pytest.fixture
def shared_clock(tmp_path: Path) -> Generator[Path]:
    path = tmp_path / "clock"
    clock.share(path)
    yield path
    clock.stop_sharing()


def test_processes_share_a_clock_through_a_file(shared_clock: Path) -> None:
    clock.travel_to(datetime(2027, 2, 1, tzinfo=UTC))
    first = shared_clock.read_bytes()
    clock.set_offset_seconds(0)
    assert shared_clock.read_bytes() != first


async def _count_jobs(database: Database) -> int:
    async with database.transaction(Scope.platform()) as session:
        return int(await session.scalar(text("SELECT count(*) FROM procrastinate_jobs")) or 0)


async def test_a_job_exists_exactly_when_its_transaction_committed(database: Database) -> None:
    async with database.transaction(Scope.platform()) as session:
        await jobs.defer(session, "infra.keep_house")
    assert await _count_jobs(database) == 1
    with pytest.raises(ZeroDivisionError):
        async with database.transaction(Scope.platform()) as session:
            await jobs.defer(session, "infra.keep_house")
            raise ZeroDivisionError
    assert await _count_jobs(database) == 1


async def test_a_tenant_transaction_may_wake_jobs(database: Database) -> None:
    async with database.transaction(Scope.tenant("ten_x")) as session:
        await jobs.defer(session, "infra.keep_house", lock="tenant:ten_x")
    assert await _count_jobs(database) == 1
