"""File descriptors: every connection is one, and a process that runs out of them accepts nobody.

Systems give a process 1,024 to begin with, and let it take more. What is not to be had bounds the connections instead:
then the one that has waited longest makes room, where running out would shut out everybody alike.
"""

import logging
import sys
from dataclasses import replace
from typing import Final

from trifolio.limits import Limits

RESERVED: Final = 256
"""Descriptors for everything but clients: files, sockets that listen, connections to two subgraphs at full load."""

_log: Final = logging.getLogger("trifolio.serve")


def with_descriptors(limits: Limits) -> Limits:
    """Take as many descriptors as the limits need; the limits with as many connections as there are descriptors for."""
    if sys.platform == "win32":
        return limits
    import resource  # there is none on Windows

    wanted = limits.connections_max + RESERVED
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return limits
    connections = max(soft - RESERVED, soft // 2)
    _log.warning("connections_max is %d, as the process may open %d files", connections, soft)
    return replace(
        limits,
        connections_max=connections,
        connections_per_address_max=min(limits.connections_per_address_max, connections),
    )
