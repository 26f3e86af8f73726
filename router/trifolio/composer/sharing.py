"""Whether subgraphs that resolve the same field have all agreed to it with @shareable."""

from trifolio.composer.diagnostics import Code
from trifolio.composer.override import Overrides
from trifolio.composer.schema import FieldDef
from trifolio.composer.sources import Merging, Source, subgraphs_listed
from trifolio.federation import ROOT_TYPES

SUBSCRIPTION = ROOT_TYPES["subscription"]


def check_sharing(merging: Merging, type_name: str, name: str, overrides: Overrides) -> None:
    """Report a field of an object type that several subgraphs resolve and not all of them share."""
    resolving = [
        (source, each, (owner, name) in source.usage.shareable)
        for source, owner, each in _resolving(merging, type_name, name)
        if not overrides.is_overridden(source.name)
    ]
    several = len({source.name for source, _, _ in resolving}) > 1
    if type_name == SUBSCRIPTION:
        if not several and not any(shares for _, _, shares in resolving):
            return
        message = f'Subscription field "{type_name}.{name}" cannot be shared: an event comes from one subgraph.'
    elif not several or all(shares for _, _, shares in resolving):
        return
    else:
        lacking = subgraphs_listed(source.name for source, _, shares in resolving if not shares)
        all_of_them = subgraphs_listed(source.name for source, _, _ in resolving)
        message = (
            f'Field "{type_name}.{name}" is resolved by {all_of_them}, but not marked @shareable in {lacking}. Mark it '
            "there (in Strawberry: strawberry.federation.field(shareable=True)), or leave it to one subgraph."
        )
    places = [(source.name, each.node) for source, each, _ in resolving]
    merging.diagnostics.add(Code.INVALID_FIELD_SHARING, message, places)


def _resolving(merging: Merging, type_name: str, name: str) -> list[tuple[Source, str, FieldDef]]:
    """(source, the type that the field stands on there, the field), also through interface objects."""
    result: list[tuple[Source, str, FieldDef]] = []
    interfaces = dict.fromkeys(each for _, found in merging.types(type_name) for each in found.interfaces)
    for source in merging.sources:
        owners = [type_name] if source.field(type_name, name) else []
        if not owners:
            owners = [
                interface
                for interface in interfaces
                if any(other is source for other, _ in merging.interface_objects(interface))
            ]
        for owner in owners:
            found = source.field(owner, name)
            if found is not None and not source.usage.is_fully_external((owner, name)):
                result.append((source, owner, found))
    return result
