"""Refusals around people and signing in. None of them tells whether somebody has an account."""

from __future__ import annotations

from http import HTTPStatus

from infra.kit.problems import Conflict, Forbidden, InvalidInput, NotFound, Refusal, Unavailable


class SignInRefused(Refusal):
    """Company, address and password do not belong together; which of them is wrong is not said."""

    code = "sign_in_refused"
    status = HTTPStatus.UNAUTHORIZED
    title = "The sign-in is not accepted"

    def __init__(self) -> None:
        super().__init__(
            "Company, address and password do not belong together. A new password is asked for at "
            "POST /sign-in/forgotten."
        )
        self.headers["www-authenticate"] = 'Session realm="seatline"'


class TooManyAttempts(Refusal):
    """Too many tries for an account, or from a network address, in a while."""

    code = "too_many_attempts"
    status = HTTPStatus.TOO_MANY_REQUESTS
    title = "Too many attempts"

    def __init__(self, retry_after_seconds: int) -> None:
        super().__init__(f"Too many attempts. Try again in {retry_after_seconds} seconds.")
        self.headers["retry-after"] = str(retry_after_seconds)


class SignInsBusy(Unavailable):
    """More people sign in at this moment than passwords can be looked at."""

    code = "sign_ins_busy"
    title = "Too many people sign in at this moment"

    def __init__(self) -> None:
        super().__init__("Too many people sign in at this moment. Try again in some seconds.")


class LinkNotValid(Refusal):
    """A one-time link that was used, has expired, was withdrawn, or never was."""

    code = "link_not_valid"
    status = HTTPStatus.GONE
    title = "The link is not valid (any more)"

    def __init__(self) -> None:
        super().__init__("The link was used already, has expired or was withdrawn; ask for a new one.", field="token")


class PasswordRefused(InvalidInput):
    """A new password is too short, too long or too easy."""

    code = "password_refused"
    title = "The password is not acceptable"


class CsrfRefused(Forbidden):
    """A change that a session's cookie signs came without the session's `X-CSRF-Token`, or from another site."""

    code = "csrf_token_missing"
    title = "The request does not come from our own page"


class NoSession(Conflict):
    """The caller is an API client; only people have sessions and passwords."""

    code = "not_a_session"


class PersonNotFound(NotFound):
    """There is no such person for this caller."""

    code = "person_not_found"


class PersonExists(Conflict):
    """Somebody with this address is among the tenant's people already."""

    code = "person_exists"


class LastAdmin(Conflict):
    """The tenant would be left without anybody who may administer it."""

    code = "last_admin"


class InvitationNotFound(NotFound):
    """There is no such invitation for this caller."""

    code = "invitation_not_found"


class InvitationClosed(Conflict):
    """The invitation was accepted, withdrawn, or has expired."""

    code = "invitation_closed"


class TooManyPeople(Conflict):
    """The tenant has as many people, or open invitations, as it may have."""

    code = "too_many_people"


class FirstAdminOnly(Forbidden):
    """A person of the platform invites to a tenant nobody but its first admin, and nobody of the platform."""

    code = "first_admin_only"


class VisitNeeded(Forbidden):
    """A person of the platform asks for what is a tenant's own without being on a visit there."""

    code = "visit_needed"


class VisitNotFound(NotFound):
    """There is no such visit of this caller, or it is over."""

    code = "visit_not_found"
