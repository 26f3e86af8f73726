"""Rules that only the merged supergraph can break."""

from trifolio.composer.authorization import Requirements, check_transitive_requirements
from trifolio.composer.diagnostics import Code
from trifolio.composer.graphql_rules import applied_errors
from trifolio.composer.inaccessible import check_inaccessible
from trifolio.composer.sources import Merging, listed, subgraphs_listed
from trifolio.composer.supergraph_model import MergedSupergraph
from trifolio.errors import SupergraphError
from trifolio.supergraph import Supergraph


def validate_supergraph(
    merging: Merging, supergraph: MergedSupergraph, requirements: Requirements, inaccessible: str
) -> None:
    """Report what is wrong with the merged types; `inaccessible` is that directive's name in the supergraph."""
    _check_implementations(merging, supergraph)
    if merging.diagnostics.has_errors:
        return
    check_transitive_requirements(merging, requirements, supergraph.types)
    check_inaccessible(merging, supergraph.types, f"@{inaccessible}")


def read_supergraph(merging: Merging, text: str) -> Supergraph | None:
    """The supergraph as a router reads it; None after reporting where what clients see is no valid schema, as when a
    merged field no longer fits its interface."""
    supergraph = None
    try:
        supergraph = Supergraph.parse(text)
        errors = [error.message for error in applied_errors(supergraph.api_schema)]
    except SupergraphError as error:
        errors = [str(error)]
    for message in errors:
        merging.diagnostics.add(Code.INVALID_GRAPHQL, f"After merging: {message}")
    return supergraph if not errors else None


def _check_implementations(merging: Merging, supergraph: MergedSupergraph) -> None:
    """Every type has all fields of its interfaces, also those that only other subgraphs' interfaces have."""
    for each in supergraph.types.values():
        for interface in each.interfaces:
            found = supergraph.types.get(interface)
            missing = [name for name in found.fields if name not in each.fields] if found else []
            for name in missing:
                having = [source.name for source, _ in merging.fields(interface, name)]
                claiming = [source.name for source, own in merging.types(each.name) if interface in own.interfaces]
                message = (
                    f'Interface field "{interface}.{name}" is in {subgraphs_listed(having)}, but type '
                    f'"{each.name}", which implements {listed([interface])} in {subgraphs_listed(claiming)}, has no '
                    f'field "{name}" anywhere. Add it where the type is resolved.'
                )
                places = [(source.name, own.node) for source, own in merging.types(each.name)]
                merging.diagnostics.add(Code.INTERFACE_FIELD_NO_IMPLEM, message, places)
