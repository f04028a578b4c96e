"""The background task that empties the outbox."""

from __future__ import annotations

from infra.kit import jobs
from infra.kit.outbox import sending
from infra.kit.outbox.posting import SEND_MAIL


class MailFailed(Exception):
    """Some mails could not be written; all others were sent. The job is tried again."""


@jobs.task(SEND_MAIL)
async def send_mail(runtime: jobs.Runtime) -> None:
    """Send every mail whose time has come."""
    run = await sending.send_waiting(runtime)
    if run.failed:
        raise MailFailed(f"Not all mails could be written ({', '.join(run.failed)}); see the log.")
