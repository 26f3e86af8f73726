"""What a new supergraph changes for clients: on schemas, and through `trifolio check`."""

import json
from pathlib import Path

import pytest
from graphql import build_schema

from tests.server.subgraphs import PEOPLE_SDL, PLACES_SDL
from trifolio.command import main
from trifolio.schema_changes import find_broken_operations, find_changes

OLD = """
    type Query { me: User, users(role: Role, filter: Filter): [User!] }
    type User { id: ID!, name: String!, email: String, nick: String }
    enum Role { ADMIN GUEST }
    input Filter { name: String, inner: Inner }
    input Inner { role: Role }
"""

OPERATIONS = {
    "name": "{ me { name } }",
    "email": "{ me { email } }",
    "role": "query ($role: Role) { users(role: $role) { id } }",
    "filter": "query ($filter: Filter) { users(filter: $filter) { id } }",
    "literal": "{ users(role: GUEST) { id } }",
    "invalid already": "{ nothing }",
    "not GraphQL": "{",
}

# The edit of the schema -> the most severe change, and the operations that it breaks.
CHANGES: dict[str, tuple[tuple[str, str], tuple[str, str], set[str]]] = {
    "a field removed": (("email: String, ", ""), ("breaking", "FIELD_REMOVED"), {"email"}),
    "an unused field removed": ((", nick: String", ""), ("breaking", "FIELD_REMOVED"), set()),
    "a field made nullable": (("name: String!", "name: String"), ("breaking", "FIELD_CHANGED_KIND"), {"name"}),
    "a field made non-null": (("email: String", "email: String!"), ("safe", "FIELD_CHANGED_KIND_SAFE"), set()),
    "an enum value removed": (
        ("ADMIN GUEST", "ADMIN"),
        ("breaking", "VALUE_REMOVED_FROM_ENUM"),
        {"role", "filter", "literal"},
    ),
    "an enum value added": (("GUEST", "GUEST USER"), ("dangerous", "VALUE_ADDED_TO_ENUM"), set()),
    "a required input added": (
        ("{ role: Role }", "{ role: Role, x: Int! }"),
        ("breaking", "REQUIRED_INPUT_FIELD_ADDED"),
        {"filter"},
    ),
    "a required argument added": (
        ("role: Role, f", "role: Role, x: Int!, f"),
        ("breaking", "REQUIRED_ARG_ADDED"),
        {"role", "filter", "literal"},
    ),
    "an argument removed": (("role: Role, f", "f"), ("breaking", "ARG_REMOVED"), {"role", "literal"}),
    "a field added": (("id: ID!", "id: ID!, age: Int"), ("safe", "FIELD_ADDED"), set()),
}


@pytest.mark.parametrize(("edit", "change", "broken"), CHANGES.values(), ids=CHANGES)
def test_a_change_is_as_severe_as_what_it_breaks(
    edit: tuple[str, str], change: tuple[str, str], broken: set[str]
) -> None:
    """Each change has its severity and code, and breaks exactly the operations that would notice."""
    assert edit[0] in OLD
    old, new = build_schema(OLD), build_schema(OLD.replace(*edit))
    first = find_changes(old, new)[0]
    assert (first.severity, first.code) == change
    assert {each.document for each in find_broken_operations(old, new, OPERATIONS)} == broken


def test_equal_schemas_have_no_changes() -> None:
    """Nothing changed is nothing to say."""
    assert find_changes(build_schema(OLD), build_schema(OLD)) == ()


# ---- the command ----


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two subgraphs, and the supergraph that they make."""
    (tmp_path / "people.graphql").write_text(PEOPLE_SDL)
    (tmp_path / "places.graphql").write_text(PLACES_SDL)
    (tmp_path / "supergraph.yaml").write_text(
        "subgraphs:\n"
        "  people: {routing_url: http://people:1/graphql, schema: {file: people.graphql}}\n"
        "  places: {routing_url: http://places:1/graphql, schema: {file: places.graphql}}\n"
    )
    assert run("compose", "--config", tmp_path / "supergraph.yaml", "--output", tmp_path / "old.graphql") == 0
    return tmp_path


def run(*arguments: str | Path) -> int:
    return main([str(argument) for argument in arguments])


def check(folder: Path, *arguments: str | Path) -> int:
    return run("check", "--config", folder / "supergraph.yaml", "--against", folder / "old.graphql", *arguments)


def test_no_change_ends_with_0(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same subgraphs again print nothing."""
    assert check(folder) == 0
    assert capsys.readouterr().out == ""


def test_a_breaking_change_ends_with_1(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A field that is gone is told, as text and as JSON; a hidden field is nobody's business."""
    sdl = PEOPLE_SDL.replace(" name: String passportNumber: String @inaccessible", "")
    (folder / "people.graphql").write_text(sdl)
    assert check(folder) == 1
    assert capsys.readouterr().out == "breaking FIELD_REMOVED: Field Person.name was removed.\n"
    assert check(folder, "--format", "json") == 1
    assert [each["code"] for each in json.loads(capsys.readouterr().out)["changes"]] == ["FIELD_REMOVED"]


def test_operations_decide_what_counts(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With --operations a breaking change counts only if one of them would notice it."""
    (folder / "people.graphql").write_text(PEOPLE_SDL.replace(" name: String passport", " passport"))
    operations = folder / "operations"
    operations.mkdir()
    (operations / "caller.graphql").write_text("{ caller }")
    assert check(folder, "--operations", operations) == 0
    (operations / "me.graphql").write_text("{ me { name } }")
    assert check(folder, "--operations", operations) == 1
    assert "broken me.graphql: 1:8: Cannot query field 'name' on type 'Person'." in capsys.readouterr().out


def test_what_does_not_compose_is_no_change(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Subgraphs that do not compose, and a folder without operations, are errors of their own."""
    assert check(folder, "--operations", folder / "empty") == 1
    assert "has no *.graphql files" in capsys.readouterr().err
    (folder / "places.graphql").write_text("type")
    assert check(folder) == 1
    assert "error INVALID_GRAPHQL" in capsys.readouterr().err


def test_a_folder_that_cannot_be_looked_into_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A name that no folder can have is the command line's fault, and not called a bug."""
    assert check(folder, "--operations", "x" * 300) == 1
    assert "x cannot be read: File name too long" in capsys.readouterr().err
