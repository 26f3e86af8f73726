"""Schema objects that tests name in a configuration."""

from tests.server.subgraphs import places

PLACES = places()
