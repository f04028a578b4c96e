"""Events that wait to be read, as they came: bounded by number and by bytes.

They are taken apart only when they are read. An event of thousands of short headers takes ten times its bytes once they
are texts of their own, so a queue of events would hold far more than its limit says.
"""

from __future__ import annotations

from collections import deque

from switch.esl.frames import Frame

MAX_QUEUED_EVENTS = 20_000
MAX_QUEUED_EVENT_BYTES = 64 * 1024 * 1024
"""Both limits hold: an event may carry a body of megabytes."""


class EventQueue:
    """Frames of events in the order they came; what finds it full is counted in `dropped`."""

    def __init__(self, max_events: int, max_bytes: int) -> None:
        self.dropped = 0
        self.size_bytes = 0
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._frames: deque[Frame] = deque()

    def __len__(self) -> int:
        return len(self._frames)

    def put(self, frame: Frame) -> bool:
        """Keep an event, or count it as dropped; whether it was kept."""
        if len(self._frames) >= self._max_events or self.size_bytes + len(frame.body) > self._max_bytes:
            self.dropped += 1
            return False
        # Of the frame's own headers nothing more is needed, and the limit does not count them.
        self._frames.append(Frame({"Content-Type": frame.content_type}, frame.body))
        self.size_bytes += len(frame.body)
        return True

    def take(self) -> Frame:
        """The oldest. Raises IndexError when there is none."""
        frame = self._frames.popleft()
        self.size_bytes -= len(frame.body)
        return frame

    def discard(self) -> None:
        """Throw away what waits, and count it as dropped."""
        self.dropped += len(self._frames)
        self._frames.clear()
        self.size_bytes = 0
