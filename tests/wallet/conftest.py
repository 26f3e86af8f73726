"""The wallet over a fresh database of each kind, and callers."""

import uuid
from collections.abc import AsyncIterator

import pytest

from subgraphs.shared.auth import Caller
from subgraphs.shared.database import Database
from subgraphs.wallet.service import WalletService

STOCKS = Caller(kind="service", id="stocks")
USERS = Caller(kind="service", id="users")


def investor() -> Caller:
    """A user nobody else uses."""
    return Caller(kind="user", id=str(uuid.uuid4()), role="investor")


def broker() -> Caller:
    """A broker nobody else uses."""
    return Caller(kind="user", id=str(uuid.uuid4()), role="broker")


@pytest.fixture(scope="session")
def service_package() -> str:
    """Databases of these tests have the wallet's schema."""
    return "subgraphs.wallet"


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A fresh wallet database."""
    opened = Database.open(database_url)
    yield opened
    await opened.close()


@pytest.fixture
def wallet(database: Database) -> WalletService:
    """The wallet's service over it."""
    return WalletService(database)
