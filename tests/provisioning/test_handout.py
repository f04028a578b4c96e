"""What a seat's user is handed: made with a new password, shown once behind a link, then erased (C20)."""

from __future__ import annotations

import asyncio
import base64
import re
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit
from xml.etree import ElementTree

import httpx
import pytest
from sqlalchemy import select

from infra.kit import clock
from infra.kit.database import Scope
from infra.kit.sealing import digest
from provisioning.handout import pages, secrecy
from provisioning.handout.models import HandOutLink
from provisioning.rules import tunnel_keys
from switch import media_policies
from switch.admission import Encryption
from switch.sip.digest import a1_hash
from tests.api import Caller
from tests.provisioning.tunnel_world import make_gateway
from tests.provisioning.world import World

LINPHONE = {"x-linphone-provisioning": "1"}


async def handed(world: World, **body: Any) -> tuple[Caller, str, dict[str, Any]]:
    """A tenant's admin, its seat, and the hand-out that was made of it."""
    tenant_id, _, seat_ids = await world.opened(seats=1)
    admin = await world.api.client("tenant_admin", tenant_id)
    made = await admin.post(f"/v1/seats/{seat_ids[0]}/hand-outs", body)
    assert made.status_code == 201, made.text
    assert made.headers["cache-control"] == "no-store"
    return admin, seat_ids[0], made.json()


async def opened(world: World, url: str) -> httpx.Response:
    """What the reader of a link sees after pressing the button."""
    parts = urlsplit(url)
    return await world.api.http.post(parts.path, data={"secret": parts.fragment})


async def links(world: World, hand_out_id: str) -> dict[str, HandOutLink]:
    async with world.api.database.transaction(Scope.platform()) as session:
        rows = await session.execute(select(HandOutLink).where(HandOutLink.hand_out_id == hand_out_id))
        return {row.kind: row for row in rows.scalars()}


def shown(page: str, label: str) -> str:
    """A value of the page's tables."""
    found = re.search(rf"<th>{re.escape(label)}</th><td[^>]*>(?:<strong>)?([^<]*)", page)
    assert found is not None, page
    return found.group(1)


async def test_a_link_shows_the_seat_once_and_then_nothing(world: World) -> None:
    admin, seat_id, made = await handed(world)
    before = await world.api.http.get(urlsplit(made["url"]).path)
    assert (before.status_code, "显示资料" in before.text) == (200, True)
    page = await opened(world, made["url"])
    assert page.status_code == 200
    password, domain = shown(page.text, "密码"), shown(page.text, "SIP 域")
    kept = (await world.accounts(made["tenant_id"]))["1001"].a1_hash
    assert kept == a1_hash("1001", domain, password)
    assert page.text.count("<svg") == 2
    again = await opened(world, made["url"])
    assert (again.status_code, "此链接已失效" in again.text, password in again.text) == (410, True, False)
    state = (await admin.get(f"/v1/hand-outs/{made['hand_out_id']}")).json()
    assert {each["kind"]: each["state"] for each in state["links"]} == {
        "page": "fetched", "softphone": "waiting", "desk_phone": "waiting",
    }  # fmt: skip
    assert (await links(world, made["hand_out_id"]))["page"].sealed_content is None
    assert state["seat_id"] == seat_id


async def test_of_two_readers_at_once_one_gets_it(world: World) -> None:
    _, _, made = await handed(world)
    answers = await asyncio.gather(*(opened(world, made["url"]) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [200, 410, 410, 410]


async def test_the_database_cannot_show_what_a_link_shows(world: World) -> None:
    _, _, made = await handed(world)
    secret = urlsplit(made["url"]).fragment
    rows = await links(world, made["hand_out_id"])
    page = rows["page"]
    assert page.sealed_content is not None
    assert page.secret_digest == digest(secret)
    with pytest.raises(secrecy.ContentUnreadable):
        secrecy.unseal(page.sealed_content, secret=digest(secret), place=f"{page.tenant_id}/{page.hand_out_id}/page")
    with pytest.raises(secrecy.ContentUnreadable):
        secrecy.unseal(page.sealed_content, secret=secret, place="elsewhere")
    password = shown((await opened(world, made["url"])).text, "密码")
    for row in rows.values():
        assert row.sealed_content is not None
        assert password.encode() not in row.sealed_content
    audit = (await world.operator.get("/v1/audit", params={"tenant_id": made["tenant_id"]})).text
    assert "hand_out.fetched" in audit
    assert password not in audit
    assert secret not in audit


async def test_the_page_is_kept_out_of_caches_frames_and_referrers(world: World) -> None:
    _, _, made = await handed(world, language="en")
    for answer in (await world.api.http.get("/hand-outs/en"), await opened(world, made["url"])):
        headers = answer.headers
        assert headers["content-type"].startswith("text/html")
        assert (headers["cache-control"], headers["referrer-policy"]) == ("no-store", "no-referrer")
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert "Your seat" in answer.text


async def test_the_softphones_code_leads_to_its_account_once(world: World) -> None:
    _, _, made = await handed(world)
    page = (await opened(world, made["url"])).text
    url = re.search(r'id="softphone-url">([^<]*)', page)
    assert url is not None
    assert pages.code(url.group(1)) in page
    path = urlsplit(url.group(1)).path
    by_camera = await world.api.http.get(path)
    assert (by_camera.status_code, by_camera.json()["code"]) == (400, "not_a_softphone")
    answer = await world.api.http.get(path, headers=LINPHONE)
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    namespace = {"l": "http://www.linphone.org/xsds/lpconfig.xsd"}
    root = ElementTree.fromstring(answer.content)  # noqa: S314 - we wrote it
    entries = {
        (section.get("name"), entry.get("name")): entry.text
        for section in root.findall("l:section", namespace)
        for entry in section.findall("l:entry", namespace)
    }
    assert entries["auth_info_0", "passwd"] == shown(page, "密码")
    assert entries["proxy_0", "reg_identity"] == f"<sip:1001@{shown(page, 'SIP 域')}>"
    assert (await world.api.http.get(path, headers=LINPHONE)).status_code == 410


async def test_a_desk_phone_fetches_its_file_under_its_own_name_once(world: World) -> None:
    admin, seat_id, _ = await handed(world)
    await admin.post(f"/v1/seats/{seat_id}/person", {"person": {"name": "王芳"}})
    made = (await admin.post(f"/v1/seats/{seat_id}/hand-outs", {})).json()
    page = (await opened(world, made["url"])).text
    directory = urlsplit(shown(page, "配置服务器地址")).path
    assert (await world.api.http.get(f"{directory}y000000000000.boot")).status_code == 410
    answer = await world.api.http.get(f"{directory}y000000000028.cfg")
    assert (answer.status_code, answer.text.splitlines()[0]) == (200, "#!version:1.0.0.1")
    lines = dict(line.split(" = ", 1) for line in answer.text.splitlines()[1:])
    assert lines["account.1.password"] == shown(page, "密码")
    assert lines["account.1.label"] == "1001 王芳"
    assert lines["account.1.sip_server.1.transport_type"] == "0"
    assert {"account.1.outbound_proxy.1.address", "account.1.outbound_proxy.2.port"} <= lines.keys()
    assert (await world.api.http.get(f"{directory}805ec0123456.cfg")).status_code == 410
    file = re.search(r'download="y000000000000.cfg" href="data:[^,]*,([^"]*)"', page)
    assert file is not None
    assert base64.b64decode(file.group(1)).decode() == answer.text


async def test_a_tunnel_comes_with_the_hand_out_and_is_kept_nowhere_else(world: World) -> None:
    gateway = await make_gateway(world)
    admin, seat_id, made = await handed(world)
    page = (await opened(world, made["url"])).text
    assert page.count("<svg") == 3
    file = re.search(r'download="seat-1001.conf" href="data:[^,]*,([^"]*)"', page)
    assert file is not None
    configuration = base64.b64decode(file.group(1)).decode()
    assert pages.code(configuration) in page
    private = re.search(r"PrivateKey = (\S+)", configuration)
    assert private is not None
    public = tunnel_keys.public_of(private.group(1))
    assert list(await gateway.peers()) == [public]
    await admin.post(f"/v1/seats/{seat_id}/hand-outs", {})
    assert public not in await gateway.peers()


async def test_a_seat_with_a_key_of_the_tenants_own_keeps_it(world: World) -> None:
    gateway = await make_gateway(world)
    admin, seat_id, _ = await handed(world)
    own = tunnel_keys.new_pair().public
    assert (await admin.post(f"/v1/seats/{seat_id}/tunnel/key", {"public_key": own})).status_code == 200
    made = (await admin.post(f"/v1/seats/{seat_id}/hand-outs", {})).json()
    page = (await opened(world, made["url"])).text
    assert page.count("<svg") == 2  # a code without the private key would be of no use
    assert "填入自己保管的私钥" in page
    assert list(await gateway.peers()) == [own]


async def test_where_calls_must_be_encrypted_the_hand_out_sets_phones_up_for_it(world: World) -> None:
    tenant_id, _, seat_ids = await world.opened(seats=1)
    admin = await world.api.client("tenant_admin", tenant_id)
    for node in ("alpha", "beta"):
        await world.change_node(node, sip_tls_port=5061)
    async with world.api.database.transaction(Scope.platform()) as session:
        await media_policies.change(session, tenant_id, Encryption.DEMANDED)
    sip = (await admin.get(f"/v1/seats/{seat_ids[0]}")).json()["sip"]
    assert sip["media_encryption"] == "demanded"
    assert [each["transport"] for each in sip["servers"]] == ["tls", "tls", "udp", "udp", "tcp", "tcp"]
    made = (await admin.post(f"/v1/seats/{seat_ids[0]}/hand-outs", {})).json()
    page = (await opened(world, made["url"])).text
    assert "未加密的呼叫会被拒绝" in page
    file = re.search(r'download="y000000000000.cfg" href="data:[^,]*,([^"]*)"', page)
    assert file is not None
    lines = base64.b64decode(file.group(1)).decode().splitlines()
    assert {"account.1.srtp_encryption = 2", "account.1.sip_server.1.transport_type = 2"} <= set(lines)


async def test_a_link_ends_when_its_time_is_over_and_its_content_is_erased(world: World) -> None:
    admin, _, made = await handed(world, valid_hours=1)
    clock.travel_to(clock.now() + timedelta(hours=1, seconds=1))
    assert (await opened(world, made["url"])).status_code == 410
    rows = await links(world, made["hand_out_id"])
    assert all(row.sealed_content is not None for row in rows.values())
    for name in ("alpha", "beta"):  # nobody listens there
        await world.change_node(name, state="dead")
    await world.defer("provisioning.erase_expired_hand_outs")
    rows = await links(world, made["hand_out_id"])
    assert {(row.ending, row.sealed_content) for row in rows.values()} == {("expired", None)}
    assert admin.client_id == made["made_by"]


async def test_a_newer_hand_out_ends_the_links_and_the_password_of_the_one_before(world: World) -> None:
    admin, seat_id, first = await handed(world)
    second = (await admin.post(f"/v1/seats/{seat_id}/hand-outs", {"language": "en"})).json()
    assert (await opened(world, first["url"])).status_code == 410
    assert {row.ending for row in (await links(world, first["hand_out_id"])).values()} == {"replaced"}
    page = await opened(world, second["url"])
    assert (page.status_code, shown(page.text, "User name (extension)")) == (200, "1001")
    listed = (await admin.get("/v1/hand-outs", params={"seat_id": seat_id})).json()["items"]
    assert [each["hand_out_id"] for each in listed] == [second["hand_out_id"], first["hand_out_id"]]
    assert "url" not in listed[0]


async def test_a_hand_out_is_withdrawn(world: World) -> None:
    admin, _, made = await handed(world)
    done = await admin.post(f"/v1/hand-outs/{made['hand_out_id']}/withdrawal")
    assert {each["state"] for each in done.json()["links"]} == {"withdrawn"}
    assert (await admin.post(f"/v1/hand-outs/{made['hand_out_id']}/withdrawal")).status_code == 200
    assert (await opened(world, made["url"])).status_code == 410


async def test_what_cannot_be_handed_out_is_refused(world: World) -> None:
    other, _, foreign = await world.opened(seats=1)
    admin, seat_id, made = await handed(world)
    viewer = await world.api.client("tenant_viewer", other)
    assert (await admin.post(f"/v1/seats/{foreign[0]}/hand-outs", {})).status_code == 404
    assert (await viewer.post(f"/v1/seats/{foreign[0]}/hand-outs", {})).status_code == 403
    assert (await viewer.get(f"/v1/hand-outs/{made['hand_out_id']}")).status_code == 404
    assert (await viewer.get("/v1/hand-outs")).json()["items"] == []
    for hours in (0, 337):
        answer = await admin.post(f"/v1/seats/{seat_id}/hand-outs", {"valid_hours": hours})
        assert (answer.status_code, answer.json()["field"]) == (422, "valid_hours")
    assert (await admin.post(f"/v1/seats/{seat_id}/hand-outs", {"language": "fr"})).status_code == 400
    unpaid = await world.api.tenant("unpaid")
    order = await world.placed(unpaid, await world.contract(unpaid), quantity=1, effective_on=clock.today())
    early = await world.operator.post(f"/v1/seats/{order['seat_ids'][0]}/hand-outs", {})
    assert (early.status_code, early.json()["code"]) == (409, "seat_not_open")
    assert (await opened(world, made["url"])).status_code == 200  # what was refused has changed nothing


async def test_secrets_that_never_were_show_nothing(world: World) -> None:
    for form in ({}, {"secret": ""}, {"secret": "x" * 10_000}, {"secret": "guess"}):
        assert (await world.api.http.post("/hand-outs/zh", data=form)).status_code == 410
    for path in ("softphone/guess", "desk-phone/guess/y000000000028.cfg"):
        answer = await world.api.http.get(f"/hand-outs/{path}", headers=LINPHONE)
        assert (answer.status_code, answer.json()["code"]) == (410, "hand_out_gone")
    odd = await world.api.http.get("/hand-outs/desk-phone/guess/..%2fetc")
    assert odd.status_code in (404, 410)
