"""The two files an operator writes, read into frozen values: `router.yaml` (optional) and `supergraph.yaml` (Rover's).

`values` are the dataclasses that are the format: their fields are the keys, their types what a value may be, their
defaults what holds where a key is left out. `forms` says what texts and numbers have to look like, `effect` which
settings could not do anything, `reader` turns a file into the values or into all of its problems, each with its line,
and `json_schema` says the format to editors.

Reading is imported when it is first asked for: a router that is embedded with a `Config` needs no YAML.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from trifolio.config.values import (
    AuthorizationConfig,
    CompositionConfig,
    Config,
    CorsConfig,
    HeadersConfig,
    MetricsConfig,
    OverrideConfig,
    PluginConfig,
    SchemaSource,
    Secret,
    SharingConfig,
    SubgraphConfig,
    SubgraphSource,
    SubscriptionsConfig,
    UpstreamConfig,
)

if TYPE_CHECKING:  # so that type checkers know the names that are imported late
    from trifolio.config.reader import (
        Reading,
        examine_composition_config,
        examine_config,
        parse_config,
        read_composition_config,
        read_config,
    )

__all__ = [
    "AuthorizationConfig",
    "CompositionConfig",
    "Config",
    "CorsConfig",
    "HeadersConfig",
    "MetricsConfig",
    "OverrideConfig",
    "PluginConfig",
    "Reading",
    "SchemaSource",
    "Secret",
    "SharingConfig",
    "SubgraphConfig",
    "SubgraphSource",
    "SubscriptionsConfig",
    "UpstreamConfig",
    "examine_composition_config",
    "examine_config",
    "parse_config",
    "read_composition_config",
    "read_config",
]


def __getattr__(name: str) -> object:
    """Import the reader for the names that are its (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("trifolio.config.reader"), name)
