"""As many descriptors as connections need are taken, and where there are fewer there are fewer connections."""

import subprocess
import sys

import pytest

_SCRIPT = """
import resource, sys
from trifolio.limits import Limits
from trifolio.server.descriptors import with_descriptors
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), int(sys.argv[2])))
limits = with_descriptors(Limits(connections_max=int(sys.argv[3])))
print(limits.connections_max, limits.connections_per_address_max, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


@pytest.mark.parametrize(
    ("soft", "hard", "wanted", "expected"),
    [
        (1024, 4096, 2000, "2000 1000 2256"),
        (1024, 1024, 2000, "768 768 1024"),
        (4096, 4096, 2000, "2000 1000 4096"),
        (200, 200, 2000, "100 100 200"),
    ],
)
def test_connections_fit_the_descriptors(soft: int, hard: int, wanted: int, expected: str) -> None:
    """The soft limit is raised as far as is needed and allowed, and the rest is taken from the connections."""
    command = [sys.executable, "-c", _SCRIPT, str(soft), str(hard), str(wanted)]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip() == expected
