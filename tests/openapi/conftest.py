"""A brokerage without limits on guessing, as generated requests log in and register by the hundred."""

from collections.abc import Iterator

import pytest

from tests.openapi.people import Person, people_of
from tests.system.brokerages import Brokerage, running_brokerage

UNLIMITED = "1000000"
ENVIRONMENT = {
    "TRIFOLIO_FEED": "manual",
    "TRIFOLIO_LOGIN_ATTEMPTS_PER_ACCOUNT_MAX": UNLIMITED,
    "TRIFOLIO_LOGIN_ATTEMPTS_PER_ADDRESS_MAX": UNLIMITED,
    "TRIFOLIO_REGISTRATIONS_PER_ACCOUNT_MAX": UNLIMITED,
    "TRIFOLIO_REGISTRATIONS_PER_ADDRESS_MAX": UNLIMITED,
    "TRIFOLIO_BROKER_ORDERS_PER_MINUTE_MAX": UNLIMITED,
}


@pytest.fixture(scope="session")
def brokerage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Brokerage]:
    """Three services and the router, each in a process."""
    with running_brokerage(tmp_path_factory.mktemp("openapi") / "data", environment=ENVIRONMENT) as running:
        yield running


@pytest.fixture(scope="session")
def people(brokerage: Brokerage) -> dict[str, Person]:
    """Two investors and a broker who have some of everything that the routes show."""
    return people_of(brokerage)
