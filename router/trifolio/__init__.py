"""The first Apollo Federation v2 stack in pure Python: composer, planner and router.

Names are imported when they are first asked for, so that `trifolio.planner` alone loads no HTTP client and no server.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # so that type checkers know the names that are imported late
    from trifolio.composer import compose
    from trifolio.executor.httpx import HttpxTransport
    from trifolio.executor.local import LocalTransport
    from trifolio.executor.pool import PooledTransport
    from trifolio.gateway import Router

_EXPORTS = {
    "Router": "trifolio.gateway",
    "HttpxTransport": "trifolio.executor.httpx",
    "LocalTransport": "trifolio.executor.local",
    "PooledTransport": "trifolio.executor.pool",
    "compose": "trifolio.composer",
}

__all__ = ["HttpxTransport", "LocalTransport", "PooledTransport", "Router", "compose"]


def __getattr__(name: str) -> object:
    """Import the module that holds `name` and return it (PEP 562)."""
    if name not in _EXPORTS:
        raise AttributeError(f"module 'trifolio' has no attribute {name!r}")
    return getattr(import_module(_EXPORTS[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
