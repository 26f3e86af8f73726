"""Schema objects that tests name in a configuration."""

from tests.server.subgraphs import people, places

PEOPLE = people()
PLACES = places()
