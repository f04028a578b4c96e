"""Registrations over time: replaced, expired, flushed, and what each listing still shows."""

from __future__ import annotations

from switch.simulator.events import Event, EventBus, NodeIdentity
from switch.simulator.registrar import Registrar, Registration


class Stage:
    """A registrar with a clock in the test's hands."""

    def __init__(self) -> None:
        self.now = 0.0
        self.events: list[Event] = []
        bus = EventBus(NodeIdentity("core-1", "host", "node-a"))
        bus.listen(self.events.append)
        self.registrar = Registrar("internal", bus, elapsed_seconds=lambda: self.now)

    def register(self, user: str, call_id: str, *, domain: str = "one.example", seconds: float = 60) -> None:
        """Register a phone for some seconds."""
        registration = Registration(
            user=user,
            domain=domain,
            contact=f'"" <sip:{user}@192.0.2.1>',
            contact_uri=f"sip:{user}@192.0.2.1",
            call_id=call_id,
            agent="phone",
            network_ip="192.0.2.1",
            network_port=5060,
            expires_at=int(seconds * 1_000_000),
            deadline_seconds=self.now + seconds,
            auth_user=user,
            auth_realm=domain,
        )
        assert self.registrar.register(registration, headers=[])

    def users(self) -> list[str]:
        """Who is registered now."""
        return [item.address for item in self.registrar.all()]


def test_a_new_registration_of_a_user_replaces_the_old_one() -> None:
    stage = Stage()
    stage.register("1001", "a")
    stage.register("1001", "b")
    assert [item.call_id for item in stage.registrar.of("1001@one.example")] == ["b"]


def test_a_registration_ends_by_itself_and_says_so() -> None:
    stage = Stage()
    stage.register("1001", "a", seconds=60)
    stage.now = 59
    assert stage.users() == ["1001@one.example"]
    stage.now = 60
    assert stage.registrar.of("1001@one.example") == ()
    assert stage.users() == []
    assert [event.subclass for event in stage.events] == ["sofia::register", "sofia::expire"]


def test_a_bare_domain_flushes_one_tenant_and_the_other_list_lags_behind() -> None:
    stage = Stage()
    stage.register("1001", "a")
    stage.register("1001", "b", domain="two.example")
    assert stage.registrar.flush("one.example") == 1
    assert stage.users() == ["1001@two.example"]
    assert len(stage.registrar.listed()) == 2
    stage.now = 61
    assert stage.registrar.listed() == ()
