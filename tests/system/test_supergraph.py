"""The committed supergraph is what its parts compose to."""

from graphql import is_nullable_type

from brokerage.development import ROOT, SUPERGRAPH
from trifolio.composer import Subgraph, compose
from trifolio.config import read_composition_config
from trifolio.supergraph import Supergraph


def test_supergraph_is_current() -> None:
    """supergraph.graphql is the composition of supergraph.yaml, without an error; after a change: make supergraph."""
    config = read_composition_config(ROOT / "supergraph.yaml", environment={})
    files = {name: ROOT / str(source.schema.file) for name, source in config.subgraphs.items()}
    parts = [Subgraph(name=name, url=config.subgraphs[name].url, sdl=files[name].read_text()) for name in files]
    result = compose(parts)
    assert [diagnostic for diagnostic in result.diagnostics if diagnostic.severity == "error"] == []
    assert result.supergraph == SUPERGRAPH.read_text()


def test_a_root_field_without_an_answer_leaves_the_others_theirs() -> None:
    """Every root field is nullable: a non-null one of a service that is away would null the whole response, and hide
    what a mutation before it did."""
    schema = Supergraph.parse(SUPERGRAPH.read_text()).api_schema
    roots = [root for root in (schema.query_type, schema.mutation_type) if root is not None]
    assert len(roots) == 2
    fields = {f"{root.name}.{name}": field for root in roots for name, field in root.fields.items()}
    assert [name for name, field in fields.items() if not is_nullable_type(field.type)] == []
