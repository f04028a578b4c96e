"""Request and response bodies of papers."""

from __future__ import annotations

from datetime import date, datetime
from typing import Literal

import msgspec

from infra.kit.http import Body, FileUpload, View
from tenancy.papers.content import MEDIA_TYPES
from tenancy.papers.models import Paper


class PaperUpload(FileUpload):
    """The bodies that an upload takes, for the API description."""

    media_types = MEDIA_TYPES


class Review(Body):
    """The operator's decision on a paper, with its reason. Days that are named take the place of those handed in."""

    decision: Literal["accepted", "refused"]
    reason: str
    valid_from: date | None = None
    valid_until: date | None = None


class Withdrawal(Body):
    """Why a paper is taken back."""

    reason: str


class PaperView(View):
    """A paper. `state`: submitted, accepted, refused or withdrawn; `valid_until` is its last day (null: no end)."""

    paper_id: str
    tenant_id: str
    kind: str
    state: str
    file_name: str
    media_type: str
    size_bytes: int
    digest: str
    valid_from: date | None
    valid_until: date | None
    uploaded_at: datetime
    uploaded_by: str
    decided_at: datetime | None
    decided_by: str | None
    decision_reason: str | None
    erased_at: datetime | None


class PaperLinkView(View):
    """Opens the file without a sign-in until `expires_at`; whoever has it can."""

    url: str
    expires_at: datetime


class PapersStatusView(View):
    """Whether a tenant's papers are complete today (C19), since when, and to the end of which day."""

    tenant_id: str
    complete: bool
    complete_since: date | None
    complete_until: date | None
    """With the papers of today; null where they do not expire."""
    missing: list[str]
    """Of registration, bank_account and representative_id."""


def paper_view(paper: Paper) -> PaperView:
    """A paper as its tenant and the operator see it."""
    return msgspec.convert({name: getattr(paper, name) for name in PaperView.__struct_fields__}, PaperView)
