"""Which papers are enough, since when and how long (C19)."""

from __future__ import annotations

from datetime import date, timedelta

from tenancy.papers.rules import Held, complete_since, complete_until, missing, reminder_due

TODAY = date(2026, 6, 8)
YESTERDAY, TOMORROW = TODAY - timedelta(days=1), TODAY + timedelta(days=1)


def paper(kind: str, *, begins: date | None = None, ends: date | None = None, accepted: date = YESTERDAY) -> Held:
    return Held(kind, begins, ends, accepted)


BANK, REPRESENTATIVE = paper("bank_account_letter"), paper("representative_id")
OLD_THREE = [paper(kind) for kind in ("business_licence", "tax_registration", "organisation_code")]


def test_one_certificate_stands_for_the_three_of_old() -> None:
    assert complete_since([paper("unified_certificate"), BANK, REPRESENTATIVE], TODAY) == YESTERDAY
    assert complete_since([*OLD_THREE, BANK, REPRESENTATIVE], TODAY) == YESTERDAY
    for absent in range(3):
        incomplete = [*OLD_THREE[:absent], *OLD_THREE[absent + 1 :], BANK, REPRESENTATIVE]
        assert complete_since(incomplete, TODAY) is None
        assert missing(incomplete, TODAY) == ["registration"]
    assert missing([], TODAY) == ["registration", "bank_account", "representative_id"]


def test_it_is_complete_since_the_last_paper_was_accepted_or_became_valid() -> None:
    late = paper("unified_certificate", accepted=TODAY)
    assert complete_since([late, BANK, REPRESENTATIVE], TODAY) == TODAY
    future = paper("unified_certificate", begins=TOMORROW)
    assert complete_since([future, BANK, REPRESENTATIVE], TODAY) is None
    assert complete_since([future, BANK, REPRESENTATIVE], TOMORROW) == TOMORROW
    both = [late, paper("unified_certificate"), BANK, REPRESENTATIVE]
    assert complete_since(both, TODAY) == YESTERDAY


def test_a_paper_counts_to_the_end_of_its_last_day() -> None:
    ending = [paper("unified_certificate", ends=TODAY), BANK, REPRESENTATIVE]
    assert complete_since(ending, TODAY) == YESTERDAY
    assert complete_since(ending, TOMORROW) is None
    assert complete_until(ending, TODAY) == TODAY
    assert complete_until([*ending, paper("unified_certificate", begins=TOMORROW, ends=TOMORROW)], TODAY) == TOMORROW
    assert complete_until([paper("unified_certificate"), BANK, REPRESENTATIVE], TODAY) is None
    assert complete_until([], TODAY) == YESTERDAY


def test_a_reminder_belongs_to_its_day_and_a_successor_ends_them() -> None:
    ending = paper("representative_id", ends=TODAY)
    days = {TODAY - timedelta(days=before): before for before in (60, 30, 7)}
    assert reminder_due([ending], ending, min(days) - timedelta(days=1)) is None
    for day in days:
        assert reminder_due([ending], ending, day) == day
        assert reminder_due([ending], ending, day + timedelta(days=3)) == day
    assert reminder_due([ending], ending, TODAY) == TODAY - timedelta(days=7)
    assert reminder_due([ending], ending, TOMORROW) is None
    successor = paper("representative_id", begins=TOMORROW, ends=TOMORROW + timedelta(days=999))
    assert reminder_due([ending, successor], ending, YESTERDAY) is None
    endless = paper("representative_id")
    assert reminder_due([endless], endless, TODAY) is None
