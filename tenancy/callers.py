"""Who is asking: an API client by its bearer token, or a person by the cookie of a session; perhaps on a visit."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit.principal import Presented, Principal
from infra.kit.problems import Unauthenticated
from infra.kit.settings import Settings
from tenancy import tokens
from tenancy.people import sessions, visits


class Callers:
    """Finds the callers of one installation."""

    def __init__(self, settings: Settings) -> None:
        self._cookies = sessions.Cookies(settings.public_url)

    async def authenticate(self, session: AsyncSession, presented: Presented) -> Principal:
        """The caller, with the platform's role. A token goes before a cookie; `Seatline-Visit` narrows an operator.

        Raises `Unauthenticated`, `sessions.CsrfRefused` for a change that a cookie alone would sign, and
        `visits.VisitNotFound`.
        """
        if presented.authorization is not None:
            principal = await tokens.authenticate(session, presented.authorization)
        else:
            token = self._cookies.token_of(presented.cookie)
            if token is None:
                raise Unauthenticated(
                    "Send `Authorization: Bearer <token>` with a token from POST /oauth/token, or sign in at "
                    "POST /sign-in and send its cookie."
                )
            principal = await sessions.authenticate(session, token, presented, self._cookies.origin)
        return await visits.narrowed(session, principal, presented.visit_id)
