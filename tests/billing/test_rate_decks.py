"""Rate decks: uploaded whole or refused whole, never changed, one of them the default."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from billing import rate_decks
from billing.rules.deck_csv import read_deck
from infra.kit.database import Database, Scope
from tests.api import Api, Caller
from tests.billing.calls import CHINA, HEADER, Calls, until_somebody_waits


async def upload(
    caller: Caller, content: bytes, *, name: str = "July", default: bool = False, **form: str
) -> httpx.Response:
    """Send a deck as a form, the way a browser does."""
    return await caller.http.post(
        "/v1/rate-decks",
        files={"file": ("deck.csv", content, "text/csv")},
        data={"name": name, "is_default": "true" if default else "false"} | form,
        headers=caller.headers,
    )


async def stored(caller: Caller) -> list[dict[str, Any]]:
    """Every deck the caller sees."""
    return (await caller.get("/v1/rate-decks")).json()["items"]


async def test_a_deck_comes_as_a_form_with_a_file(api: Api) -> None:
    finance = await api.client("finance")
    answer = await upload(finance, CHINA.encode(), name="中国 2026-07", default=True)
    deck = answer.json()
    assert (answer.status_code, deck["name"], deck["row_count"], deck["is_default"]) == (201, "中国 2026-07", 2, True)
    assert (await finance.get(f"/v1/rate-decks/{deck['deck_id']}")).json() == deck
    assert await stored(finance) == [deck]


async def test_a_deck_comes_as_csv(api: Api) -> None:
    finance = await api.client("finance")
    answer = await finance.post_bytes("/v1/rate-decks?name=July&default=true", CHINA.encode(), "text/csv")
    assert (answer.status_code, answer.json()["name"], answer.json()["is_default"]) == (201, "July", True)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gbk"])
async def test_chinese_names_survive_every_encoding(api: Api, encoding: str) -> None:
    finance = await api.client("finance")
    text = f"{HEADER}\n8610,北京,,0.12,60,60\n"
    deck_id = (await upload(finance, text.encode(encoding))).json()["deck_id"]
    answer = await finance.get(f"/v1/rate-decks/{deck_id}/content")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.content.decode() == text


async def test_what_a_row_says_is_data_and_comes_back_as_it_was(api: Api) -> None:
    finance = await api.client("finance")
    text = f'{HEADER}\n86,"=1+1, <b>{{x}}</b> $$ \'; --",,0.12,60,60\n'
    deck_id = (await upload(finance, text.encode())).json()["deck_id"]
    assert (await finance.get(f"/v1/rate-decks/{deck_id}/content")).text == text


@pytest.mark.parametrize(
    ("text", "field"),
    [
        (f"{HEADER}\n86,China,,0.30,60,60\n8610,Peking,,dear,60,60\n", "line 3, column rate_per_minute"),
        (f"{HEADER}\n+86,China,,0.30,60,60\n", "line 2, column prefix"),
        (f"{HEADER}\n86,China,,0.30,60,0\n", "line 2, column next_increment"),
        (f"{HEADER}\n86,China,,0.30,60,60\n86,Again,,0.40,60,60\n", "line 3, column prefix"),
        (f"{HEADER}\n86,China,,0.30,60\n", "line 2, column next_increment"),
        ("prefix,name\n86,China\n", "line 1, column rate_per_minute"),
    ],
)
async def test_a_bad_row_refuses_the_whole_file_naming_line_and_column(api: Api, text: str, field: str) -> None:
    finance = await api.client("finance")
    answer = await upload(finance, text.encode())
    problem = answer.json()
    assert (answer.status_code, problem["code"], problem["field"]) == (422, "deck_refused", field)
    assert await stored(finance) == []


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe\x00", b"%PDF-1.7", f"{HEADER}\n".encode(), b"\x00" * 100, b'"' * 1000]
)
async def test_a_file_that_is_no_deck_is_refused(api: Api, content: bytes) -> None:
    finance = await api.client("finance")
    answer = await upload(finance, content)
    assert (answer.status_code, answer.json()["code"]) == (422, "deck_refused")


async def test_a_deck_beyond_the_limit_is_refused(api: Api) -> None:
    finance = await api.client("finance")
    content = b" " * (rate_decks.DECK_LIMIT_BYTES + 1)
    answer = await finance.post_bytes("/v1/rate-decks?name=huge", content, "text/csv")
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


async def test_only_one_deck_is_the_default(api: Api) -> None:
    finance = await api.client("finance")
    await upload(finance, CHINA.encode(), name="first", default=True)
    await upload(finance, CHINA.encode(), name="second", default=True)
    await upload(finance, CHINA.encode(), name="third")
    assert {deck["name"]: deck["is_default"] for deck in await stored(finance)} == {
        "first": False,
        "second": True,
        "third": False,
    }


@pytest.mark.parametrize("there_is_one_before", [True, False])
async def test_two_defaults_at_the_same_moment_do_not_both_win(database: Database, there_is_one_before: bool) -> None:
    async def upload_default(name: str) -> None:
        async with database.transaction(Scope.platform()) as session:
            await rate_decks.upload(session, name=name, content=CHINA.encode(), is_default=True)

    if there_is_one_before:
        await upload_default("before")
    async with database.transaction(Scope.platform()) as session:
        await rate_decks.upload(session, name="one", content=CHINA.encode(), is_default=True)
        other = asyncio.create_task(upload_default("other"))
        await until_somebody_waits(database)
    with pytest.raises(rate_decks.DefaultChangedMeanwhile):
        await other


async def test_a_form_says_what_it_lacks(api: Api) -> None:
    finance = await api.client("finance")
    nameless = await upload(finance, CHINA.encode(), name=" ")
    unclear = await upload(finance, CHINA.encode(), is_default="perhaps")
    strange = await upload(finance, CHINA.encode(), colour="red")
    fileless = await finance.http.post("/v1/rate-decks", files={"name": (None, "July")}, headers=finance.headers)
    other = await finance.post("/v1/rate-decks", {"name": "July"})
    broken = await finance.post_bytes("/v1/rate-decks", b"--x\r\nnonsense", "multipart/form-data; boundary=x")
    boundless = await finance.post_bytes("/v1/rate-decks", b"--x\r\nnonsense", "multipart/form-data")
    assert (nameless.status_code, nameless.json()["field"]) == (422, "name")
    assert (unclear.status_code, unclear.json()["field"]) == (422, "is_default")
    assert (strange.status_code, strange.json()["field"]) == (400, "colour")
    assert (fileless.status_code, fileless.json()["field"]) == (400, "file")
    assert (other.status_code, other.json()["code"]) == (415, "unsupported_media_type")
    assert (broken.status_code, boundless.status_code) == (400, 400)
    assert await stored(finance) == []


async def test_tenants_read_decks_but_upload_none(api: Api) -> None:
    operator = await api.client("platform_operator")
    deck_id = (await upload(operator, CHINA.encode(), default=True)).json()["deck_id"]
    admin = await api.client("tenant_admin", await api.tenant())
    assert [deck["deck_id"] for deck in await stored(admin)] == [deck_id]
    assert (await admin.get(f"/v1/rate-decks/{deck_id}/content")).text == CHINA
    assert (await upload(admin, CHINA.encode())).status_code == 403
    assert (await admin.get("/v1/rate-decks/deck_none")).status_code == 404


async def test_a_deck_is_parsed_once_however_many_ask(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[int] = []
    deck_id = await Calls(database).deck()

    def counted(content: bytes) -> rate_decks.Deck:
        parsed.append(len(content))
        return read_deck(content)

    monkeypatch.setattr(rate_decks, "read_deck", counted)
    for _ in range(3):
        async with database.transaction(Scope.platform()) as session:
            decks = await rate_decks.load(session, [deck_id, "deck_none"])
            assert list(decks) == [deck_id]
    assert len(parsed) == 1


def test_the_cache_gives_up_the_deck_used_longest_ago() -> None:
    cache = rate_decks.DeckCache(rows_limit=4)
    deck = read_deck(CHINA)
    cache.put("one", deck)
    cache.put("two", deck)
    assert cache.get("one") is deck
    cache.put("three", deck)
    assert (cache.get("two"), len(cache)) == (None, 2)


def test_the_cache_keeps_a_deck_larger_than_itself() -> None:
    cache = rate_decks.DeckCache(rows_limit=1)
    cache.put("large", read_deck(CHINA))
    assert cache.get("large") is not None
