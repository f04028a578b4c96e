"""Webhooks: signatures, targets and pauses, without a database."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta

import pytest

from tenancy.webhooks import event_types, retrying, signing, targets
from tenancy.webhooks.errors import TargetRefused


def test_the_signature_is_that_of_the_published_example() -> None:
    """The values of the Standard Webhooks specification's own test."""
    secret, body = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", b'{"test": 2432232314}'
    signed = signing.signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_while_a_secret_is_replaced_both_sign_the_new_one_first() -> None:
    new, former = signing.new_secret(), signing.new_secret()
    both = signing.headers([new, former], "evt_1", 1, b"{}")["webhook-signature"].split(" ")
    assert both == [signing.signature(each, "evt_1", 1, b"{}") for each in (new, former)]


@pytest.mark.parametrize("secret", ["MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_not base64!"])
def test_what_is_no_secret_signs_nothing(secret: str) -> None:
    with pytest.raises(ValueError, match="whsec_"):
        signing.signature(secret, "evt_1", 1, b"{}")


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/", "https://localhost/", "https://LOCALHOST./", "https://api.localhost/", "https://router/",
        "https://db.internal/", "https://127.0.0.1/", "https://127.1/", "https://2130706433/", "https://0x7f.0.0.0x1/",
        "https://10.0.0.8/", "https://172.16.0.1/", "https://192.168.1.1/", "https://169.254.169.254/latest/",
        "https://100.64.0.1/", "https://0.0.0.0/", "https://224.0.0.1/", "https://[::1]/", "https://[::]/",
        "https://[fe80::1]/", "https://[fd00::1]/", "https://[::ffff:10.0.0.1]/", "https://[64:ff9b::a00:1]/",
        "https://[2002:a00:1::]/", "https://user:secret@example.com/", "https://example.com/#part", "https:///path",
        "ftp://example.com/", "https://example.com:99999/", "https://exa mple.com/", "https://例子.com/", "",
        "https://example.com/\r\nhost: x", "https://example.com/" + "a" * 2000,
    ],
)  # fmt: skip
def test_a_target_inside_or_without_form_is_refused(url: str) -> None:
    with pytest.raises(TargetRefused) as refused:
        targets.read(url, inside_allowed=False)
    assert refused.value.field == "url"


def test_a_public_target_is_taken_apart() -> None:
    target = targets.read("https://Hooks.Example.com:8443/in?tenant=1", inside_allowed=False)
    assert (target.host, target.port, target.path) == ("hooks.example.com", 8443, "/in?tenant=1")
    assert target.authority == "hooks.example.com:8443"
    assert targets.read("https://8.8.8.8", inside_allowed=False).path == "/"
    assert targets.read("http://127.0.0.1:8000/", inside_allowed=True).port == 8000


@pytest.mark.parametrize("found", [["10.0.0.1"], ["8.8.8.8", "127.0.0.1"], ["::ffff:127.0.0.1"], ["fe80::1%eth0"]])
async def test_a_name_that_leads_inside_is_refused_with_all_its_addresses(found: list[str]) -> None:
    async def lookup(_host: str, _port: int) -> list[str]:
        return found

    resolver = targets.Resolver(inside_allowed=False, lookup=lookup)
    with pytest.raises(TargetRefused, match="not a public address"):
        await resolver.address_of(targets.read("https://rebinding.example.com/", inside_allowed=False))
    resolver.close()


@pytest.mark.parametrize(
    "text",
    [
        "fec0::1", "192.88.99.1", "192.0.0.8", "3fff::1", "::127.0.0.1", "::ffff:0:7f00:1", "2001:0:7f00:1::",
        "5f00::1", "fe80::1", "ff02::1", "240.0.0.1", "255.255.255.255", "198.18.0.1", "2002:7f00:1::",
        "64:ff9b:1::808:808",
    ],
)  # fmt: skip
def test_an_address_of_no_public_host_is_refused_whatever_python_says_of_it(text: str) -> None:
    assert not targets.is_public(ipaddress.ip_address(text))


def test_carried_addresses_are_judged_by_what_they_carry() -> None:
    assert targets.is_public(ipaddress.ip_address("64:ff9b::808:808"))
    assert not targets.is_public(ipaddress.ip_address("64:ff9b::7f00:1"))
    assert targets.is_public(ipaddress.ip_address("2606:4700:4700::1111"))


def test_attempts_go_on_for_three_days_and_end() -> None:
    pauses = [retrying.pause_after(left) for left in range(retrying.ATTEMPTS_LIMIT - 1, -1, -1)]
    assert pauses[:3] == [timedelta(seconds=5), timedelta(minutes=5), timedelta(minutes=30)]
    assert pauses[-1] is None
    assert timedelta(days=3) < sum((each for each in pauses if each is not None), timedelta()) < timedelta(days=4)


def test_what_a_target_asks_for_is_followed_for_an_hour_at_most() -> None:
    assert retrying.pause_after(9, timedelta(minutes=2)) == timedelta(minutes=2)
    assert retrying.pause_after(9, timedelta(days=30)) == timedelta(hours=1)


def test_a_target_is_switched_off_after_days_of_failures_only() -> None:
    since = datetime(2026, 6, 1, tzinfo=UTC)
    assert retrying.rest_after(1) == timedelta(seconds=5)
    assert retrying.rest_after(1000) == timedelta(minutes=5)
    assert not retrying.is_hopeless(since, 1000, since + timedelta(days=4))
    assert not retrying.is_hopeless(since, 2, since + timedelta(days=9))
    assert retrying.is_hopeless(since, 10, since + timedelta(days=5))


def test_only_named_facts_leave_the_house() -> None:
    told = event_types.BY_ACTION["fault.withdrawn"]
    data = event_types.data_of(told, "ten_1", "flt_1", {"reason": "internal", "cause": "tenant"})
    assert data == {"tenant_id": "ten_1", "fault_id": "flt_1"}
