"""Alembic's entry point: runs the migrations on the connection that `infra.app.schema` passes in."""

from __future__ import annotations

from alembic import context

from infra.app.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()
