"""Papers from the upload to the review, and who may look at them (C19)."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from infra.kit import clock
from infra.kit.database import Scope
from infra.kit.jobs import Runtime
from infra.kit.objects import FOLDER, ObjectMissing, Objects, ObjectSpoiled, Place
from infra.kit.outbox import jobs as mail_jobs
from infra.kit.settings import MailServer, SettingRefused, Settings, load
from tenancy import tenants
from tenancy.papers import files, jobs
from tenancy.people import persons
from tests.api import Api, Caller
from tests.billing.mail_world import SENDER, postbox, words_of
from tests.provisioning.paper_files import archive, pdf, png
from tests.provisioning.world import TODAY, travel


@pytest.fixture
def runtime(api: Api) -> Runtime:
    return Runtime(api.database, api.settings)


@pytest.fixture
async def desks(api: Api) -> AsyncGenerator[tuple[Caller, Caller, str]]:
    """The operator, a tenant's admin, and the tenant."""
    travel(TODAY)
    tenant_id = await api.tenant("renter")
    yield await api.client("platform_operator"), await api.client("tenant_admin", tenant_id), tenant_id


async def hand_in(caller: Caller, content: bytes, kind: str = "representative_id", **more: str) -> httpx.Response:
    params = {"kind": kind} | more
    headers = caller.headers | {"content-type": "application/octet-stream"}
    return await caller.http.post("/v1/papers", content=content, params=params, headers=headers)


async def handed_in(caller: Caller, kind: str = "representative_id", **more: str) -> dict[str, Any]:
    answer = await hand_in(caller, pdf(), kind, **more)
    assert answer.status_code == 201, answer.text
    return answer.json()


def code_of(answer: httpx.Response) -> tuple[int, str, str | None]:
    return answer.status_code, answer.json()["code"], answer.json().get("field")


async def opened(api: Api, caller: Caller, paper_id: str) -> httpx.Response:
    link = (await caller.post(f"/v1/papers/{paper_id}/link")).json()
    return await api.http.get(link["url"].removeprefix(api.settings.public_url))


async def test_a_paper_is_handed_in_reviewed_and_counts(desks: tuple[Caller, Caller, str]) -> None:
    operator, admin, tenant_id = desks
    paper = await handed_in(admin, file_name="../护照 scan.exe", valid_until="2030-01-31")
    assert (paper["state"], paper["media_type"], paper["tenant_id"]) == ("submitted", "application/pdf", tenant_id)
    assert paper["file_name"] == "_护照 scan.pdf"
    assert paper["uploaded_by"] == admin.client_id
    status = (await admin.get(f"/v1/tenants/{tenant_id}/papers")).json()
    assert (status["complete"], status["missing"]) == (False, ["registration", "bank_account", "representative_id"])
    path = f"/v1/papers/{paper['paper_id']}/review"
    assert (await admin.post(path, {"decision": "accepted", "reason": "ours"})).status_code == 403
    assert code_of(await operator.post(path, {"decision": "accepted", "reason": " "}))[1] == "invalid_input"
    decided = (await operator.post(path, {"decision": "accepted", "reason": "seen the original"})).json()
    assert (decided["state"], decided["decision_reason"]) == ("accepted", "seen the original")
    again = await operator.post(path, {"decision": "accepted", "reason": "again"})
    assert code_of(again) == (409, "paper_decided", "paper_id")
    for kind in ("unified_certificate", "bank_account_letter"):
        other = await handed_in(admin, kind)
        body = {"decision": "accepted", "reason": "fine", "valid_until": "2026-12-31"}
        assert (await operator.post(f"/v1/papers/{other['paper_id']}/review", body)).status_code == 200
    status = (await admin.get(f"/v1/tenants/{tenant_id}/papers")).json()
    assert (status["complete"], status["complete_since"], status["complete_until"], status["missing"]) == (
        True, TODAY.isoformat(), "2026-12-31", [],
    )  # fmt: skip
    refusal = {"decision": "refused", "reason": "it was forged"}
    assert (await operator.post(path, refusal)).json()["state"] == "refused"
    assert (await admin.get(f"/v1/tenants/{tenant_id}/papers")).json()["missing"] == ["representative_id"]
    listed = (await admin.get("/v1/papers", {"state": "accepted"})).json()["items"]
    assert {each["kind"] for each in listed} == {"unified_certificate", "bank_account_letter"}


async def test_bad_files_and_days_are_refused_with_code_and_place(desks: tuple[Caller, Caller, str]) -> None:
    _, admin, _ = desks
    executable = await hand_in(admin, b"MZ" + pdf())
    assert code_of(executable) == (422, "paper_type_refused", "file")
    both = await hand_in(admin, pdf(tail=archive(pdf())))
    assert code_of(both) == (422, "paper_polyglot", "file")
    assert both.json()["offset_bytes"] > 0
    assert code_of(await hand_in(admin, png(pixels=b"\0" * 9_000_000)))[1] == "paper_decompression_bomb"
    assert code_of(await hand_in(admin, b"")) == (422, "paper_type_refused", "file")
    assert code_of(await hand_in(admin, pdf() + b" " * files.SIZE_LIMIT_BYTES)) == (413, "paper_too_large", "file")
    headers = admin.headers | {"content-type": "image/png"}
    named = await admin.http.post("/v1/papers?kind=representative_id", content=pdf(), headers=headers)
    assert code_of(named) == (422, "paper_type_differs", "file")
    assert code_of(await hand_in(admin, pdf(), "passport")) == (422, "paper_refused", "kind")
    for more, field in (
        ({"valid_until": "2026-06-07"}, "valid_until"),
        ({"valid_until": "2026-07-01", "valid_from": "2026-08-01"}, "valid_until"),
        ({"valid_from": "0001-01-01"}, "valid_from"),
    ):
        assert code_of(await hand_in(admin, pdf(), **more)) == (422, "paper_refused", field)
    assert (await hand_in(admin, pdf(), valid_until="soon")).status_code == 400
    assert (await admin.get("/v1/papers")).json()["items"] == []


async def test_the_file_is_sealed_at_rest_and_opens_by_a_link_for_minutes(
    desks: tuple[Caller, Caller, str], api: Api
) -> None:
    operator, admin, tenant_id = desks
    paper = await handed_in(admin)
    [stored] = [each for each in (api.settings.data_directory / FOLDER).rglob("*") if each.is_file()]
    assert b"PDF" not in stored.read_bytes()
    assert stored.stat().st_size > paper["size_bytes"]
    answer = await opened(api, operator, paper["paper_id"])
    assert (answer.status_code, answer.content, answer.headers["content-type"]) == (200, pdf(), "application/pdf")
    assert answer.headers["content-disposition"].startswith("attachment;")
    assert (answer.headers["x-content-type-options"], answer.headers["cache-control"]) == ("nosniff", "no-store")
    link = (await admin.post(f"/v1/papers/{paper['paper_id']}/link")).json()
    path = link["url"].removeprefix(api.settings.public_url)
    for place in (len("/papers/"), len(path) // 2, len(path) - 2):
        changed = path[:place] + ("A" if path[place] != "A" else "B") + path[place + 1 :]
        assert code_of(await api.http.get(changed))[:2] == (403, "paper_link_refused")
    assert (await api.http.get("/papers/nonsense")).status_code == 403
    assert (await api.http.get("/papers/" + "A" * 5_000)).status_code == 403
    assert (await api.http.get(path)).status_code == 200
    clock.travel_to(clock.now() + timedelta(minutes=5, seconds=1))
    assert code_of(await api.http.get(path))[:2] == (403, "paper_link_refused")
    told = (await operator.get("/v1/audit", {"tenant_id": tenant_id})).json()["items"]
    assert [(each["action"], each["actor"]) for each in reversed(told) if each["object_id"] == paper["paper_id"]] == [
        ("paper.submitted", admin.client_id),
        ("paper.link_made", operator.client_id),
        ("paper.opened", operator.client_id),
        ("paper.link_made", admin.client_id),
        ("paper.opened", admin.client_id),
    ]


async def test_nobody_sees_the_papers_of_another_tenant(desks: tuple[Caller, Caller, str], api: Api) -> None:
    operator, admin, tenant_id = desks
    paper = await handed_in(admin)
    neighbour = await api.client("tenant_admin", await api.tenant("neighbour"))
    path = f"/v1/papers/{paper['paper_id']}"
    assert code_of(await neighbour.get(path)) == (404, "paper_not_found", "paper_id")
    assert (await neighbour.post(f"{path}/link")).status_code == 404
    assert (await neighbour.post(f"{path}/withdrawal", {"reason": "mine"})).status_code == 404
    assert (await neighbour.get(f"/v1/tenants/{tenant_id}/papers")).status_code == 404
    assert (await neighbour.get("/v1/papers")).json()["items"] == []
    assert (await hand_in(neighbour, pdf(), tenant_id=tenant_id)).status_code == 404
    viewer, finance = await api.client("tenant_viewer", tenant_id), await api.client("finance")
    for caller in (viewer, finance):
        assert (await caller.get(path)).status_code == 200
        assert (await caller.post(f"{path}/link")).status_code == 403
        assert (await hand_in(caller, pdf(), tenant_id=tenant_id)).status_code == 403
    assert code_of(await hand_in(operator, pdf())) == (422, "invalid_input", "tenant_id")
    assert (await hand_in(operator, pdf(), tenant_id=tenant_id)).status_code == 201


async def test_a_withdrawn_papers_file_is_erased_and_a_refused_ones_after_a_time(
    desks: tuple[Caller, Caller, str], api: Api, runtime: Runtime
) -> None:
    operator, admin, tenant_id = desks
    kept, withdrawn, refused = [await handed_in(admin) for _ in range(3)]
    gone = await admin.post(f"/v1/papers/{withdrawn['paper_id']}/withdrawal", {"reason": "the wrong page"})
    assert gone.json()["state"] == "withdrawn"
    await operator.post(f"/v1/papers/{refused['paper_id']}/review", {"decision": "refused", "reason": "unreadable"})
    assert code_of(await admin.post(f"/v1/papers/{withdrawn['paper_id']}/link"))[:2] == (409, "paper_erased")
    assert code_of(await admin.post(f"/v1/papers/{refused['paper_id']}/withdrawal", {"reason": "no"}))[0] == 409
    assert await jobs.erase_files(runtime) == 1
    assert (await opened(api, admin, refused["paper_id"])).status_code == 200
    travel(TODAY + timedelta(days=91))
    assert await jobs.erase_files(runtime) == 1
    assert await jobs.erase_files(runtime) == 0
    admin = await api.client("tenant_admin", tenant_id)
    assert (await admin.get(f"/v1/papers/{refused['paper_id']}")).json()["erased_at"] is not None
    assert (await opened(api, admin, kept["paper_id"])).status_code == 200
    async with api.database.transaction(Scope.platform()) as session:
        assert await files.erase_all(session, runtime.objects, tenant_id) == 1
    assert [each async for page in runtime.objects.places("papers") for each in page] == []


async def test_a_file_whose_row_was_never_committed_is_swept_away_after_a_day(
    desks: tuple[Caller, Caller, str], api: Api, runtime: Runtime
) -> None:
    _, admin, tenant_id = desks
    kept = await handed_in(admin)

    class Died(BaseException):
        pass

    with pytest.raises(Died):
        async with api.database.transaction(Scope.platform()) as session:
            new = files.NewPaper(kind="representative_id", content=pdf())
            await files.submit(session, runtime.objects, tenant_id, new)
            raise Died
    assert len((await admin.get("/v1/papers")).json()["items"]) == 1
    assert await jobs.sweep_orphans(runtime) == 0  # it may be on its way
    await runtime.objects.put(Place("papers", tenant_id, "README"), b"somebody else's")
    clock.travel_to(clock.now() + timedelta(hours=25))
    assert await jobs.sweep_orphans(runtime) == 1
    left = {each.object_id async for page in runtime.objects.places("papers") for each in page}
    assert left == {kept["paper_id"], "README"}


async def test_a_file_that_was_changed_swapped_or_lost_is_not_given_out(
    desks: tuple[Caller, Caller, str], api: Api, tmp_path: Path
) -> None:
    _, admin, tenant_id = desks
    one, other = await handed_in(admin), await handed_in(admin, "unified_certificate")
    folder = api.settings.data_directory / FOLDER / "papers" / tenant_id
    (folder / one["paper_id"]).write_bytes((folder / other["paper_id"]).read_bytes())
    assert code_of(await opened(api, admin, one["paper_id"]))[:2] == (500, "paper_lost")
    (folder / one["paper_id"]).unlink()
    assert code_of(await opened(api, admin, one["paper_id"]))[:2] == (500, "paper_lost")
    place, objects = Place("papers", tenant_id, other["paper_id"]), Objects(api.settings)
    assert await objects.get(place) == pdf()
    other_key = load({"SEATLINE_DATA_DIRECTORY": str(tmp_path)}).secret_key
    with pytest.raises(ObjectSpoiled):
        await Objects(replace(api.settings, secret_key=other_key)).get(place)
    with pytest.raises(ObjectMissing):
        await objects.get(Place("papers", tenant_id, "pap_none"))
    await objects.delete(Place("papers", tenant_id, "pap_none"))


async def test_reminders_go_60_30_and_7_days_before_a_paper_expires(
    desks: tuple[Caller, Caller, str], api: Api, settings: Settings
) -> None:
    operator, admin, tenant_id = desks
    async with postbox() as box:
        server = MailServer(
            host="127.0.0.1", port=box.port, security="none", username=None, password=None, sender=SENDER
        )
        runtime = Runtime(api.database, replace(settings, mail_server=server, finance_mail="finance@example.com"))
        async with api.database.transaction(Scope.platform()) as session:
            (await tenants.get(session, tenant_id)).contact_email = "boss@renter.example"
        paper = await handed_in(admin, valid_until="2026-12-31")
        await operator.post(f"/v1/papers/{paper['paper_id']}/review", {"decision": "accepted", "reason": "fine"})

        async def told(day: date) -> list[tuple[str, list[str]]]:
            travel(day)
            await jobs.tend_papers(runtime)
            await jobs.tend_papers(runtime)
            await mail_jobs.send_mail(runtime)
            told, box.mails = box.mails, []
            days = [(str(mail["To"]), re.findall(r"还有 (\d+) 天", words_of(mail))) for mail in told]
            return sorted(each for each in days if each[1])  # the others say what the review has decided

        both = ("boss@renter.example", "finance@example.com")
        assert await told(date(2026, 10, 31)) == []
        assert await told(date(2026, 11, 2)) == [(each, ["59"]) for each in both]  # a day of outage
        assert await told(date(2026, 11, 3)) == []
        assert await told(date(2026, 12, 1)) == [(each, ["30"]) for each in both]
        admin = await api.client("tenant_admin", tenant_id)
        renewed = await handed_in(admin, valid_until="2030-12-31", valid_from="2026-12-20")
        assert await told(date(2026, 12, 23)) == []
        operator = await api.client("platform_operator")
        await operator.post(f"/v1/papers/{renewed['paper_id']}/review", {"decision": "accepted", "reason": "fine"})
        assert await told(date(2026, 12, 24)) == []


async def test_both_sides_are_told_of_a_paper_and_its_review(
    desks: tuple[Caller, Caller, str], api: Api, settings: Settings
) -> None:
    operator, admin, tenant_id = desks
    async with postbox() as box, api.database.transaction(Scope.platform()) as session:
        await persons.create(
            session, tenant_id=tenant_id, address="ada@renter.example", name="Ada", role="tenant_admin", language="en",
            password_hash=None,
        )  # fmt: skip
        (await tenants.get(session, tenant_id)).contact_email = "office@renter.example"
        await session.commit()
        server = MailServer(
            host="127.0.0.1", port=box.port, security="none", username=None, password=None, sender=SENDER
        )
        runtime = Runtime(api.database, replace(settings, mail_server=server))
        async with api.database.transaction(Scope.platform()) as second:
            new = files.NewPaper(kind="representative_id", content=pdf())
            paper = await files.submit(
                second, Objects(api.settings), tenant_id, new, operator_address="desk@op.example"
            )
        path = f"/v1/papers/{paper.paper_id}/review"

        async def told() -> list[tuple[str, str]]:
            await mail_jobs.send_mail(runtime)
            mails, box.mails = box.mails, []
            return [(str(mail["To"]), words_of(mail)) for mail in mails]

        [(to, words)] = await told()
        assert (to, paper.paper_id in words) == ("desk@op.example", True)
        await operator.post(path, {"decision": "accepted", "reason": "complete"})
        [(to, words)] = await told()
        assert (to, "was accepted" in words, "complete" in words) == ("ada@renter.example", True, True)
        await operator.post(path, {"decision": "refused", "reason": "it is somebody else's"})
        [(to, words)] = await told()
        assert (to, "was not accepted" in words, "it is somebody else's" in words) == ("ada@renter.example", True, True)
    trail = (await admin.get("/v1/webhook-event-types")).json()["event_types"]
    assert {"paper.accepted", "paper.refused"} <= set(trail)


async def test_a_paper_that_was_decided_meanwhile_needs_no_mail(
    desks: tuple[Caller, Caller, str], api: Api, settings: Settings
) -> None:
    operator, _, tenant_id = desks
    async with postbox() as box:
        server = MailServer(
            host="127.0.0.1", port=box.port, security="none", username=None, password=None, sender=SENDER
        )
        async with api.database.transaction(Scope.platform()) as session:
            new = files.NewPaper(kind="representative_id", content=pdf())
            paper = await files.submit(
                session, Objects(api.settings), tenant_id, new, operator_address="desk@op.example"
            )
        await operator.post(f"/v1/papers/{paper.paper_id}/review", {"decision": "refused", "reason": "blurred"})
        await mail_jobs.send_mail(Runtime(api.database, replace(settings, mail_server=server)))
        assert box.mails == []  # the tenant has nobody to write to, the operator nothing to review


def test_the_object_storage_is_a_bucket_or_a_folder(tmp_path: Path) -> None:
    kept = {"SEATLINE_DATA_DIRECTORY": str(tmp_path)}
    found = load(kept | {"SEATLINE_OBJECT_STORAGE_URL": "s3://papers/seatline"})
    assert (found.object_storage_url, load(kept).object_storage_url) == ("s3://papers/seatline", None)
    for wrong in ("https://papers", "s3://", "papers"):
        with pytest.raises(SettingRefused, match="SEATLINE_OBJECT_STORAGE_URL"):
            load(kept | {"SEATLINE_OBJECT_STORAGE_URL": wrong})
    with pytest.raises(SettingRefused, match="SEATLINE_OBJECT_STORAGE_URL"):
        load(kept | {"SEATLINE_OBJECT_STORAGE_ENDPOINT": "http://127.0.0.1:9000"})
