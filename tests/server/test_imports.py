"""What an import loads: the planner alone is light, and the package's names are there when asked for."""

import ast
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import trifolio


def loaded_by(statement: str) -> set[str]:
    """The top-level modules and the router's own that a fresh interpreter has after `statement`."""
    code = f"import sys; {statement}; print(*sys.modules)"
    names = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    return {name if name.startswith("trifolio.") else name.partition(".")[0] for name in names}


def test_the_planner_loads_nothing_else() -> None:
    """Planning needs no HTTP client, server, configuration, composer or executor."""
    loaded = loaded_by("import trifolio.planner")
    heavy = {"httpx", "uvicorn", "uvloop", "httptools", "yaml", "msgspec", "strawberry", "fastapi", "pydantic"}
    assert not loaded & heavy
    others = (
        "trifolio.composer",
        "trifolio.executor",
        "trifolio.server",
        "trifolio.engine",
        "trifolio.config",
        "trifolio.gateway",
    )
    assert not [name for name in loaded if name.startswith(others)]


def test_the_package_itself_loads_nothing() -> None:
    """`import trifolio` imports none of its modules."""
    assert not [name for name in loaded_by("import trifolio") if name.startswith("trifolio.")]


def test_serving_a_supergraph_loads_no_composer() -> None:
    """`trifolio serve --supergraph` imports neither what composes nor what asks subgraphs for their schemas."""
    serving = "from trifolio.command import main; main(['serve', '--supergraph', 'missing'])"
    loaded = loaded_by(serving)
    assert "trifolio.server.app" in loaded
    assert not {name for name in loaded if name.startswith("trifolio.composer")} | loaded & {"httpx", "rich"}


EXPORTS = [
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
"""The promise to whoever imports the package: a name that comes or goes is a change to the changelog too."""


def test_the_exported_names_are_these() -> None:
    """What `trifolio` exports is written down once more, so that no name comes or goes by accident."""
    assert trifolio.__all__ == EXPORTS


@pytest.mark.parametrize("name", trifolio.__all__)
def test_every_public_name_is_there(name: str) -> None:
    """What the package promises can be imported, is listed, and is named as where it is defined."""
    value = getattr(trifolio, name)
    assert callable(value)
    assert value.__name__ == name
    assert name in dir(trifolio)


def test_type_checkers_see_the_same_names() -> None:
    """The imports that only type checkers read bring the names of the table, each from the module that it says."""
    tree = ast.parse(Path(trifolio.__file__).read_text(encoding="utf-8"))
    [block] = [node for node in tree.body if isinstance(node, ast.If)]
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    assert {alias.name: node.module for node in imports for alias in node.names} == trifolio._EXPORTS


def test_no_module_takes_an_exported_name() -> None:
    """`from trifolio import plan` is the function, whatever was imported before: no module has an exported name."""
    modules = {module.name for module in pkgutil.iter_modules(trifolio.__path__)}
    assert not modules & set(trifolio.__all__)


def test_every_name_can_be_imported_first() -> None:
    """No name needs another module to have been imported before it."""
    code = "import sys, trifolio; getattr(trifolio, sys.argv[1])"
    for module in sorted(set(trifolio._EXPORTS.values())):
        name = next(name for name, where in trifolio._EXPORTS.items() if where == module)
        subprocess.run([sys.executable, "-c", code, name], check=True, timeout=60)


def test_another_name_is_an_attribute_error() -> None:
    """A name that is not exported fails as in any module."""
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        trifolio.nothing  # noqa: B018  # the access is what is tested
