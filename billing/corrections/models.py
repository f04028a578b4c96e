"""Tables of re-ratings: a past month's calls priced once more, and what is made of the difference."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal

from sqlalchemy import Index, Numeric, text
from sqlalchemy.orm import Mapped, mapped_column

from infra.kit.database import Base

Rated = Numeric(18, 4)


class ReRating(Base):
    """The calls of one contract and usage month priced with another deck; the difference is finance's to settle.

    Sums are exact, CNY. `old_total` and `new_total` are of every call that had a price; a call for which the deck has
    none keeps its old one. `first_total` is what calls without a price until then come to.
    """

    __tablename__ = "re_rating"
    __table_args__ = (
        Index(None, "re_rating_id"),
        Index(
            "uq_re_rating_one_open",
            "tenant_id",
            "contract_id",
            "month",
            unique=True,
            postgresql_where=text("state IN ('computing', 'computed')"),
        ),
        Index("ix_re_rating_supplement", "tenant_id", "contract_id", "billing_month"),
    )

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    re_rating_id: Mapped[str] = mapped_column(primary_key=True)
    contract_id: Mapped[str]
    month: Mapped[date]
    """First day of the usage month: the calls are those that its invoice adds up."""
    deck_id: Mapped[str]
    reason: Mapped[str]
    state: Mapped[str]
    """`computing`, `computed`, `settled` or `cancelled`."""
    requested_by: Mapped[str]
    requested_at: Mapped[datetime]
    phase: Mapped[str]
    """What the computing walks through: `charges`, then `unrated` calls."""
    last_month: Mapped[date | None]
    last_leg_id: Mapped[str | None]
    """The last call of the phase that was priced: where a run that died goes on."""
    calls: Mapped[int]
    changed: Mapped[int]
    without_price: Mapped[int]
    """Calls for which the deck has no price."""
    first_priced: Mapped[int]
    """Calls that had no price and have one now."""
    old_total: Mapped[Decimal] = mapped_column(Rated)
    new_total: Mapped[Decimal] = mapped_column(Rated)
    first_total: Mapped[Decimal] = mapped_column(Rated)
    computed_at: Mapped[datetime | None]
    settled_at: Mapped[datetime | None]
    settled_by: Mapped[str | None]
    settlement: Mapped[str | None]
    """`replaced` (the month was on no invoice), `credit_note`, `supplement` or `nothing`."""
    credit_note_id: Mapped[str | None]
    billing_month: Mapped[date | None]
    """The usage month on whose invoice the difference goes as a supplement; None: on none."""
    cancelled_at: Mapped[datetime | None]


class ReRatedCall(Base):
    """A call whose price or lack of one a re-rating changes; what stays as it is has no row."""

    __tablename__ = "re_rated_call"

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    re_rating_id: Mapped[str] = mapped_column(primary_key=True)
    month: Mapped[date] = mapped_column(primary_key=True)
    leg_id: Mapped[str] = mapped_column(primary_key=True)
    outcome: Mapped[str]
    """`changed`, `without_price` (the deck has none: it keeps the old one) or `first_priced`."""
    old_amount: Mapped[Decimal | None] = mapped_column(Numeric(16, 4))
    new_amount: Mapped[Decimal | None] = mapped_column(Numeric(16, 4))
    prefix: Mapped[str | None]
    billed_seconds: Mapped[int | None]
