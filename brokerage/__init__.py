"""The brokerage put together from its parts: secrets, data folder, supervisor, demo data, one process.

`python -m brokerage` is its command line. Beside the two, nothing imports both the router and the subgraphs.
"""

SERVICE_NAMES = ("users", "wallet", "stocks")
