"""Seeds authorizations as they look after their saga."""

import uuid
from typing import Any

from subgraphs.shared.database import Connection
from subgraphs.users import store_authorizations as store
from tests.users.conftest import Client, Person


async def grant(client: Client, investor: Person, broker: Person, **columns: Any) -> str:
    """Inserts an ACTIVE capital authorization over 100 EUR, with some columns changed, and returns its id."""
    authorization_id = str(uuid.uuid4())
    row = {
        "id": authorization_id,
        "root_id": authorization_id,
        "investor_id": investor.id,
        "broker_id": broker.id,
        "type": "capital",
        "asset": "EUR",
        "currency": "EUR",
        "amount": 10_000,
        "state": "ACTIVE",
        "starts_at": client.clock(),
        "created_at": client.clock(),
        "updated_at": client.clock(),
        "version": 1,
        **columns,
    }

    async def work(connection: Connection) -> None:
        await store.insert_authorization(connection, row)

    await client.database.write(work)
    return authorization_id


def stock_columns(holding: str, stock: str) -> dict[str, Any]:
    """The columns that make an authorization one over 1.5 shares of a stock."""
    return {
        "type": "stockholding",
        "asset": stock,
        "currency": None,
        "stockholding_id": holding,
        "stock_id": stock,
        "amount": 1_500_000,
    }
