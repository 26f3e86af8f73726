"""Entity interfaces and interface objects: fields that a subgraph adds to every implementation without knowing them."""

from collections.abc import Mapping
from dataclasses import replace

from trifolio.composer.diagnostics import Code
from trifolio.composer.override import Overrides
from trifolio.composer.schema import applications
from trifolio.composer.sharing import check_sharing
from trifolio.composer.sources import Merging, listed
from trifolio.composer.supergraph_model import JoinField, MergedArgument, MergedField, MergedType

Types = Mapping[str, MergedType]


def implementations(types: Types, interface: str) -> list[MergedType]:
    """The object types that implement an interface in the supergraph."""
    return [each for each in types.values() if each.kind == "OBJECT" and interface in each.interfaces]


def with_interface_object_fields(merging: Merging, types: Types) -> dict[str, MergedType]:
    """The types, implementations completed by what subgraphs add to their interfaces."""
    result = dict(types)
    for interface in types.values():
        if interface.kind != "INTERFACE":
            continue
        added = {
            name
            for source, found in merging.interface_objects(interface.name)
            for name in found.fields
            if not source.is_external(interface.name, name)
        }
        for name in (name for name in interface.fields if name in added):
            for each in implementations(types, interface.name):
                current = result[each.name]
                if name not in current.fields:
                    check_sharing(merging, each.name, name, Overrides())
                    fields = {**current.fields, name: _inherited(interface.fields[name])}
                    result[each.name] = replace(current, fields=fields)
    return result


def _inherited(field: MergedField) -> MergedField:
    arguments = {
        name: MergedArgument(each.name, each.type, each.default, each.description, each.directives)
        for name, each in field.arguments.items()
    }
    return MergedField(
        field.name,
        field.type,
        arguments,
        description=field.description,
        joins=(JoinField(graph=None),),
        directives=field.directives,
    )


def check_interface_keys(merging: Merging, types: Types, name: str) -> None:
    """A subgraph with a resolvable @key on an interface answers for all implementations, so it has to know them all."""
    names = [each.name for each in implementations(types, name)]
    for source, found in merging.types(name):
        if found.kind != "INTERFACE":
            continue
        keys = [key for key in applications(found, "key") if key.flag("resolvable", default=True)]
        missing = [each for each in names if not _implements(source.type(each), name)]
        if keys and missing:
            message = (
                f'[{source.name}] Interface "{name}" has a resolvable @key, so the subgraph has to define all its '
                f"implementations, but it lacks {listed(missing)}."
            )
            merging.diagnostics.add(
                Code.INTERFACE_KEY_MISSING_IMPLEMENTATION_TYPE, message, [(source.name, keys[0].node)]
            )


def _implements(found: object, interface: str) -> bool:
    return interface in getattr(found, "interfaces", ())


def check_interface_objects(merging: Merging, types: Types, name: str) -> None:
    """A subgraph with an interface object cannot define implementations besides it."""
    names = [each.name for each in implementations(types, name)]
    for source, found in merging.interface_objects(name):
        defined = [each for each in names if source.type(each)]
        if defined:
            message = (
                f'[{source.name}] "{name}" is an @interfaceObject here, so the subgraph cannot define its '
                f"implementations, but it defines {listed(defined)}."
            )
            merging.diagnostics.add(Code.INTERFACE_OBJECT_USAGE_ERROR, message, [(source.name, found.node)])
