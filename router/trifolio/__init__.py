"""The first Apollo Federation v2 stack in pure Python: composer, planner and router.

All that a program holds of it is imported from here. A name is imported when it is first asked for, so that
`trifolio.planner` alone loads no HTTP client and no server. No module of the package has an exported name: once it has
been imported, it would stand in that name's place.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # so that type checkers know the names that are imported late
    from trifolio.composer import CompositionResult, Diagnostic, Location, Subgraph, compose
    from trifolio.config import (
        Config,
        CorsConfig,
        HeadersConfig,
        OverrideConfig,
        Secret,
        SubgraphConfig,
        parse_config,
        read_config,
    )
    from trifolio.engine import Response
    from trifolio.errors import (
        AnswerError,
        ClientText,
        ConfigError,
        ConfigurationError,
        DocumentError,
        ErrorCode,
        InternalError,
        InternalText,
        OperationError,
        PlanningError,
        RequestError,
        RouterError,
        SubgraphError,
        SupergraphError,
        VariablesError,
    )
    from trifolio.executor.httpx import HttpxTransport
    from trifolio.executor.local import LocalTransport
    from trifolio.executor.pool import PooledTransport
    from trifolio.executor.transport import SubgraphRequest, SubgraphResponse, Transport
    from trifolio.gateway import Router
    from trifolio.limits import Limits
    from trifolio.planner import plan
    from trifolio.query_plan import Fetch, Plan
    from trifolio.supergraph import Supergraph

_EXPORTS = {
    "compose": "trifolio.composer",
    "Subgraph": "trifolio.composer",
    "CompositionResult": "trifolio.composer",
    "Diagnostic": "trifolio.composer",
    "Location": "trifolio.composer",
    "Supergraph": "trifolio.supergraph",
    "plan": "trifolio.planner",
    "Plan": "trifolio.query_plan",
    "Fetch": "trifolio.query_plan",
    "Router": "trifolio.gateway",
    "Response": "trifolio.engine",
    "LocalTransport": "trifolio.executor.local",
    "PooledTransport": "trifolio.executor.pool",
    "HttpxTransport": "trifolio.executor.httpx",
    "Transport": "trifolio.executor.transport",
    "SubgraphRequest": "trifolio.executor.transport",
    "SubgraphResponse": "trifolio.executor.transport",
    "Config": "trifolio.config",
    "SubgraphConfig": "trifolio.config",
    "Secret": "trifolio.config",
    "HeadersConfig": "trifolio.config",
    "CorsConfig": "trifolio.config",
    "OverrideConfig": "trifolio.config",
    "read_config": "trifolio.config",
    "parse_config": "trifolio.config",
    "Limits": "trifolio.limits",
    "AnswerError": "trifolio.errors",
    "ErrorCode": "trifolio.errors",
    "ClientText": "trifolio.errors",
    "InternalText": "trifolio.errors",
    "RouterError": "trifolio.errors",
    "RequestError": "trifolio.errors",
    "DocumentError": "trifolio.errors",
    "OperationError": "trifolio.errors",
    "VariablesError": "trifolio.errors",
    "SubgraphError": "trifolio.errors",
    "ConfigurationError": "trifolio.errors",
    "ConfigError": "trifolio.errors",
    "SupergraphError": "trifolio.errors",
    "PlanningError": "trifolio.errors",
    "InternalError": "trifolio.errors",
}
"""The module of every exported name, in the order in which docs/api.md has them."""

__all__ = [
    "AnswerError",
    "ClientText",
    "CompositionResult",
    "Config",
    "ConfigError",
    "ConfigurationError",
    "CorsConfig",
    "Diagnostic",
    "DocumentError",
    "ErrorCode",
    "Fetch",
    "HeadersConfig",
    "HttpxTransport",
    "InternalError",
    "InternalText",
    "Limits",
    "LocalTransport",
    "Location",
    "OperationError",
    "OverrideConfig",
    "Plan",
    "PlanningError",
    "PooledTransport",
    "RequestError",
    "Response",
    "Router",
    "RouterError",
    "Secret",
    "Subgraph",
    "SubgraphConfig",
    "SubgraphError",
    "SubgraphRequest",
    "SubgraphResponse",
    "Supergraph",
    "SupergraphError",
    "Transport",
    "VariablesError",
    "compose",
    "parse_config",
    "plan",
    "read_config",
]


def __getattr__(name: str) -> object:
    """Import the module that holds `name` and return it (PEP 562)."""
    if name not in _EXPORTS:
        raise AttributeError(f"module 'trifolio' has no attribute {name!r}")
    return getattr(import_module(_EXPORTS[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
