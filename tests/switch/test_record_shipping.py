"""Call records shipped from a node's disk over HTTP: kept before they are deleted, harmless when repeated."""

from __future__ import annotations

import asyncio
import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from switch.record_shipping import Shipped, ShippingRefused, ShippingSettings, read_settings, ship
from tests.api import Api
from tests.switch.exchange import Exchange, Renter, call_record

Answer = Callable[[httpx.Request], httpx.Response]


@pytest.fixture
async def exchange(api: Api) -> Exchange:
    return await Exchange(api).open()


@pytest.fixture
async def renter(exchange: Exchange) -> Renter:
    return await exchange.add_tenant()


class _Through(httpx.AsyncBaseTransport):
    """Hands requests to a client that is there already."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        content = await request.aread()
        return await self._http.post(request.url.path, content=content, headers=request.headers)


class Spool:
    """A node's folders and its way to the API under test."""

    def __init__(self, directory: Path, exchange: Exchange) -> None:
        self.failed, self.all = directory / "failed", directory / "all"
        self.failed.mkdir()
        self.all.mkdir()
        self._api = _Through(exchange.api.http)
        self.settings = ShippingSettings(
            "http://seatline/switch/cdr", "node-1", exchange.secrets["node-1"], (self.failed, self.all), None
        )

    def lay_down(self, record: dict[str, Any]) -> None:
        """Both folders hold it, as after a delivery that failed."""
        for folder in (self.failed, self.all):
            (folder / f"{record['variables']['uuid']}.cdr.json").write_text(json.dumps(record))

    def left(self) -> int:
        return sum(1 for _ in (*self.failed.iterdir(), *self.all.iterdir()))

    async def ship(self, answer: Answer | None = None) -> Shipped:
        """One round, to the API under test or to one that answers like this."""
        transport = self._api if answer is None else httpx.MockTransport(answer)
        return await ship(self.settings, min_age_seconds=0, transport=transport)


@pytest.fixture
async def spool(tmp_path: Path, exchange: Exchange) -> Spool:
    return Spool(tmp_path, exchange)


async def test_every_record_is_stored_once_and_its_files_go(exchange: Exchange, renter: Renter, spool: Spool) -> None:
    records = [call_record(renter.tenant_id) for _ in range(20)]
    for record in records:
        spool.lay_down(record)
    first, second = await asyncio.gather(spool.ship(), spool.ship())
    assert first.left == second.left == 0
    assert {leg.leg_id for leg in await exchange.stored()} == {record["variables"]["uuid"] for record in records}
    assert spool.left() == 0
    assert await spool.ship() == Shipped()


async def test_while_the_api_is_away_every_file_stays(renter: Renter, spool: Spool) -> None:
    for _ in range(20):
        spool.lay_down(call_record(renter.tenant_id))
    asked = 0

    def away(request: httpx.Request) -> httpx.Response:
        nonlocal asked
        asked += 1
        raise httpx.ConnectError("nobody listens", request=request)

    assert await spool.ship(away) == Shipped(left=40)
    assert asked < 20
    assert await spool.ship(lambda _: httpx.Response(503)) == Shipped(left=40)
    assert spool.left() == 40


async def test_a_sign_in_that_is_refused_is_said_and_nothing_goes(renter: Renter, spool: Spool) -> None:
    spool.lay_down(call_record(renter.tenant_id))
    spool.settings = ShippingSettings(spool.settings.url, "node-1", "wrong", spool.settings.folders, None)
    with pytest.raises(ShippingRefused, match="refuses the sign-in of node-1"):
        await spool.ship()
    assert spool.left() == 2


async def test_a_file_that_is_being_written_waits_and_a_huge_one_is_put_out_of_the_way(
    renter: Renter, spool: Spool
) -> None:
    (spool.failed / "half.cdr.json").write_bytes(b'{"variables": {')
    assert await spool.ship() == Shipped(left=1)
    spool.lay_down(call_record(renter.tenant_id))
    assert await spool.ship(lambda _: httpx.Response(413)) == Shipped(left=1, too_large=2)
    assert await spool.ship() == Shipped(left=1)


async def test_a_file_that_the_disk_will_not_give_keeps_no_other_from_being_sent(
    exchange: Exchange, renter: Renter, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(4):
        spool.lay_down(call_record(renter.tenant_id))
    (spool.failed / "folder.cdr.json").mkdir()
    bad = {min(folder.glob("*-*.json")) for folder in (spool.failed, spool.all)}
    read = Path.read_bytes

    def fails(path: Path) -> bytes:
        if path in bad:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", fails)
    assert await spool.ship() == Shipped(shipped=6, left=2)
    assert len(await exchange.stored()) == 3
    monkeypatch.undo()
    assert await spool.ship() == Shipped(shipped=2)


async def test_what_cannot_be_removed_is_sent_again_and_harms_nothing(
    exchange: Exchange, renter: Renter, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool.lay_down(call_record(renter.tenant_id))

    def refuses(path: Path, *_: Any, **__: Any) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "unlink", refuses)
    monkeypatch.setattr(Path, "rename", refuses)
    for _ in range(2):
        assert await spool.ship() == Shipped(left=2)
    assert await spool.ship(lambda _: httpx.Response(413)) == Shipped(left=2)
    assert len(await exchange.stored()) == 1


async def test_files_from_the_future_are_shipped(renter: Renter, spool: Spool) -> None:
    """The node's clock ran ahead when it wrote them, and has been set right since."""
    spool.lay_down(call_record(renter.tenant_id))
    for file in (*spool.failed.iterdir(), *spool.all.iterdir()):
        os.utime(file, (later := file.stat().st_mtime + 86_400, later))
    answered = httpx.MockTransport(lambda _: httpx.Response(200))
    assert await ship(spool.settings, min_age_seconds=15, transport=answered) == Shipped(shipped=2)


def configure(directory: Path, params: str) -> Path:
    file = directory / "autoload_configs/json_cdr.conf.xml"
    file.parent.mkdir(parents=True)
    file.write_text(f'<configuration name="json_cdr.conf"><settings>{params}</settings></configuration>')
    return directory


def test_it_reads_what_the_node_itself_reports_with(tmp_path: Path) -> None:
    params = "".join(
        f'<param name="{name}" value="{value}"/>'
        for name, value in {
            "url": "https://seatline.example.com/switch/cdr",
            "cred": "node-1:a:secret",
            "log-dir": "/var/spool/all",
            "err-log-dir": "/var/spool/failed",
            "ssl-cacert-file": "/etc/seatline/ca.pem",
        }.items()
    )
    settings = read_settings(configure(tmp_path, params))
    assert (settings.url, settings.node) == ("https://seatline.example.com/switch/cdr", "node-1")
    assert settings.secret == "a:secret"
    assert settings.folders == (Path("/var/spool/failed"), Path("/var/spool/all"))
    assert settings.certificates == Path("/etc/seatline/ca.pem")
    assert "a:secret" not in repr(settings)


@pytest.mark.parametrize("params", ["", '<param name="url" value="x"/>', "<param"])
def test_a_directory_that_is_no_nodes_is_refused(tmp_path: Path, params: str) -> None:
    with pytest.raises(ShippingRefused):
        read_settings(configure(tmp_path, params))
    with pytest.raises(ShippingRefused, match="node-config"):
        read_settings(tmp_path / "nowhere")
