"""Refusals of the live view."""

from __future__ import annotations

from infra.kit.problems import Conflict, NotFound, Unavailable


class LiveCallUnknown(NotFound):
    """No such leg runs now; what has ended is in the call records."""

    code = "live_call_not_found"


class EmergencyCallStays(Conflict):
    """An emergency call is not ended from here."""

    code = "emergency_call"


class NodeDidNotAnswer(Unavailable):
    """The node could not be told, or did not say what became of it."""

    code = "node_did_not_answer"


class TooManyStreams(Unavailable):
    """This server, or this client, has as many streams as are allowed."""

    code = "too_many_streams"
