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
        AuthorizationConfig,
        Config,
        CorsConfig,
        HeadersConfig,
        MetricsConfig,
        OverrideConfig,
        PluginConfig,
        Secret,
        SharingConfig,
        SubgraphConfig,
    )
    from trifolio.config.reader import parse_config, read_config
    from trifolio.errors import (
        AnswerError,
        ClientText,
        ConfigError,
        ConfigProblem,
        ConfigurationError,
        DocumentError,
        ErrorCode,
        InternalError,
        InternalText,
        OperationError,
        PlanningError,
        Refused,
        RequestError,
        RouterError,
        SubgraphError,
        SupergraphError,
        Unauthorized,
        VariablesError,
    )
    from trifolio.executor.httpx import HttpxTransport
    from trifolio.executor.local import LocalTransport
    from trifolio.executor.pool import PooledTransport
    from trifolio.executor.transport import SubgraphRequest, SubgraphResponse, SubscribingTransport, Transport
    from trifolio.gateway import Router
    from trifolio.limits import Limits
    from trifolio.observer import FetchEnded, Observer, OperationEnded, OperationPlanned
    from trifolio.parts import Increment, Later, Part, Parts, Pending
    from trifolio.planner import plan
    from trifolio.plugins import (
        FetchContext,
        OperationContext,
        Plugin,
        RequestContext,
        ResponseContext,
        SendFetch,
    )
    from trifolio.query_plan import Fetch, Plan
    from trifolio.response import Response, ResponsePart
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
    "Response": "trifolio.response",
    "ResponsePart": "trifolio.response",
    "Pending": "trifolio.parts",
    "Part": "trifolio.parts",
    "Increment": "trifolio.parts",
    "Parts": "trifolio.parts",
    "Later": "trifolio.parts",
    "Plugin": "trifolio.plugins",
    "RequestContext": "trifolio.plugins",
    "OperationContext": "trifolio.plugins",
    "FetchContext": "trifolio.plugins",
    "ResponseContext": "trifolio.plugins",
    "SendFetch": "trifolio.plugins",
    "LocalTransport": "trifolio.executor.local",
    "PooledTransport": "trifolio.executor.pool",
    "HttpxTransport": "trifolio.executor.httpx",
    "Transport": "trifolio.executor.transport",
    "SubscribingTransport": "trifolio.executor.transport",
    "SubgraphRequest": "trifolio.executor.transport",
    "SubgraphResponse": "trifolio.executor.transport",
    "Observer": "trifolio.observer",
    "OperationPlanned": "trifolio.observer",
    "FetchEnded": "trifolio.observer",
    "OperationEnded": "trifolio.observer",
    "Config": "trifolio.config",
    "SubgraphConfig": "trifolio.config",
    "AuthorizationConfig": "trifolio.config",
    "PluginConfig": "trifolio.config",
    "Secret": "trifolio.config",
    "SharingConfig": "trifolio.config",
    "HeadersConfig": "trifolio.config",
    "MetricsConfig": "trifolio.config",
    "CorsConfig": "trifolio.config",
    "OverrideConfig": "trifolio.config",
    "read_config": "trifolio.config.reader",
    "parse_config": "trifolio.config.reader",
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
    "Unauthorized": "trifolio.errors",
    "Refused": "trifolio.errors",
    "SubgraphError": "trifolio.errors",
    "ConfigurationError": "trifolio.errors",
    "ConfigError": "trifolio.errors",
    "ConfigProblem": "trifolio.errors",
    "SupergraphError": "trifolio.errors",
    "PlanningError": "trifolio.errors",
    "InternalError": "trifolio.errors",
}
"""The module of every exported name, in the order in which docs/api.md has them."""

__all__ = [
    "AnswerError",
    "AuthorizationConfig",
    "ClientText",
    "CompositionResult",
    "Config",
    "ConfigError",
    "ConfigProblem",
    "ConfigurationError",
    "CorsConfig",
    "Diagnostic",
    "DocumentError",
    "ErrorCode",
    "Fetch",
    "FetchContext",
    "FetchEnded",
    "HeadersConfig",
    "HttpxTransport",
    "Increment",
    "InternalError",
    "InternalText",
    "Later",
    "Limits",
    "LocalTransport",
    "Location",
    "MetricsConfig",
    "Observer",
    "OperationContext",
    "OperationEnded",
    "OperationError",
    "OperationPlanned",
    "OverrideConfig",
    "Part",
    "Parts",
    "Pending",
    "Plan",
    "PlanningError",
    "Plugin",
    "PluginConfig",
    "PooledTransport",
    "Refused",
    "RequestContext",
    "RequestError",
    "Response",
    "ResponseContext",
    "ResponsePart",
    "Router",
    "RouterError",
    "Secret",
    "SendFetch",
    "SharingConfig",
    "Subgraph",
    "SubgraphConfig",
    "SubgraphError",
    "SubgraphRequest",
    "SubgraphResponse",
    "SubscribingTransport",
    "Supergraph",
    "SupergraphError",
    "Transport",
    "Unauthorized",
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
