"""What the wallet is told from outside."""

from subgraphs.shared.settings import ServiceSettings


class Settings(ServiceSettings):
    """The shared settings; the wallet adds none."""

    service: str = "wallet"
