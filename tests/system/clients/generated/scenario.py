"""What a person does with the services, by the code that openapi-python-client makes of their documents.

    python scenario.py USERS_URL WALLET_URL STOCKS_URL EMAIL PASSWORD

Run in the folder of the generated packages; writes what a test compares.
"""

import json
import sys
from importlib import import_module
from typing import Any

MISSING = "00000000-0000-4000-8000-000000000000"


def answer(client: Any, package: str, tag: str, operation: str, *ids: Any, **parameters: Any) -> Any:
    """The parsed answer of an operation, in full: status, headers and object."""
    module = import_module(f"{package}.api.{tag}.{operation}")
    return module.sync_detailed(*ids, client=client, **parameters)


def model(package: str, name: str, document: dict[str, Any]) -> Any:
    """A body as the generated class of that name."""
    return getattr(import_module(f"{package}.models"), name).from_dict(document)


def main(users_url: str, wallet_url: str, stocks_url: str, email: str, password: str) -> None:
    """Registers, logs in, deposits twice under one key, buys, and is refused."""
    anonymous = import_module("users_client").Client(base_url=users_url)
    registration = {"name": "Typed", "email": email, "password": password, "type": "investor"}
    body = model("users_client", "RegisterBody", registration)
    answer(anonymous, "users_client", "accounts", "register", body=body)
    body = model("users_client", "LoginBody", {"email": email, "password": password})
    token = answer(anonymous, "users_client", "accounts", "login", body=body).parsed.access_token

    wallet = import_module("wallet_client").AuthenticatedClient(base_url=wallet_url, token=token)
    deposit = {"type": "deposit", "currency": "USD", "amount": "1000.00"}
    body = model("wallet_client", "NewTransactionBody", deposit)
    once = {"body": body, "idempotency_key": "typed-1"}
    first, again = (answer(wallet, "wallet_client", "transactions", "create_transaction", **once) for _ in range(2))
    kind = import_module("wallet_client.models").ListTransactionsType.DEPOSIT
    deposits = answer(wallet, "wallet_client", "transactions", "list_transactions", type_=kind, limit=1)
    found = answer(wallet, "wallet_client", "transactions", "get_transaction", first.parsed.id)

    stocks = import_module("stocks_client").AuthenticatedClient(base_url=stocks_url, token=token)
    listed = answer(stocks, "stocks_client", "stocks", "list_stocks", limit=100)
    stock = next(each for each in listed.parsed.items if each.currency == "USD")
    purchase = {"stockId": str(stock.id), "side": "buy", "quantity": "1"}
    body = model("stocks_client", "NewOrderBody", purchase)
    order = answer(stocks, "stocks_client", "orders", "place_order", body=body)
    shown = answer(stocks, "stocks_client", "orders", "get_order", order.parsed.id)
    missing = answer(stocks, "stocks_client", "orders", "get_order", MISSING)
    body = model("stocks_client", "NewOrderBody", {**purchase, "quantity": "1000"})
    refused = answer(stocks, "stocks_client", "orders", "place_order", body=body)
    told = {
        "replayed": again.headers.get("idempotent-replayed"),
        "same": first.parsed.id == again.parsed.id == found.parsed.id,
        "deposits": [each.amount for each in deposits.parsed.items],
        "status": shown.parsed.status.value,
        "quantity": shown.parsed.quantity,
        "missing": missing.parsed.code,
        "refused": refused.parsed.code,
        "namesTheOrder": bool(refused.parsed.order_id),
    }
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])
