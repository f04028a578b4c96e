"""Every setting of an installation, read once from `SEATLINE_*` environment variables.

A missing or wrong value is one line that names the variable and the remedy, and exit code 2 at start.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

from cryptography.fernet import Fernet

from infra.kit.mail_address import is_address

Environment = Literal["development", "production"]
MonthlyRelease = Literal["finance", "automatic"]
Departures = Literal["by_hand", "automatic"]


DEFAULT_NUMBER_QUARANTINE_DAYS = 90
DEFAULT_RETENTION_DAYS = 90
DEFAULT_DEPARTURE_NOTICE_DAYS = 14

_MAIL_SCHEMES: dict[str, tuple[Literal["none", "starttls", "tls"], int]] = {
    "smtps": ("tls", 465),
    "smtp+starttls": ("starttls", 587),
    "smtp": ("none", 25),
}
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class SettingRefused(Exception):
    """`VARIABLE: what is wrong, what is expected.`"""


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorDetails:
    """The platform owner as it stands on invoices."""

    name: str
    address: str
    tax_number: str
    bank_name: str
    bank_account: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MailServer:
    """The mail server that takes our mail, and the address it comes from."""

    host: str
    port: int
    security: Literal["none", "starttls", "tls"]
    username: str | None
    password: str | None = field(repr=False)
    sender: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of one installation; units are in the names."""

    environment: Environment
    database_url: str | None
    """`postgresql+psycopg://…`; None runs the embedded PostgreSQL in `data_directory`."""
    data_directory: Path
    http_host: str
    http_port: int
    public_url: str
    """Where nodes and browsers reach the API."""
    secret_key: str
    """Fernet key that seals what must be readable again (node passwords, replayed answers)."""
    clock_file: Path | None
    body_limit_bytes: int
    record_limit_bytes: int
    database_pool_size: int
    database_timeout_seconds: float
    access_token_lifetime_seconds: int
    idempotency_retention_hours: int
    node_heartbeat_timeout_seconds: float
    switch_command_timeout_seconds: float
    worker_concurrency: int
    log_level: str
    operator: OperatorDetails
    trusted_proxies: int = 0
    """How many proxies of ours stand before the API: so many entries of `X-Forwarded-For`, from the right, are ours."""
    stripe_secret_key: str | None = field(default=None, repr=False)
    """None: invoices are not paid online (C25)."""
    stripe_webhook_secret: str | None = field(default=None, repr=False)
    stripe_api_url: str | None = None
    """Another Stripe than the real one: the stand-in."""
    stripe_return_url: str | None = None
    """Where the payer's browser goes after a checkout; None: `public_url`."""
    mail_server: MailServer | None = None
    """None: mail waits in the outbox."""
    finance_mail: str | None = None
    """Where the operator's finance is told of suspensions and restorations."""
    object_storage_url: str | None = None
    """`s3://bucket/prefix`; None keeps files in a folder of `data_directory`. Keys and region are the `AWS_*` ones."""
    object_storage_endpoint: str | None = None
    """Another S3 than Amazon's, such as `https://minio.example.com`."""
    number_quarantine_days: int = DEFAULT_NUMBER_QUARANTINE_DAYS
    """How long a number that a tenant gave back is given to no other; 0: not at all."""
    retention_days: int = DEFAULT_RETENTION_DAYS
    """After the end of a tenant's last contract: so long its data is kept at least (C26)."""
    departure_notice_days: int = DEFAULT_DEPARTURE_NOTICE_DAYS
    """From the announcement of an erasure to its first day at least."""
    departures: Departures = "by_hand"
    """Whether people announce the end of a tenant whose lease is over and settled, and are reminded by mail to
    `finance_mail`, or it announces itself (C26)."""
    monthly_release: MonthlyRelease = "automatic"
    """Whether finance releases each month's invoices (rule 3) or the 1st does."""


def _number(environ: Mapping[str, str], name: str, default: float, *, low: float, high: float) -> float:
    text = environ.get(name, "")
    try:
        value = float(text) if text else default
    except ValueError:
        raise SettingRefused(f"{name}: {text!r} is not a number between {low:g} and {high:g}.") from None
    if not low <= value <= high:
        raise SettingRefused(f"{name}: {text} is outside {low:g} to {high:g}.")
    return value


def _count(environ: Mapping[str, str], name: str, default: int, *, low: int, high: int) -> int:
    value = float(_number(environ, name, default, low=low, high=high))
    if not value.is_integer():
        raise SettingRefused(f"{name}: {environ[name]} is not a whole number.")
    return int(value)


def _url(environ: Mapping[str, str], name: str, schemes: tuple[str, ...]) -> str | None:
    text = environ.get(name, "").strip()
    if not text:
        return None
    try:
        parts = urlsplit(text)
        _ = parts.port  # is read, and refused, only when it is asked for
    except ValueError:  # its text may show a password
        raise SettingRefused(f"{name}: is not a URL such as {schemes[0]}://host:port/path.") from None
    if parts.scheme not in schemes:
        raise SettingRefused(f"{name}: must begin with {' or '.join(f'{scheme}://' for scheme in schemes)}.")
    return text


def _secret_key(environ: Mapping[str, str], environment: Environment, data_directory: Path) -> str:
    """The sealing key: given, or (in development only) made once and kept beside the data."""
    name = "SEATLINE_SECRET_KEY"
    text = environ.get(name, "").strip()
    if not text and environment == "production":
        raise SettingRefused(f"{name}: is required in production; make one with `seatline secret-key`.")
    if not text:
        try:
            text = _kept_key(data_directory)
        except OSError as error:
            raise SettingRefused(f"SEATLINE_DATA_DIRECTORY: {data_directory}: {error.strerror or error}.") from None
    try:
        Fernet(text)
    except ValueError:
        raise SettingRefused(f"{name}: is not a key as `seatline secret-key` prints it.") from None
    return text


def _kept_key(data_directory: Path) -> str:
    """The key beside the data; made once, also when several processes begin together."""
    path = data_directory / "secret.key"
    if not path.exists():
        data_directory.mkdir(parents=True, exist_ok=True)
        own = data_directory / f"secret.key.{os.getpid()}"
        own.touch(mode=0o600)
        own.write_text(Fernet.generate_key().decode())
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(own)
        own.unlink()
    return path.read_text().strip()


def _stripe(environ: Mapping[str, str], environment: Environment) -> dict[str, str | None]:
    """The way to be paid online: a key and the secret of its webhook together, or neither."""
    key = environ.get("SEATLINE_STRIPE_SECRET_KEY", "").strip() or None
    secret = environ.get("SEATLINE_STRIPE_WEBHOOK_SECRET", "").strip() or None
    if (key is None) != (secret is None):
        missing = "SEATLINE_STRIPE_SECRET_KEY" if key is None else "SEATLINE_STRIPE_WEBHOOK_SECRET"
        raise SettingRefused(f"{missing}: is required too where payments come through Stripe.")
    schemes = ("https",) if environment == "production" else ("http", "https")
    api_url = _url(environ, "SEATLINE_STRIPE_API_URL", schemes)
    return {
        "stripe_secret_key": key,
        "stripe_webhook_secret": secret,
        "stripe_api_url": None if api_url is None else api_url.rstrip("/"),
        "stripe_return_url": _url(environ, "SEATLINE_STRIPE_RETURN_URL", ("http", "https")),
    }


def _database_url(environ: Mapping[str, str]) -> str | None:
    schemes = ("postgresql", "postgres", "postgresql+psycopg")
    text = _url(environ, "SEATLINE_DATABASE_URL", schemes)
    return None if text is None else "postgresql+psycopg" + text[text.index("://") :]


def _address(environ: Mapping[str, str], name: str) -> str | None:
    text = environ.get(name, "").strip()
    if text and not is_address(text):
        raise SettingRefused(f"{name}: {text!r} is not a mail address such as billing@example.com.")
    return text or None


def _departures(environ: Mapping[str, str]) -> Departures:
    text = environ.get("SEATLINE_DEPARTURES") or "by_hand"
    if text not in ("by_hand", "automatic"):
        raise SettingRefused(f"SEATLINE_DEPARTURES: {text!r} is neither by_hand nor automatic.")
    return text


def _monthly_release(environ: Mapping[str, str], environment: Environment) -> MonthlyRelease:
    """Who releases the monthly run: `finance` in production, elsewhere the calendar, unless it is said."""
    text = environ.get("SEATLINE_MONTHLY_RELEASE") or ("finance" if environment == "production" else "automatic")
    if text not in ("finance", "automatic"):
        raise SettingRefused(f"SEATLINE_MONTHLY_RELEASE: {text!r} is neither finance nor automatic.")
    return text


def _object_storage(environ: Mapping[str, str], environment: Environment) -> dict[str, str | None]:
    """Where files are kept: a bucket of S3 (at an endpoint of its own), or nothing of it for the folder."""
    url = _url(environ, "SEATLINE_OBJECT_STORAGE_URL", ("s3",))
    schemes = ("https",) if environment == "production" else ("https", "http")
    endpoint = _url(environ, "SEATLINE_OBJECT_STORAGE_ENDPOINT", schemes)
    if url is not None and not urlsplit(url).netloc:
        raise SettingRefused("SEATLINE_OBJECT_STORAGE_URL: names no bucket; it has the form s3://bucket/prefix.")
    if url is None and endpoint is not None:
        raise SettingRefused("SEATLINE_OBJECT_STORAGE_URL: is required too where there is an endpoint.")
    return {"object_storage_url": url, "object_storage_endpoint": endpoint}


def _mail_server(environ: Mapping[str, str]) -> MailServer | None:
    """`smtps://user:password@host` (TLS), `smtp+starttls://…`, or `smtp://host` without TLS."""
    name = "SEATLINE_SMTP_URL"
    text = _url(environ, name, tuple(_MAIL_SCHEMES))
    sender = _address(environ, "SEATLINE_MAIL_FROM")
    if text is None:
        return None
    parts = urlsplit(text)
    if sender is None:
        raise SettingRefused("SEATLINE_MAIL_FROM: is required beside SEATLINE_SMTP_URL, such as billing@example.com.")
    if (
        not parts.hostname
        or parts.path.strip("/")
        or parts.query
        or (parts.username is None) != (parts.password is None)
    ):
        raise SettingRefused(f"{name}: is not of the form smtps://user:password@host:port.")
    security, port = _MAIL_SCHEMES[parts.scheme]
    if security == "none" and parts.username is not None and parts.hostname not in _LOOPBACK:
        raise SettingRefused(f"{name}: a password goes over TLS only; use smtps:// or smtp+starttls://.")
    return MailServer(
        host=parts.hostname,
        port=parts.port or port,
        security=security,
        username=None if parts.username is None else unquote(parts.username),
        password=None if parts.password is None else unquote(parts.password),
        sender=sender,
    )


def load(environ: Mapping[str, str] | None = None) -> Settings:
    """Read the settings, or raise `SettingRefused` with one clear line."""
    environ = os.environ if environ is None else environ
    environment = environ.get("SEATLINE_ENVIRONMENT", "development")
    if environment not in ("development", "production"):
        raise SettingRefused(f"SEATLINE_ENVIRONMENT: {environment!r} is neither development nor production.")
    data_directory = Path(environ.get("SEATLINE_DATA_DIRECTORY", "var")).absolute()
    clock_file = environ.get("SEATLINE_CLOCK_FILE")
    if clock_file and environment == "production":
        raise SettingRefused("SEATLINE_CLOCK_FILE: time travel is for tests and the demo; unset it in production.")
    database_url = _database_url(environ)
    if database_url is None and environment == "production":
        raise SettingRefused("SEATLINE_DATABASE_URL: is required in production (PostgreSQL 15 or later).")
    host = environ.get("SEATLINE_HTTP_HOST", "127.0.0.1")
    port = _count(environ, "SEATLINE_HTTP_PORT", 8300, low=1, high=65535)
    level = environ.get("SEATLINE_LOG_LEVEL", "info").lower()
    if level not in ("debug", "info", "warning", "error"):
        raise SettingRefused(f"SEATLINE_LOG_LEVEL: {level!r} is not debug, info, warning or error.")
    return Settings(
        environment=environment,
        database_url=database_url,
        data_directory=data_directory,
        http_host=host,
        http_port=port,
        public_url=_url(environ, "SEATLINE_PUBLIC_URL", ("http", "https")) or f"http://{host}:{port}",
        secret_key=_secret_key(environ, environment, data_directory),
        clock_file=Path(clock_file) if clock_file else None,
        body_limit_bytes=_count(environ, "SEATLINE_BODY_LIMIT_BYTES", 16_000_000, low=1_000, high=1_000_000_000),
        record_limit_bytes=_count(environ, "SEATLINE_RECORD_LIMIT_BYTES", 1_000_000, low=1_000, high=100_000_000),
        database_pool_size=_count(environ, "SEATLINE_DATABASE_POOL_SIZE", 10, low=1, high=200),
        database_timeout_seconds=_number(environ, "SEATLINE_DATABASE_TIMEOUT_SECONDS", 10, low=0.1, high=600),
        access_token_lifetime_seconds=_count(
            environ, "SEATLINE_ACCESS_TOKEN_LIFETIME_SECONDS", 3600, low=60, high=86_400
        ),
        idempotency_retention_hours=_count(environ, "SEATLINE_IDEMPOTENCY_RETENTION_HOURS", 24, low=1, high=720),
        node_heartbeat_timeout_seconds=_number(
            environ, "SEATLINE_NODE_HEARTBEAT_TIMEOUT_SECONDS", 10, low=0.5, high=3600
        ),
        switch_command_timeout_seconds=_number(
            environ, "SEATLINE_SWITCH_COMMAND_TIMEOUT_SECONDS", 5, low=0.1, high=120
        ),
        worker_concurrency=_count(environ, "SEATLINE_WORKER_CONCURRENCY", 8, low=1, high=200),
        log_level=level,
        operator=OperatorDetails(
            name=environ.get("SEATLINE_OPERATOR_NAME", "席线云通信（示例）有限公司"),
            address=environ.get("SEATLINE_OPERATOR_ADDRESS", "上海市浦东新区示例路 1 号"),
            tax_number=environ.get("SEATLINE_OPERATOR_TAX_NUMBER", "91310000EXAMPLE00X"),
            bank_name=environ.get("SEATLINE_OPERATOR_BANK_NAME", "示例银行上海分行"),
            bank_account=environ.get("SEATLINE_OPERATOR_BANK_ACCOUNT", "0000 0000 0000 0000"),
        ),
        number_quarantine_days=_count(
            environ, "SEATLINE_NUMBER_QUARANTINE_DAYS", DEFAULT_NUMBER_QUARANTINE_DAYS, low=0, high=3_650
        ),
        retention_days=_count(environ, "SEATLINE_RETENTION_DAYS", DEFAULT_RETENTION_DAYS, low=1, high=700),
        departure_notice_days=_count(
            environ, "SEATLINE_DEPARTURE_NOTICE_DAYS", DEFAULT_DEPARTURE_NOTICE_DAYS, low=1, high=365
        ),
        mail_server=_mail_server(environ),
        finance_mail=_address(environ, "SEATLINE_FINANCE_MAIL"),
        departures=_departures(environ),
        monthly_release=_monthly_release(environ, environment),
        **_object_storage(environ, environment),
        trusted_proxies=_count(environ, "SEATLINE_TRUSTED_PROXIES", 0, low=0, high=5),
        **_stripe(environ, environment),
    )
