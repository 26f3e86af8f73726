"""The composer: subgraph schemas in, one supergraph or the list of what is wrong out.

Phases, each in its own modules: ingest (`subgraph`), rules within a subgraph (`validate`), federation 1 brought to
federation 2 (`upgrade`), merging (`merge`), the text (`emit`), read again as a router reads it (`validate_supergraph`),
and whether clients can get what it promises (`satisfiability`). The composer does no I/O and never raises for what a
schema author wrote.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from trifolio.composer.diagnostics import Diagnostic, Diagnostics, Location
from trifolio.composer.emit import emit
from trifolio.composer.merge import merge_schemas
from trifolio.composer.satisfiability import check_satisfiability
from trifolio.composer.sources import Merging, sources_of
from trifolio.composer.subgraph import Subgraph, check_names, ingest
from trifolio.composer.upgrade import check_extensions, upgrade
from trifolio.composer.validate import validate
from trifolio.composer.validate_supergraph import read_supergraph

__all__ = ["CompositionResult", "Diagnostic", "Location", "Subgraph", "compose"]


@dataclass(frozen=True, slots=True)
class CompositionResult:
    """What composition came to."""

    supergraph: str | None
    """The supergraph's SDL; None when a diagnostic is an error."""
    diagnostics: tuple[Diagnostic, ...]
    """Errors, then hints."""


def compose(subgraphs: Iterable[Subgraph]) -> CompositionResult:
    """Compose subgraphs into one supergraph, or say everything that is in the way.

    The order of the subgraphs does not matter. Nothing is raised for an invalid schema: a phase that finds an error
    is the last one, and its findings are in the result.
    """
    diagnostics = Diagnostics()
    text = _supergraph_text(list(subgraphs), diagnostics)
    return CompositionResult(text, diagnostics.in_order())


def _supergraph_text(subgraphs: list[Subgraph], diagnostics: Diagnostics) -> str | None:
    """The phases, in order; None after the first one that found an error."""
    check_names(subgraphs, diagnostics)
    if diagnostics.has_errors:
        return None
    schemas = [schema for each in subgraphs if (schema := ingest(each, diagnostics))]
    validate((schema for schema in schemas if schema.is_federation_2), diagnostics)
    if diagnostics.has_errors:
        return None
    check_extensions(schemas, diagnostics)
    if diagnostics.has_errors:
        return None
    schemas = upgrade(schemas, diagnostics)
    if diagnostics.has_errors:
        return None
    validate((schema for schema in schemas if not schema.is_federation_2), diagnostics)
    if diagnostics.has_errors:
        return None
    merging = Merging(sources_of(schemas), diagnostics)
    supergraph = merge_schemas(merging)
    if diagnostics.has_errors:
        return None
    text = emit(supergraph)
    parsed = read_supergraph(merging, text)
    return text if parsed is not None and check_satisfiability(merging, parsed) else None
