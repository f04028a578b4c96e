"""The whole schema of the house, and how a database is brought up to it."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Engine

import billing.agreements.models
import billing.cards.models
import billing.corrections.models
import billing.fapiao.models
import billing.ledger_models
import billing.models
import billing.outages.models
import billing.reminders.models
import billing.runs.models
import billing.spending.models
import billing.statements.models
import infra.kit.models
import provisioning.models
import switch.completeness.models
import switch.draining.models
import switch.live.models
import switch.models
import tenancy.models
from infra.kit import clock, partitions
from infra.kit.database import Base

MODEL_MODULES = (
    infra.kit.models,
    tenancy.models,
    switch.models,
    switch.draining.models,
    switch.live.models,
    switch.completeness.models,
    billing.ledger_models,
    billing.models,
    billing.cards.models,
    billing.fapiao.models,
    billing.agreements.models,
    billing.corrections.models,
    billing.outages.models,
    billing.reminders.models,
    billing.runs.models,
    billing.spending.models,
    billing.statements.models,
    provisioning.models,
)
metadata = Base.metadata
MIGRATIONS = Path(__file__).parent.parent / "migrations"


def migration_config(connection: object) -> Config:
    """Alembic's configuration for one open connection."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    return config


def upgrade(engine: Engine) -> None:
    """Bring the database to the newest schema; concurrent callers wait for each other on the version table."""
    with engine.begin() as connection:
        command.upgrade(migration_config(connection), "head")
    with engine.begin() as connection:
        partitions.ensure_partitions(connection, clock.today())
