"""What every command begins with: settings, clock, logs, and a database at the newest schema."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sqlalchemy.exc import OperationalError

from infra.app import schema
from infra.kit import audit, clock, logs
from infra.kit.database import Database, blocking_engine
from infra.kit.embedded_postgres import EmbeddedPostgres
from infra.kit.problems import Unavailable
from infra.kit.sealing import Seal
from infra.kit.settings import SettingRefused, Settings, load
from tenancy.webhooks import publishing


@dataclass(frozen=True, slots=True)
class Installation:
    """A configured installation whose database is there; `database()` opens this process's pool."""

    settings: Settings
    database_url: str

    @property
    def seal(self) -> Seal:
        """The installation's seal."""
        return Seal(self.settings.secret_key)

    def database(self) -> Database:
        """A connection pool for this process."""
        return Database(
            self.database_url,
            pool_size=self.settings.database_pool_size,
            timeout_seconds=self.settings.database_timeout_seconds,
        )


def open_installation() -> Installation:
    """Read the settings, take the clock, start the embedded PostgreSQL where no server is named.

    Raises `SettingRefused` and `EmbeddedPostgresError` with one clear line.
    """
    settings = load()
    logs.configure(settings.log_level)
    audit.watch(publishing.tell_of_entry)  # whichever process writes the trail
    if settings.clock_file is not None:
        try:
            clock.share(settings.clock_file)
        except (OSError, ValueError) as error:
            raise SettingRefused(f"SEATLINE_CLOCK_FILE: {settings.clock_file} is no clock file: {error}.") from None
    url = settings.database_url
    if url is None:
        url = EmbeddedPostgres(settings.data_directory / "postgres").ensure_running()
    return Installation(replace(settings, database_url=url), url)


def migrate(installation: Installation) -> None:
    """Bring the database to the newest schema. Raises `Unavailable` when it is away."""
    engine = blocking_engine(installation.database_url)
    try:
        schema.upgrade(engine)
    except OperationalError as error:
        raise Unavailable(f"The database does not answer: {error.orig}") from error
    finally:
        engine.dispose()
