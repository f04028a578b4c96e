"""Schema migrations (Alembic); `infra.app.schema` runs them."""
