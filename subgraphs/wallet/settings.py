"""What the wallet is told from outside."""

from typing import ClassVar

from subgraphs.shared.settings import ServiceSettings


class Settings(ServiceSettings):
    """The shared settings, and where the keys of user tokens are published."""

    services: ClassVar[tuple[str, ...]] = ("users", "wallet", "stocks")
    roles: ClassVar[frozenset[str]] = frozenset({"investor", "broker"})

    service: str = "wallet"
    users_url: str = "http://127.0.0.1:4001"
