"""Schemas that are named as `package.module:attribute`: imported, and executed in this process."""

from collections.abc import Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from trifolio.command.modules import find_modules_beside
from trifolio.config import CompositionConfig, Config, SubgraphConfig
from trifolio.errors import ConfigError
from trifolio.executor.local import LocalTransport


def import_schema(reference: str, folder: Path) -> Any:
    """The object that a reference names, whatever it is; modules are also found in `folder`. Raises ConfigError."""
    module_name, _, attribute = reference.partition(":")
    find_modules_beside(folder)
    try:
        schema: Any = import_module(module_name)
        for name in attribute.split("."):
            schema = getattr(schema, name)
    except Exception as error:  # the module is the user's: whatever it raises is said in one line
        raise ConfigError(f"{reference} cannot be imported: {type(error).__name__}: {error}") from error
    return schema


def url_of(name: str, composition: CompositionConfig, config: Config) -> str:
    """Where a subgraph is asked over HTTP: the settings' URL, else the composition's; empty where neither has one."""
    return config.subgraphs.get(name, SubgraphConfig()).url or composition.subgraphs[name].url


def references_without_url(composition: CompositionConfig, config: Config) -> dict[str, str]:
    """By subgraph, the references of schemas that can only be executed here: no file says a URL for them."""
    references = {name: each.schema.python for name, each in composition.subgraphs.items()}
    return {
        name: reference
        for name, reference in references.items()
        if reference is not None and not url_of(name, composition, config)
    }


def local_transports(references: Mapping[str, str], folder: Path, config: Config) -> dict[str, LocalTransport]:
    """The way to each of these subgraphs through memory. Raises ConfigError for what cannot be executed.

    What a subgraph's settings say of its requests holds here as well: how long it may take, and which of the client's
    headers it gets.
    """
    return {name: _local_transport(name, reference, folder, config) for name, reference in references.items()}


def _local_transport(name: str, reference: str, folder: Path, config: Config) -> LocalTransport:
    own = config.subgraphs.get(name, SubgraphConfig())
    try:
        return LocalTransport(
            import_schema(reference, folder),
            timeout_ms=own.timeout_ms or config.limits.fetch_timeout_ms,
            forward_headers=config.forwarded_headers(name),
        )
    except TypeError as error:
        raise ConfigError(
            f"subgraph {name!r} has no URL, and {reference} cannot be executed here: {error}; give it a routing_url"
        ) from error


def told(names: Iterable[str]) -> str:
    """What a log says of the subgraphs that are executed here."""
    return f"executing {', '.join(names)} in this process"
