"""HTTP for the quality of calls, day by day."""

from __future__ import annotations

from datetime import date
from typing import Annotated

from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromQuery, QueryParameter
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit.http import View
from infra.kit.pages import Page
from switch import quality_summary
from switch.quality_summary import DayQuality

From = Annotated[date | None, QueryParameter(name="from", description="The first local day; by default a week's")]
To = Annotated[date | None, QueryParameter(name="to", description="The last local day; by default today")]


class DayQualityView(View):
    """How a node heard the legs of a local day over a gateway (null: seats' legs).

    Of the `heard` legs, which carry an opinion score (1 to 4.5): the mean and the worst, the mean share of lost packets
    and the largest jitter variance in ms². `failed`: legs that ended by a cause of the network.
    """

    day: date
    node: str
    gateway: str | None
    legs: int
    answered: int
    heard: int
    failed: int
    mean_opinion_score: str | None
    worst_opinion_score: str | None
    loss_percent: str | None
    jitter_variance: str | None


@get("/v1/call-quality", permission="completeness:read", tags=["Calls"], operation_id="ListCallQuality")
async def list_call_quality(
    *,
    session: NamedDependency[AsyncSession],
    first: From = None,
    last: To = None,
    node: FromQuery[str | None] = None,
    gateway: FromQuery[str | None] = None,
) -> Page[DayQualityView]:
    """The quality of calls per day, node and gateway, the latest day first; at most 31 days, on one page."""
    days = await quality_summary.summarize(session, first=first, last=last, node=node, gateway=gateway)
    return Page(items=[_view(day) for day in days], next=None)


def _view(day: DayQuality) -> DayQualityView:
    figures = (day.mean_opinion_score, day.worst_opinion_score, day.loss_percent, day.jitter_variance)
    mean, worst, loss, jitter = (None if figure is None else f"{figure:.2f}" for figure in figures)
    return DayQualityView(
        day=day.day,
        node=day.node,
        gateway=day.gateway,
        legs=day.legs,
        answered=day.answered,
        heard=day.heard,
        failed=day.failed,
        mean_opinion_score=mean,
        worst_opinion_score=worst,
        loss_percent=loss,
        jitter_variance=jitter,
    )


ROUTES = [list_call_quality]
