"""Whom a line of a bank statement pays for: sure, or for a person to decide."""

from __future__ import annotations

from decimal import Decimal

import pytest

from billing.rules.statement_matching import (
    Directory,
    KnownTenant,
    Named,
    NamedInvoice,
    Unclear,
    comparable_name,
    doubt_about,
    who_is_named,
)

ANXIN = KnownTenant("ten_01k9zq6m2v8d3c4b5a6f7g8h9j", "安心保险（上海）有限公司")
HAOYUN = KnownTenant("ten_01k9zq6m2v8d3c4b5a6f7gabc0", "好运电商有限公司")
NAMESAKE = KnownTenant("ten_01k9zq6m2v8d3c4b5a6f7gxyz9", "好运电商有限公司")
DIRECTORY = Directory([ANXIN, HAOYUN])


@pytest.mark.parametrize(
    "text",
    [
        "2026-0001-7G8H9J",
        "2026-0001-7g8h9j",
        "7月坐席租金2026-0001-7G8H9J谢谢",
        "坐席租金 ２０２６－０００１－７Ｇ８Ｈ９Ｊ",
        "2026–0001–7G8H9J",
        "2026 0001 7G8H9J",
        "202600017G8H9J",
        "INV 2026-0001-7G8H9J/07",
    ],
)
def test_the_payment_reference_names_one_tenant_however_the_bank_writes_it(text: str) -> None:
    named = who_is_named(text, None, DIRECTORY)
    assert named == Named(ANXIN.tenant_id, frozenset({"2026-0001"}), "payment_reference", payer_agrees=False)


def test_letters_that_ids_leave_out_are_read_as_the_digits_they_look_like() -> None:
    assert HAOYUN.tenant_id.endswith("7gabc0")
    named = who_is_named("2026-0001-7GABCO", None, DIRECTORY)
    assert isinstance(named, Named)
    assert named.tenant_id == HAOYUN.tenant_id


@pytest.mark.parametrize("text", ["12026-0001-7G8H9J", "2026-0001-7G8H9JX", "2026-01-7G8H9J", "20260701", "2026-07-01"])
def test_what_only_resembles_a_reference_names_nobody(text: str) -> None:
    assert isinstance(who_is_named(text, None, DIRECTORY), Unclear)


def test_an_invoice_number_alone_needs_the_payers_name() -> None:
    text = "发票2026-0001"
    assert who_is_named(text, None, DIRECTORY) == Unclear("payer_unknown")
    assert who_is_named(text, "某某公司", DIRECTORY) == Unclear("payer_unknown")
    named = who_is_named(text, "安心保险(上海)有限公司", DIRECTORY)
    assert named == Named(ANXIN.tenant_id, frozenset({"2026-0001"}), "invoice_number", payer_agrees=True)


def test_two_tenants_of_one_name_are_not_told_apart_by_a_number() -> None:
    both = Directory([HAOYUN, NAMESAKE])
    assert who_is_named("2026-0001", HAOYUN.name, both) == Unclear("several_tenants")
    named = who_is_named(f"2026-0001-{NAMESAKE.tenant_id[-6:]}", HAOYUN.name, both)
    assert isinstance(named, Named)
    assert (named.tenant_id, named.payer_agrees) == (NAMESAKE.tenant_id, True)


def test_references_of_two_tenants_are_for_a_person() -> None:
    text = f"2026-0001-{ANXIN.tenant_id[-6:]} 2026-0001-{HAOYUN.tenant_id[-6:]}"
    assert who_is_named(text, HAOYUN.name, DIRECTORY) == Unclear("several_tenants", HAOYUN.tenant_id)
    assert who_is_named(text, None, DIRECTORY) == Unclear("several_tenants")


def test_a_payer_with_another_tenants_name_is_never_sure() -> None:
    text = f"2026-0001-{ANXIN.tenant_id[-6:]}"
    assert who_is_named(text, HAOYUN.name, DIRECTORY) == Unclear("payer_is_another_tenant", ANXIN.tenant_id)


def test_a_payer_without_any_reference_is_only_a_suggestion() -> None:
    assert who_is_named("服务费", ANXIN.name, DIRECTORY) == Unclear("no_reference", ANXIN.tenant_id)
    assert who_is_named("", None, DIRECTORY) == Unclear("no_reference")


def test_an_empty_name_is_nobodys() -> None:
    nameless = Directory([KnownTenant("ten_01k9zq6m2v8d3c4b5a6f7g8h9j", "——")])
    assert who_is_named("服务费", "()", nameless) == Unclear("no_reference")
    assert comparable_name("Acme Co., Ltd.") == comparable_name("ＡＣＭＥ　ＣＯ ＬＴＤ")


def _reference(*, payer_agrees: bool, numbers: frozenset[str] = frozenset({"2026-0001"})) -> Named:
    return Named(ANXIN.tenant_id, numbers, "payment_reference", payer_agrees=payer_agrees)


OPEN = [NamedInvoice("2026-0001", Decimal("4000.00"))]


def test_a_reference_is_sure_with_the_amount_or_with_the_payer() -> None:
    assert doubt_about(_reference(payer_agrees=False), Decimal("4000.00"), OPEN) is None
    assert doubt_about(_reference(payer_agrees=True), Decimal("1000.00"), OPEN) is None
    doubt = doubt_about(_reference(payer_agrees=False), Decimal("4000.01"), OPEN)
    assert doubt == Unclear("amount_and_payer_differ", ANXIN.tenant_id)


def test_a_bare_number_is_sure_with_payer_and_amount_only() -> None:
    named = Named(ANXIN.tenant_id, frozenset({"2026-0001"}), "invoice_number", payer_agrees=True)
    assert doubt_about(named, Decimal("4000.00"), OPEN) is None
    assert doubt_about(named, Decimal("3999.99"), OPEN) == Unclear("amount_differs", ANXIN.tenant_id)


def test_a_number_that_the_tenant_does_not_have_is_for_a_person() -> None:
    assert doubt_about(_reference(payer_agrees=True), Decimal("4000.00"), []) == Unclear(
        "invoice_unknown", ANXIN.tenant_id
    )


def test_several_invoices_are_paid_by_their_sum() -> None:
    named = _reference(payer_agrees=False, numbers=frozenset({"2026-0001", "2026-0002"}))
    both = [*OPEN, NamedInvoice("2026-0002", Decimal("0.50"))]
    assert doubt_about(named, Decimal("4000.50"), both) is None
    assert doubt_about(named, Decimal("4000.00"), both) is not None
