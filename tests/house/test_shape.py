"""The one shape of users, wallet and stocks: whoever knows one service's files knows those of the others."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SERVICES = ("users", "wallet", "stocks")

EVERYWHERE = {
    "__init__.py",
    "app.py",
    "audit.py",
    "bodies.py",
    "migrations",
    "routes.py",
    "rules.py",
    "schema.graphql",
    "schema.py",
    "service.py",
    "settings.py",
    "store.py",
    "tables.py",
}
WITH_A_SAGA = {"saga.py", "steps.py", "peers.py"}
"""All three or none: a write that spans services has peers, and steps between its calls to them."""

SPLIT = {"bodies", "routes", "rules", "schema", "service", "store"}
"""Parts that may be split by entity: `store_orders.py` beside `store.py`."""

ENTITIES = {
    "users": {"users", "authorizations", "attempts"},
    "wallet": {"operations", "statements"},
    "stocks": {"stocks", "market", "orders", "statements", "intents", "shares", "sessions", "pricing"},
}

OWN = {"users": {"passwords.py"}, "stocks": {"companies.py", "feed.py", "feeder.py"}, "wallet": set[str]()}
"""What one service alone has; ARCHITECTURE.md says why."""


STATUSES = {201, 202, 204, 400, 401, 403, 404, 409, 412, 422, 429, 503}


def is_core(path: Path) -> bool:
    """Whether a file is neither face nor wiring, which speak HTTP, nor settings, which count other things."""
    return path.stem.split("_")[0] not in ("app", "bodies", "routes", "schema", "settings")


def misplaced(service: str, names: set[str]) -> set[str]:
    """Those of a service's files that have no place in the shape, and the places that are empty."""
    saga = WITH_A_SAGA if names & WITH_A_SAGA else set()
    split = {f"{part}_{entity}.py" for part in SPLIT for entity in ENTITIES[service]}
    wanted = EVERYWHERE | saga | OWN[service]
    return (wanted - names) | (names - wanted - split)


def files_of(service: str) -> set[str]:
    """The names in a service's folder."""
    return {path.name for path in (ROOT / "subgraphs" / service).iterdir() if path.name != "__pycache__"}


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_has_the_one_shape(service: str) -> None:
    """Each has the same parts under the same names; one that outgrew itself is split by entity."""
    assert misplaced(service, files_of(service)) == set()


@pytest.mark.parametrize("name", ["documents.py", "use_cases.py", "service_steps.py", "orders.py", "store_shape.py"])
def test_a_new_file_outside_the_shape_is_seen(name: str) -> None:
    """A file of another kind, or split by kind, has no place until this list says so."""
    assert misplaced("stocks", files_of("stocks") | {name}) == {name}


@pytest.mark.parametrize("name", sorted(EVERYWHERE | WITH_A_SAGA))
def test_an_empty_place_is_seen(name: str) -> None:
    """A service that lacks a part is not of the shape."""
    assert misplaced("stocks", files_of("stocks") - {name}) == {name}


@pytest.mark.parametrize("name", sorted(name for own in OWN.values() for name in own))
def test_what_one_service_alone_has_has_a_reason(name: str) -> None:
    """ARCHITECTURE.md names every file that the other services have no counterpart of."""
    assert f"`{name}`" in (ROOT / "ARCHITECTURE.md").read_text()


@pytest.mark.parametrize("path", sorted((ROOT / "subgraphs" / "shared").glob("*.py")), ids=lambda path: path.name)
def test_shared_names_no_service_and_no_role(path: Path) -> None:
    """What all services share knows none of them, and none of the roles of their users."""
    names = {"users", "wallet", "stocks", "investor", "broker"}
    literals = {f'"{name}"' for name in names} | {f"{name}_url" for name in names}
    assert [each for each in sorted(literals) if each in path.read_text()] == []


@pytest.mark.parametrize(
    "path",
    sorted(path for name in SERVICES for path in (ROOT / "subgraphs" / name).glob("*.py") if is_core(path)),
    ids=lambda path: f"{path.parent.name}/{path.name}",
)
def test_only_faces_know_http_statuses(path: Path) -> None:
    """A rule, a use case or a statement says what kind of refusal it is, and a face which number that has."""
    numbers = [node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)]
    assert [each for each in numbers if type(each) is int and each in STATUSES] == []
