"""The two files an operator writes, read into frozen values: `router.yaml` (optional) and `supergraph.yaml` (Rover's).

`values` are the dataclasses that are the format: their fields are the keys, their types what a value may be, their
defaults what holds where a key is left out. `forms` says what texts and numbers have to look like, `effect` which
settings could not do anything, `reader` turns a file into the values or into all of its problems, each with its line,
and `json_schema` says the format to editors.
"""

from trifolio.config.reader import (
    Reading,
    examine_composition_config,
    examine_config,
    parse_config,
    read_composition_config,
    read_config,
)
from trifolio.config.values import (
    CompositionConfig,
    Config,
    CorsConfig,
    HeadersConfig,
    OverrideConfig,
    PluginConfig,
    SchemaSource,
    Secret,
    SubgraphConfig,
    SubgraphSource,
)

__all__ = [
    "CompositionConfig",
    "Config",
    "CorsConfig",
    "HeadersConfig",
    "OverrideConfig",
    "PluginConfig",
    "Reading",
    "SchemaSource",
    "Secret",
    "SubgraphConfig",
    "SubgraphSource",
    "examine_composition_config",
    "examine_config",
    "parse_config",
    "read_composition_config",
    "read_config",
]
