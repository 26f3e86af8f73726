"""What an import loads: the planner alone is light, and the package's names are there when asked for."""

import subprocess
import sys

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


@pytest.mark.parametrize("name", trifolio.__all__)
def test_every_public_name_is_there(name: str) -> None:
    """What the package promises can be imported, and is listed."""
    assert callable(getattr(trifolio, name))
    assert name in dir(trifolio)


def test_another_name_is_an_attribute_error() -> None:
    """A name that is not exported fails as in any module."""
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        trifolio.nothing  # noqa: B018  # the access is what is tested
