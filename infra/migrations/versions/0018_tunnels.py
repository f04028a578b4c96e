"""WireGuard accounts, gateways and data usage."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from infra.kit import row_security

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

MOMENT = postgresql.TIMESTAMP(timezone=True)
RATED = sa.Numeric(precision=16, scale=4)

OF_TENANTS = (
    "tunnel_pool",
    "tunnel_network",
    "tunnel_block",
    "tunnel_account",
    "tunnel_key",
    "tunnel_counter",
    "data_usage",
)


def upgrade() -> None:
    _create_gateways()
    _create_pools()
    _create_accounts()
    _create_usage()
    connection = op.get_bind()
    row_security.grant_global_table(connection, "tunnel_gateway", tenant_may="SELECT")
    for table in OF_TENANTS:
        row_security.protect_tenant_table(
            connection, table, platform_may="SELECT, INSERT, UPDATE, DELETE", tenant_may="SELECT"
        )


def _create_gateways() -> None:
    op.create_table(
        "tunnel_gateway",
        sa.Column("tunnel_gateway_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("endpoint_host", sa.Text(), nullable=False),
        sa.Column("endpoint_port", sa.Integer(), nullable=False),
        sa.Column("secret_digest", sa.Text(), nullable=False),
        sa.Column("instance_digest", sa.Text(), nullable=True),
        sa.Column("public_key", sa.Text(), nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("revoked_at", MOMENT, nullable=True),
        sa.Column("last_seen_at", MOMENT, nullable=True),
        sa.Column("applied_state", sa.Text(), nullable=True),
        sa.Column("applied_at", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("tunnel_gateway_id", name=op.f("pk_tunnel_gateway")),
        sa.UniqueConstraint("name", name=op.f("uq_tunnel_gateway_name")),
    )


def _create_pools() -> None:
    op.create_table(
        "tunnel_pool",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("tunnel_gateway_id", sa.Text(), nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", name=op.f("pk_tunnel_pool")),
    )
    op.create_index(op.f("ix_tunnel_pool_tunnel_gateway_id"), "tunnel_pool", ["tunnel_gateway_id"], unique=False)
    op.create_table(
        "tunnel_network",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("network", sa.Text(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "network", name=op.f("pk_tunnel_network")),
    )
    op.create_table(
        "tunnel_block",
        sa.Column("block", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("block", name=op.f("pk_tunnel_block")),
    )
    op.create_index(op.f("ix_tunnel_block_tenant_id"), "tunnel_block", ["tenant_id"], unique=False)


def _create_accounts() -> None:
    op.create_table(
        "tunnel_account",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("seat_id", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=True),
        sa.Column("public_key", sa.Text(), nullable=True),
        sa.Column("key_origin", sa.Text(), nullable=True),
        sa.Column("key_changed_at", MOMENT, nullable=True),
        sa.Column("last_handshake_at", MOMENT, nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "seat_id", name=op.f("pk_tunnel_account")),
        sa.UniqueConstraint("tenant_id", "address", name=op.f("uq_tunnel_account_tenant_id_address")),
    )
    op.create_table(
        "tunnel_key",
        sa.Column("public_key", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("seat_id", sa.Text(), nullable=False),
        sa.Column("registered_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("public_key", name=op.f("pk_tunnel_key")),
    )
    op.create_index(op.f("ix_tunnel_key_tenant_id"), "tunnel_key", ["tenant_id"], unique=False)


def _create_usage() -> None:
    op.create_table(
        "tunnel_counter",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("tunnel_gateway_id", sa.Text(), nullable=False),
        sa.Column("public_key", sa.Text(), nullable=False),
        sa.Column("life", sa.Text(), nullable=False),
        sa.Column("seat_id", sa.Text(), nullable=False),
        sa.Column("received", sa.BigInteger(), nullable=False),
        sa.Column("sent", sa.BigInteger(), nullable=False),
        sa.Column("read_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "tunnel_gateway_id", "public_key", "life", name=op.f("pk_tunnel_counter")),
    )
    op.create_index(
        op.f("ix_tunnel_counter_tenant_id_tunnel_counter_seat_id"),
        "tunnel_counter",
        ["tenant_id", "seat_id"],
        unique=False,
    )
    op.create_table(
        "data_usage",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("record_id", sa.Text(), nullable=False),
        sa.Column("contract_id", sa.Text(), nullable=False),
        sa.Column("seat_id", sa.Text(), nullable=False),
        sa.Column("day", sa.DATE(), nullable=False),
        sa.Column("billing_month", sa.DATE(), nullable=False),
        sa.Column("received", sa.BigInteger(), nullable=False),
        sa.Column("sent", sa.BigInteger(), nullable=False),
        sa.Column("rate_per_gb", RATED, nullable=False),
        sa.Column("amount", RATED, nullable=False),
        sa.Column("changed_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "record_id", name=op.f("pk_data_usage")),
        sa.UniqueConstraint(
            "tenant_id",
            "contract_id",
            "seat_id",
            "day",
            "billing_month",
            name=op.f("uq_data_usage_tenant_id_contract_id_seat_id_day_billing_month"),
        ),
    )
    op.create_index(
        "ix_data_usage_of_invoice",
        "data_usage",
        ["tenant_id", "contract_id", "billing_month"],
        unique=False,
    )
