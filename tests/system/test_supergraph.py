"""The committed supergraph is what its parts compose to, and says what everything in it is."""

from typing import Any

import pytest
from graphql import DocumentNode, is_nullable_type, parse

from brokerage import SERVICE_NAMES
from brokerage.development import ROOT, SUPERGRAPH
from trifolio.composer import CompositionResult, Subgraph, compose
from trifolio.composer.diagnostics import Code
from trifolio.config import read_composition_config
from trifolio.supergraph import Supergraph


def test_supergraph_is_current() -> None:
    """supergraph.graphql is the composition of supergraph.yaml, without an error; after a change: make supergraph."""
    result = _composition()
    assert [diagnostic for diagnostic in result.diagnostics if diagnostic.severity == "error"] == []
    assert result.supergraph == SUPERGRAPH.read_text()


@pytest.mark.parametrize("service", SERVICE_NAMES)
def test_everything_that_clients_see_of_a_subgraph_is_described(service: str) -> None:
    """Every type, field, argument, input field and enum value; what begins with an underscore is federation's own."""
    assert _undescribed(parse((ROOT / "subgraphs" / service / "schema.graphql").read_text())) == []


def test_what_several_subgraphs_describe_they_describe_alike() -> None:
    """Clients read one description: that of the first subgraph, so the others must not say anything else."""
    assert [each for each in _composition().diagnostics if each.code == Code.INCONSISTENT_DESCRIPTION.name] == []


@pytest.mark.parametrize(
    ("planted", "missed"),
    [
        ("type A { b: Int }", ["A", "A.b"]),
        ('"." input A { b: Int }', ["A.b"]),
        ('"." type A { "." b(c: Int, "." d: Int): Int }', ["A.b(c:)"]),
        ('"." enum A { "." B C }', ["A.C"]),
        ("scalar A union B = C", ["A", "B"]),
        ('"." interface A { "  " b: Int }', ["A.b"]),
        ("extend type A { b: Int }", ["A.b"]),
        ("extend enum A { B }", ["A.B"]),
        ("directive @a(b: Int) on FIELD", ["@a", "@a(b:)"]),
        ('type Query { _service: _Service! } "." type A { "." b: Int } type _Service { sdl: String }', ["Query"]),
    ],
)
def test_what_is_not_described_is_found(planted: str, missed: list[str]) -> None:
    """Wherever it stands, and where its description is blank."""
    assert _undescribed(parse(planted)) == missed


def test_a_root_field_without_an_answer_leaves_the_others_theirs() -> None:
    """Every root field is nullable: a non-null one of a service that is away would null the whole response, and hide
    what a mutation before it did."""
    schema = Supergraph.parse(SUPERGRAPH.read_text()).api_schema
    roots = [root for root in (schema.query_type, schema.mutation_type) if root is not None]
    assert len(roots) == 2
    fields = {f"{root.name}.{name}": field for root in roots for name, field in root.fields.items()}
    assert [name for name, field in fields.items() if not is_nullable_type(field.type)] == []


def _composition() -> CompositionResult:
    config = read_composition_config(ROOT / "supergraph.yaml", environment={})
    files = {name: ROOT / str(source.schema.file) for name, source in config.subgraphs.items()}
    return compose([Subgraph(name=name, url=config.subgraphs[name].url, sdl=files[name].read_text()) for name in files])


def _undescribed(document: DocumentNode) -> list[str]:
    """The coordinates of what has no description, but for federation's own types and fields."""
    found: list[str] = []

    def look(node: Any, coordinate: str, *, extension: bool = False) -> None:
        if not extension and (node.description is None or not node.description.value.strip()):
            found.append(coordinate)

    for definition in document.definitions:
        name = getattr(definition, "name", None)
        if name is None or name.value.startswith("_"):
            continue  # the schema itself
        directive = definition.kind == "directive_definition"
        coordinate = f"@{name.value}" if directive else name.value
        look(definition, coordinate, extension=definition.kind.endswith("_extension"))
        if directive:
            for argument in getattr(definition, "arguments", None) or ():
                look(argument, f"{coordinate}({argument.name.value}:)")
        for field in [each for each in getattr(definition, "fields", None) or () if each.name.value[0] != "_"]:
            look(field, f"{coordinate}.{field.name.value}")
            for argument in getattr(field, "arguments", None) or ():
                look(argument, f"{coordinate}.{field.name.value}({argument.name.value}:)")
        for value in getattr(definition, "values", None) or ():
            look(value, f"{coordinate}.{value.name.value}")
    return found
