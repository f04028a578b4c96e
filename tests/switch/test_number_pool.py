"""The operator's numbers: imported in every spelling, given to one tenant at a time, held back, free again."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from infra.kit import clock
from infra.kit.database import Database, Scope
from infra.kit.jobs import Runtime
from infra.kit.problems import Refusal
from infra.kit.settings import SettingRefused, Settings, load
from switch import jobs as switch_jobs
from switch import phone_numbers
from switch.errors import NumberTaken
from switch.models import PhoneNumber
from switch.number_pool import importing, stock
from switch.number_pool.errors import NumberInQuarantine
from switch.number_pool.models import PooledNumber
from tests.api import Api, Caller

SHANGHAI = "862150001234"
SPELLINGS = (
    "+862150001234",
    "021 5000 1234",
    "(021) 5000-1234",
    "0086 21 5000 1234",
    "０２１－５０００－１２３４",
    "021.5000.1234",
)


@pytest.fixture
async def operator(api: Api) -> Caller:
    return await api.client("platform_operator")


async def send(operator: Caller, content: str | bytes, *, dry_run: bool = False) -> dict[str, object]:
    body = content.encode() if isinstance(content, str) else content
    answer = await operator.post_bytes(f"/v1/number-pool/imports?dry_run={str(dry_run).lower()}", body, "text/csv")
    assert answer.status_code == 200, answer.text
    return answer.json()


async def states(operator: Caller) -> dict[str, str]:
    items = (await operator.get("/v1/number-pool")).json()["items"]
    return {item["number"]: item["state"] for item in items}


async def assign(operator: Caller, tenant_id: str, number: str) -> tuple[int, str]:
    answer = await operator.post("/v1/phone-numbers", {"tenant_id": tenant_id, "number": number})
    return answer.status_code, answer.json().get("code", "")


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_is_the_same_number(spelling: str) -> None:
    (row,) = importing.read_rows(f'number\n"{spelling}"\n'.encode())
    assert row.digits == SHANGHAI


@pytest.mark.parametrize(
    ("country", "spelling", "digits"),
    [
        ("HK", "2123 4567", "85221234567"),
        ("us", "(202) 555-0123", "12025550123"),
        ("GB", "020 7946 0958", "442079460958"),
        ("", "138 0013 8000", "8613800138000"),
    ],
)
def test_a_national_spelling_is_read_as_its_country_writes_it(country: str, spelling: str, digits: str) -> None:
    (row,) = importing.read_rows(f'number,country\n"{spelling}",{country}\n'.encode())
    assert row.digits == digits


async def test_an_import_says_of_every_row_what_became_of_it(operator: Caller) -> None:
    file = (
        "number,label,country\n"
        "021 5000 1234,电信 2026,\n"
        "+86 21 5000 1235,,\n"
        "0086-21-5000-1234,again,\n"
        "110,,\n"
        "95588,,\n"
        "12345,,\n"
        "2123 4567,Hong Kong,HK\n"
        f"{'9' * 500},nowhere,XX\n"
        "too,many,cells,here\n"
        "\n"
    )
    tried = await send(operator, file, dry_run=True)
    assert await states(operator) == {}
    done = await send(operator, file.encode("gb18030"))
    assert (tried["is_dry_run"], done["is_dry_run"]) == (True, False)
    assert {**tried, "is_dry_run": False} == done, "a dry run tells what would become"
    rows = done["rows"]
    assert isinstance(rows, list)
    assert [(row["line"], row["outcome"], row["number"]) for row in rows] == [
        (2, "added", "+862150001234"),
        (3, "added", "+862150001235"),
        (4, "repeated", "+862150001234"),
        (5, "invalid", None),
        (6, "invalid", None),
        (7, "invalid", None),
        (8, "added", "+85221234567"),
        (9, "invalid", None),
        (10, "invalid", None),
    ]
    assert all(row["problem"] for row in rows if row["outcome"] == "invalid")
    assert rows[7]["given"] == "9" * 40, "no more is shown than fits a line"
    assert (done["added"], done["repeated"], done["invalid"], done["known"]) == (3, 1, 5, 0)
    again = await send(operator, file)
    assert (again["added"], again["known"]) == (0, 3)
    (labelled,) = [
        item
        for item in (await operator.get("/v1/number-pool", {"state": "free"})).json()["items"]
        if item["number"] == "+862150001234"
    ]
    assert labelled["label"] == "电信 2026", "the first row of a number counts"


NO_FILES: list[tuple[bytes, int, str]] = [
    (b"", 422, "number"),
    (b"telephone\n1\n", 422, "telephone"),
    (b"number,number\n1,2\n", 422, "number"),
    (b'number\n"021\n', 422, "line"),
    (b"number\n\xff\xfe\x00\n", 422, "GBK"),
    (b"number\n" + b"1\n" * 10_001, 413, "10,000"),
    (b"number\n" + b"1" * 2_000_001, 413, "bytes"),
]


async def test_what_is_no_file_of_numbers_is_refused_whole(operator: Caller) -> None:
    for content, status, words in NO_FILES:
        answer = await operator.post_bytes("/v1/number-pool/imports", content, "text/csv")
        assert answer.status_code == status, content[:40]
        assert words in answer.json()["detail"], content[:40]
    assert await states(operator) == {}


async def test_a_number_goes_from_the_pool_to_a_tenant_and_back_through_quarantine(api: Api, operator: Caller) -> None:
    ours, theirs = await api.tenant("ours"), await api.tenant("theirs")
    await send(operator, "number\n+862150001234\n")
    assert await assign(operator, ours, "021 5000 1234") == (201, "")
    assert await states(operator) == {"+862150001234": "assigned"}
    assert await assign(operator, theirs, "+862150001234") == (409, "number_taken")

    released = await operator.http.delete("/v1/phone-numbers/+862150001234", headers=operator.headers)
    assert released.status_code == 204
    found = (await operator.get("/v1/number-pool/+862150001234")).json()
    assert (found["state"], found["tenant_id"]) == ("quarantined", ours)
    assert await assign(operator, theirs, "+862150001234") == (409, "number_in_quarantine")
    assert await assign(operator, ours, "+862150001234") == (201, ""), "its last tenant may have it back"

    await operator.http.delete("/v1/phone-numbers/+862150001234", headers=operator.headers)
    ended = await operator.post("/v1/number-pool/+862150001234/end-quarantine")
    assert (ended.status_code, ended.json()["state"], ended.json()["tenant_id"]) == (200, "free", None)
    assert await assign(operator, theirs, "+862150001234") == (201, "")

    history = (await operator.get("/v1/phone-numbers/+862150001234/history")).json()["items"]
    assert [(each["event"], each["tenant_id"]) for each in reversed(history)] == [
        ("added", None),
        ("assigned", ours),
        ("released", ours),
        ("assigned", ours),
        ("released", ours),
        ("freed", None),
        ("assigned", theirs),
    ]
    assert {each["actor"] for each in history} == {operator.client_id}


async def test_a_tenant_sees_its_own_numbers_and_its_own_part_of_their_history(api: Api, operator: Caller) -> None:
    ours, theirs = await api.tenant("ours"), await api.tenant("theirs")
    for tenant_id, number in ((ours, "+862150001234"), (theirs, "+862150001235")):
        assert await assign(operator, tenant_id, number) == (201, "")
    admin = await api.client("tenant_admin", ours)
    assert [item["number"] for item in (await admin.get("/v1/phone-numbers")).json()["items"]] == ["+862150001234"]
    mine = (await admin.get("/v1/phone-numbers/+862150001234/history")).json()["items"]
    assert [(each["event"], each["tenant_id"]) for each in mine] == [("assigned", ours)]
    assert (await admin.get("/v1/phone-numbers/+862150001235/history")).status_code == 404
    assert (await admin.get("/v1/number-pool")).status_code == 403
    assert (await admin.post_bytes("/v1/number-pool/imports", b"number\n", "text/csv")).status_code == 403


async def test_a_number_that_the_pool_does_not_know_is_taken_in_when_it_is_assigned(api: Api, operator: Caller) -> None:
    tenant_id = await api.tenant()
    assert await assign(operator, tenant_id, "+862150001234") == (201, "")
    assert await states(operator) == {"+862150001234": "assigned"}
    (row,) = (await send(operator, "number\n+862150001234\n"))["rows"]  # pyright: ignore[reportGeneralTypeIssues]
    assert row["outcome"] == "known"


async def test_only_a_number_that_nobody_has_leaves_the_pool(api: Api, operator: Caller) -> None:
    async def remove() -> tuple[int, str]:
        answer = await operator.http.delete("/v1/number-pool/+862150001234", headers=operator.headers)
        return answer.status_code, "" if answer.status_code == 204 else answer.json()["code"]

    assert await remove() == (404, "number_not_in_pool")
    await assign(operator, await api.tenant(), "+862150001234")
    assert await remove() == (409, "number_in_use")
    assert (await operator.post("/v1/number-pool/+862150001234/end-quarantine")).status_code == 409
    await operator.http.delete("/v1/phone-numbers/+862150001234", headers=operator.headers)
    assert await remove() == (204, "")
    assert await states(operator) == {}
    history = (await operator.get("/v1/phone-numbers/+862150001234/history")).json()["items"]
    assert history[0]["event"] == "removed"


async def test_a_state_that_there_is_not_is_refused(operator: Caller) -> None:
    answer = await operator.get("/v1/number-pool", {"state": "lost"})
    assert (answer.status_code, answer.json()["field"]) == (422, "state")
    assert (await operator.get("/v1/number-pool/sales")).status_code == 422
    assert (await operator.get("/v1/number-pool/+862150009999")).status_code == 404
    wrong = await operator.post("/v1/number-pool/imports", {"number": "1"})
    assert (wrong.status_code, wrong.json()["field"]) == (422, "Content-Type")


async def test_a_number_is_free_when_its_quarantine_is_over_and_not_before(
    api: Api, database: Database, settings: Settings
) -> None:
    ours, theirs = await api.tenant("ours"), await api.tenant("theirs")
    number = "+862150001234"

    async def gives(tenant_id: str) -> None:
        async with database.transaction(Scope.platform()) as session:
            await phone_numbers.assign(session, tenant_id, number, extension=None, is_caller_number=False)

    async def state() -> str:
        async with database.transaction(Scope.platform()) as session:
            found = await stock.find(session, number.removeprefix("+"))
            assert found is not None
            return found.state

    await gives(ours)
    async with database.transaction(Scope.platform()) as session:
        await phone_numbers.release(session, number, quarantine_days=30)
    runtime = Runtime(database, settings)
    clock.travel_to(clock.now() + timedelta(days=29))
    await switch_jobs.free_numbers(runtime)
    assert await state() == "quarantined"
    with pytest.raises(NumberInQuarantine, match="quarantine until"):
        await gives(theirs)
    clock.travel_to(clock.now() + timedelta(days=1, seconds=1))
    await switch_jobs.free_numbers(runtime)
    assert await state() == "free"
    await gives(theirs)


async def test_without_a_quarantine_a_number_is_free_at_once(api: Api, database: Database) -> None:
    ours, theirs = await api.tenant("ours"), await api.tenant("theirs")
    for tenant_id in (ours, theirs):
        async with database.transaction(Scope.platform()) as session:
            await phone_numbers.assign(session, tenant_id, "+862150001234", extension=None, is_caller_number=False)
        async with database.transaction(Scope.platform()) as session:
            await phone_numbers.release(session, "+862150001234", quarantine_days=0)


def test_how_long_a_quarantine_lasts_is_a_setting() -> None:
    assert load({"SEATLINE_NUMBER_QUARANTINE_DAYS": "7"}).number_quarantine_days == 7
    with pytest.raises(SettingRefused, match="SEATLINE_NUMBER_QUARANTINE_DAYS"):
        load({"SEATLINE_NUMBER_QUARANTINE_DAYS": "-1"})


@given(st.binary(max_size=400) | st.text(max_size=200).map(lambda text: b"number\n" + text.encode("utf-8", "replace")))
def test_any_bytes_are_rows_or_a_refusal(content: bytes) -> None:
    try:
        rows = importing.read_rows(content)
    except Refusal:
        return
    assert all((row.digits is None) == (row.problem is not None) for row in rows)


async def test_reading_a_file_keeps_nobody_else_waiting(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    somebody_else, read_rows = threading.Event(), importing.read_rows

    def read_slowly(content: bytes) -> object:
        assert somebody_else.wait(timeout=5), "nothing else was done meanwhile"
        return read_rows(content)

    monkeypatch.setattr(importing, "read_rows", read_slowly)
    async with database.transaction(Scope.platform()) as session:
        reading = asyncio.create_task(importing.import_numbers(session, b"number\n+862150001234\n", is_dry_run=False))
        asyncio.get_running_loop().call_later(0, somebody_else.set)
        (row,) = await reading
    assert row.outcome == "added"


async def test_importers_and_assigners_at_once_end_with_one_owner_of_each_number(api: Api, database: Database) -> None:
    """Two people import the same file in different orders while two tenants are given its numbers."""
    numbers = [f"+8621500012{number:02}" for number in range(20)]
    tenants = [await api.tenant(name) for name in ("ours", "theirs")]

    async def imports(order: list[str]) -> None:
        async with database.transaction(Scope.platform()) as session:
            content = "number\n" + "\n".join(order)
            await importing.import_numbers(session, content.encode(), is_dry_run=False)

    async def gives(tenant_id: str, number: str) -> bool:
        try:
            async with database.transaction(Scope.platform()) as session:
                await phone_numbers.assign(session, tenant_id, number, extension=None, is_caller_number=False)
        except NumberTaken:
            return False
        return True

    pairs = [(tenant_id, number) for number in numbers[:10] for tenant_id in tenants]
    *_, given = await asyncio.gather(
        imports(numbers), imports(numbers[::-1]), asyncio.gather(*(gives(*pair) for pair in pairs))
    )
    assert sum(given) == 10, "each number went to one of the two"
    async with database.transaction(Scope.platform()) as session:
        held = {row.number: row.tenant_id for row in (await session.execute(select(PhoneNumber))).scalars()}
        rows = (await session.execute(select(PooledNumber))).scalars()
        pool = {row.number: (row.state, row.tenant_id) for row in rows}
    assert len(pool) == 20
    assert {number: tenant for number, (state, tenant) in pool.items() if state == "assigned"} == held
