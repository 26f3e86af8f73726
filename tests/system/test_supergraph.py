"""The committed supergraph is what its parts compose to."""

from brokerage.development import ROOT, SUPERGRAPH
from router.composer import Subgraph, compose
from router.config import read_composition_config
from router.sources import read_sdls


def test_supergraph_is_current() -> None:
    """supergraph.graphql is the composition of supergraph.yaml, without an error; after a change: make supergraph."""
    config = read_composition_config(ROOT / "supergraph.yaml", environment={})
    sdls = read_sdls(config, ROOT)
    parts = [Subgraph(name=name, url=source.url, sdl=sdls[name]) for name, source in config.subgraphs.items()]
    result = compose(parts)
    assert [diagnostic for diagnostic in result.diagnostics if diagnostic.severity == "error"] == []
    assert result.supergraph == SUPERGRAPH.read_text()
