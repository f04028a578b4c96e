"""The table of examinations."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy.orm import Mapped, mapped_column

from infra.kit.database import Base


class Examination(Base):
    """What the latest periodic examination of a node or an edge has found."""

    __tablename__ = "examination"

    kind: Mapped[str] = mapped_column(primary_key=True)
    """`node` or `edge`."""
    name: Mapped[str] = mapped_column(primary_key=True)
    examined_at: Mapped[datetime]
    verdict: Mapped[str]
    """As in `findings.Verdict`."""
    findings: Mapped[list[Any]]
    """Check, verdict, found, expected and advice of each."""
