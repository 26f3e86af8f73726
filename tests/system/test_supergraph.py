"""The committed supergraph is what its parts compose to."""

from brokerage.development import ROOT, SUPERGRAPH
from router.composer import Subgraph, compose
from router.config import read_composition_config


def test_supergraph_is_current() -> None:
    """supergraph.graphql is the composition of supergraph.yaml, without an error; after a change: make supergraph."""
    config = read_composition_config(ROOT / "supergraph.yaml", environment={})
    files = {name: ROOT / str(source.schema.file) for name, source in config.subgraphs.items()}
    parts = [Subgraph(name=name, url=config.subgraphs[name].url, sdl=files[name].read_text()) for name in files]
    result = compose(parts)
    assert [diagnostic for diagnostic in result.diagnostics if diagnostic.severity == "error"] == []
    assert result.supergraph == SUPERGRAPH.read_text()
