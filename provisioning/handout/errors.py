"""Refusals of hand-outs."""

from __future__ import annotations

from http import HTTPStatus

from infra.kit.problems import NotFound, Refusal


class HandOutUnknown(NotFound):
    """There is no such hand-out for this caller."""

    code = "hand_out_not_found"


class HandOutGone(Refusal):
    """The link was opened before, has expired, was replaced by a newer one, or never was."""

    code = "hand_out_gone"
    status = HTTPStatus.GONE
    title = "This link shows nothing any more"


class NotASoftphone(Refusal):
    """The link of a softphone's QR code was opened by something else; nothing was used up."""

    code = "not_a_softphone"
    status = HTTPStatus.BAD_REQUEST
    title = "This link is for a softphone"
