"""The composer: subgraph schemas in, one supergraph or the list of what is wrong out.

Phases, each in its own modules: ingest (`subgraph`), rules within a subgraph (`validate`), merging (`merge`), whether
clients can get what the supergraph promises (`satisfiability`), and the text (`emit`). The composer does no I/O and
never raises for what a schema author wrote.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from router.composer.diagnostics import Diagnostic, Diagnostics, Location
from router.composer.emit import emit
from router.composer.merge import merge_schemas
from router.composer.sources import Merging, sources_of
from router.composer.subgraph import Subgraph, check_names, ingest

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
    given = list(subgraphs)
    check_names(given, diagnostics)
    if diagnostics.has_errors:
        return CompositionResult(None, diagnostics.in_order())
    schemas = [schema for each in given if (schema := ingest(each, diagnostics))]
    if diagnostics.has_errors:
        return CompositionResult(None, diagnostics.in_order())
    merging = Merging(sources_of(schemas), diagnostics)
    supergraph = merge_schemas(merging)
    if diagnostics.has_errors:
        return CompositionResult(None, diagnostics.in_order())
    return CompositionResult(emit(supergraph), diagnostics.in_order())
