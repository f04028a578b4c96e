"""The whole schema of the house, and how a database is brought up to it."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Engine

import billing.agreements.models
import billing.cards.models
import billing.corrections.models
import billing.data_traffic.models
import billing.equipment_models
import billing.fapiao.models
import billing.ledger_models
import billing.models
import billing.outages.models
import billing.reminders.models
import billing.runs.models
import billing.spending.models
import billing.statements.models
import infra.kit.models
import infra.kit.outbox.models
import provisioning.departure.models
import provisioning.handout.models
import provisioning.models
import provisioning.outages.models
import provisioning.tunnels.models
import switch.completeness.models
import switch.doctor.models
import switch.draining.models
import switch.edge.models
import switch.ended_calls.models
import switch.live.models
import switch.models
import switch.number_pool.models
import switch.refused_sign_ins.models
import tenancy.models
import tenancy.oidc.models
import tenancy.papers.models
import tenancy.people.models
import tenancy.webhooks.models
from infra.kit import clock, partitions, row_security
from infra.kit.database import Base

MODEL_MODULES = (
    infra.kit.models,
    infra.kit.outbox.models,
    tenancy.models,
    tenancy.oidc.models,
    tenancy.people.models,
    tenancy.papers.models,
    tenancy.webhooks.models,
    switch.models,
    switch.number_pool.models,
    switch.ended_calls.models,
    switch.draining.models,
    switch.edge.models,
    switch.live.models,
    switch.completeness.models,
    switch.doctor.models,
    switch.refused_sign_ins.models,
    billing.ledger_models,
    billing.models,
    billing.cards.models,
    billing.fapiao.models,
    billing.agreements.models,
    billing.corrections.models,
    billing.data_traffic.models,
    billing.equipment_models,
    billing.outages.models,
    billing.reminders.models,
    billing.runs.models,
    billing.spending.models,
    billing.statements.models,
    provisioning.models,
    provisioning.departure.models,
    provisioning.tunnels.models,
    provisioning.outages.models,
    provisioning.handout.models,
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
        row_security.allow_erasure(connection)  # also in tables that came after it
