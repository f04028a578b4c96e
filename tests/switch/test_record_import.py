"""Call records brought home from a node's disk: stored once, set aside where they cannot be, never lost."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from infra.kit.database import Database
from infra.kit.ids import new_id
from infra.kit.problems import InvalidInput, Unavailable
from switch import cdr_parsing
from switch.node_configuration import all_records_directory, failed_records_directory
from switch.record_files import UNFINISHED_LIMIT_SECONDS
from switch.record_import import Imported, import_directory
from tests.api import Api
from tests.switch.exchange import Exchange, Renter, call_record

FILE_LIMIT_BYTES = 100_000


@pytest.fixture
async def exchange(api: Api) -> Exchange:
    return await Exchange(api).open()


@pytest.fixture
async def renter(exchange: Exchange) -> Renter:
    return await exchange.add_tenant()


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    for directory in (failed_records_directory(tmp_path), all_records_directory(tmp_path)):
        directory.mkdir()
    return tmp_path


def lay_down(directory: Path, record: Mapping[str, Any]) -> Path:
    """Write a record as a node does."""
    file = directory / f"{record['variables']['uuid']}.cdr.json"
    file.write_text(json.dumps(record) + "\n")
    return file


def left_in(spool: Path) -> list[Path]:
    """The files that are there still."""
    return list(spool.rglob("*.json"))


def grow_old(file: Path) -> None:
    """As if nobody had written to this file for a long time."""
    long_ago = file.stat().st_mtime - 2 * UNFINISHED_LIMIT_SECONDS
    os.utime(file, (long_ago, long_ago))


async def sweep(exchange: Exchange, spool: Path) -> Imported:
    return await import_directory(exchange.api.database, spool, file_limit_bytes=FILE_LIMIT_BYTES)


async def test_a_record_that_lies_in_both_folders_is_stored_once_and_both_files_go(
    exchange: Exchange, renter: Renter, spool: Path
) -> None:
    records = [call_record(renter.tenant_id) for _ in range(70)]
    for record in records:
        record["switchname"] = "node-2"
        lay_down(failed_records_directory(spool), record)
        lay_down(all_records_directory(spool), record)
    assert await sweep(exchange, spool) == Imported(stored=70, known=70)
    stored = await exchange.stored()
    assert {leg.leg_id for leg in stored} == {record["variables"]["uuid"] for record in records}
    assert {leg.node for leg in stored} == {"node-2"}
    assert len(await exchange.to_rate()) == 70
    assert left_in(spool) == []
    assert await sweep(exchange, spool) == Imported()


async def test_a_record_that_was_posted_is_not_stored_again(exchange: Exchange, renter: Renter, spool: Path) -> None:
    record = call_record(renter.tenant_id)
    assert (await exchange.report(record)).status_code == 200
    lay_down(all_records_directory(spool), record)
    assert await sweep(exchange, spool) == Imported(known=1)
    assert len(await exchange.stored()) == 1


async def test_what_is_brought_home_is_kept_as_what_was_posted_is(
    exchange: Exchange, renter: Renter, spool: Path
) -> None:
    record = call_record(renter.tenant_id, switch_r_sdp="a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19z")
    lay_down(failed_records_directory(spool), record)
    await sweep(exchange, spool)
    [stored] = await exchange.stored()
    kept = json.loads(zlib.decompress(stored.body))["variables"]
    assert kept["uuid"] == record["variables"]["uuid"]
    assert kept["switch_r_sdp"].endswith("inline:removed"), "no key of its media"


async def test_a_record_of_a_node_that_was_never_known_is_set_aside_and_one_of_a_node_that_left_is_stored(
    exchange: Exchange, renter: Renter, spool: Path
) -> None:
    await exchange.change_node("node-2", state="left")
    gone, strange = call_record(renter.tenant_id), call_record(renter.tenant_id)
    gone["switchname"], strange["switchname"] = "node-2", "node-7"
    nobodys = call_record("", direction="inbound", milliseconds=0, seatline_refusal="unknown_number")
    del nobodys["variables"]["seatline_tenant"]
    for record in (gone, strange, nobodys | {"switchname": "node-7"}):
        lay_down(failed_records_directory(spool), record)
    assert await sweep(exchange, spool) == Imported(stored=1, set_aside=2)
    assert {leg.node for leg in await exchange.stored()} == {"node-2"}
    assert await exchange.to_rate() == [gone["variables"]["uuid"]]
    asides = await exchange.set_aside()
    assert {aside.problem for aside in asides} == {"switchname: there is and was no node node-7."}
    # Once there is such a node, what was set aside can be stored.
    operator = await exchange.api.client("platform_operator")
    [path] = [f"/v1/set-aside-records/{aside.record_id}/retry" for aside in asides if b"ten_" in aside.body]
    refused = await operator.post(path)
    assert (refused.status_code, "no node node-7" in refused.json()["detail"]) == (409, True)
    await exchange.add_node("node-7")
    assert (await operator.post(path)).status_code == 200
    assert len(await exchange.stored()) == 2


async def test_what_cannot_be_stored_is_set_aside_as_it_came(exchange: Exchange, renter: Renter, spool: Path) -> None:
    good = call_record(renter.tenant_id)
    stranger = lay_down(failed_records_directory(spool), call_record(new_id("ten"))).read_bytes()
    lay_down(failed_records_directory(spool), good)
    broken = failed_records_directory(spool) / "broken.cdr.json"
    broken.write_bytes(b'{"variables": {')
    grow_old(broken)
    for strange in failed_records_directory(spool).iterdir():
        grow_old(strange)
    assert await sweep(exchange, spool) == Imported(stored=1, set_aside=2)
    aside = {record.body: record for record in await exchange.set_aside()}
    assert set(aside) == {stranger, b'{"variables": {'}
    assert "there is no tenant" in aside[stranger].problem
    assert left_in(spool) == []


async def test_a_file_that_may_still_be_written_is_left_alone(exchange: Exchange, spool: Path) -> None:
    half = failed_records_directory(spool) / "half.cdr.json"
    half.write_bytes(b'{"variables": {"uuid": ')
    assert await sweep(exchange, spool) == Imported(unfinished=1)
    assert half.exists()
    assert await exchange.set_aside() == []


async def test_a_file_that_is_too_large_is_put_out_of_the_way_and_kept(exchange: Exchange, spool: Path) -> None:
    huge = failed_records_directory(spool) / "huge.cdr.json"
    huge.write_bytes(b" " * (FILE_LIMIT_BYTES + 1))
    assert await sweep(exchange, spool) == Imported(too_large=1)
    assert await sweep(exchange, spool) == Imported()
    assert [file.name for file in failed_records_directory(spool).iterdir()] == ["huge.cdr.json.too-large"]


async def test_a_record_that_the_database_refuses_does_not_keep_the_others_out(
    exchange: Exchange, renter: Renter, spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cdr_parsing, "_text", lambda _, value: value)  # a check that we forgot
    good = [call_record(renter.tenant_id) for _ in range(5)]
    for record in [*good, call_record(renter.tenant_id, hangup_cause="NORMAL\x00CLEARING")]:
        lay_down(failed_records_directory(spool), record)
    assert await sweep(exchange, spool) == Imported(stored=5, set_aside=1)
    assert {leg.leg_id for leg in await exchange.stored()} == {record["variables"]["uuid"] for record in good}
    assert "refuses" in (await exchange.set_aside())[0].problem


async def test_two_imports_at_once_store_every_record_once(exchange: Exchange, renter: Renter, spool: Path) -> None:
    for _ in range(40):
        lay_down(failed_records_directory(spool), call_record(renter.tenant_id))
    first, second = await asyncio.gather(sweep(exchange, spool), sweep(exchange, spool))
    assert first.stored + second.stored == 40
    assert len(await exchange.stored()) == 40


async def test_while_the_database_is_away_every_file_stays(exchange: Exchange, renter: Renter, spool: Path) -> None:
    file = lay_down(failed_records_directory(spool), call_record(renter.tenant_id))
    away = Database("postgresql+psycopg://nobody@127.0.0.1:9/none", timeout_seconds=2)
    with pytest.raises(Unavailable):
        await import_directory(away, spool, file_limit_bytes=FILE_LIMIT_BYTES)
    await away.close()
    assert file.exists()


async def test_a_directory_that_is_none_is_refused(exchange: Exchange, spool: Path) -> None:
    with pytest.raises(InvalidInput, match="is not a directory"):
        await sweep(exchange, spool / "nowhere")


@pytest.mark.parametrize("odd", [b'{"switchname":' * 10_000, b'{"switchname":"\\u0000"}', b'{"switchname":"n\xff"}'])
async def test_no_file_keeps_the_others_from_being_stored(
    exchange: Exchange, renter: Renter, spool: Path, odd: bytes
) -> None:
    file = failed_records_directory(spool) / "0.cdr.json"
    file.write_bytes(odd)
    grow_old(file)
    lay_down(failed_records_directory(spool), call_record(renter.tenant_id))
    assert await import_directory(exchange.api.database, spool, file_limit_bytes=200_000) == Imported(
        stored=1, set_aside=1
    )
    assert left_in(spool) == []


async def test_a_file_that_the_disk_will_not_give_keeps_no_other_from_being_stored(
    exchange: Exchange, renter: Renter, spool: Path
) -> None:
    """The first of them, so that all others come after it; a pipe would be read for ever."""
    failed = failed_records_directory(spool)
    (failed / "0.cdr.json").symlink_to("0.cdr.json")
    (failed / "1.cdr.json").mkdir()
    os.mkfifo(failed / "2.cdr.json")
    records = [call_record(renter.tenant_id) for _ in range(3)]
    for record in records:
        lay_down(failed, record)
    assert await sweep(exchange, spool) == Imported(stored=3, unusable=2)
    assert {leg.leg_id for leg in await exchange.stored()} == {record["variables"]["uuid"] for record in records}
    assert await sweep(exchange, spool) == Imported(unusable=2)


async def test_a_read_that_fails_in_the_middle_keeps_no_other_from_being_stored(
    exchange: Exchange, renter: Renter, spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [lay_down(failed_records_directory(spool), call_record(renter.tenant_id)) for _ in range(3)]
    bad = sorted(files)[1]
    read = Path.read_bytes

    def fails(path: Path) -> bytes:
        if path == bad:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", fails)
    assert await sweep(exchange, spool) == Imported(stored=2, unusable=1)
    assert left_in(spool) == [bad]
    monkeypatch.undo()
    assert await sweep(exchange, spool) == Imported(stored=1)


async def test_a_file_that_cannot_be_removed_is_named_and_its_record_counts_once(
    exchange: Exchange, renter: Renter, spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        lay_down(failed_records_directory(spool), call_record(renter.tenant_id))

    def refuses(path: Path, *, missing_ok: bool = False) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "unlink", refuses)
    assert await sweep(exchange, spool) == Imported(stored=2, unusable=2)
    assert await sweep(exchange, spool) == Imported(known=2, unusable=2)
    assert len(await exchange.stored()) == 2


async def test_a_file_from_the_future_does_not_count_as_being_written(exchange: Exchange, spool: Path) -> None:
    """Its node's clock ran ahead and has been set right since; the file would wait until that day."""
    broken = failed_records_directory(spool) / "broken.cdr.json"
    broken.write_bytes(b'{"variables": {')
    later = broken.stat().st_mtime + 2 * UNFINISHED_LIMIT_SECONDS
    os.utime(broken, (later, later))
    assert await sweep(exchange, spool) == Imported(set_aside=1)
