"""What keeps an event from being applied: kept with its reason for a person to look at, without any effect."""

from __future__ import annotations


class SetAside(Exception):
    """The event cannot be applied; `reason` is a code, `note` the same in words. Its transaction is rolled back."""

    def __init__(self, reason: str, note: str) -> None:
        super().__init__(f"{reason}: {note}")
        self.reason = reason
        self.note = note
