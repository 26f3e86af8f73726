"""Alembic's entry point for the stocks database."""

from typing import cast

from alembic import context
from alembic.runtime.environment import EnvironmentContext

from subgraphs.shared.migrations import run_migrations
from subgraphs.stocks.tables import metadata

run_migrations(cast(EnvironmentContext, context), metadata)
