"""@override: which subgraphs' definitions of a field count once another subgraph has taken it over.

The overridden subgraph's field is left out, or, where the subgraph still uses it (in a key, a @requires, for an
interface), kept as one that is only known about. With a label the decision is made at run time, so both stay.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from trifolio.composer.diagnostics import Code
from trifolio.composer.schema import Application, FieldDef, first, has
from trifolio.composer.sources import Merging, Source

LABEL = re.compile(r"[a-zA-Z][a-zA-Z0-9_\-:./]*")
PERCENT = re.compile(r"percent\((\d{1,2}(\.\d{1,8})?|100)\)")


@dataclass(frozen=True, slots=True)
class Overrides:
    """What @override makes of one field's definitions, by subgraph name."""

    unused: frozenset[str] = frozenset()
    """Overridden and left out."""
    used: frozenset[str] = frozenset()
    """Overridden and still used within the subgraph."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Labels at both the overriding and the overridden subgraph."""

    def is_overridden(self, subgraph: str) -> bool:
        """Whether another subgraph has taken the field over."""
        return subgraph in self.unused or subgraph in self.used


def field_overrides(merging: Merging, type_name: str, name: str) -> Overrides:
    """Read and check every @override on the definitions of one field."""
    sources = merging.fields(type_name, name)
    overriding = {source.name: use for source, each in sources if (use := first(each, "override"))}
    if not overriding:
        return Overrides()
    unused: set[str] = set()
    used: set[str] = set()
    labels: dict[str, str] = {}
    fields = {source.name: (source, each) for source, each in sources}
    for subgraph, use in overriding.items():
        source, each = fields[subgraph]
        target = _target(merging, type_name, source, each, use, overriding)
        if target is None:
            continue
        if target.is_external(type_name, name):
            _hint_removable(merging, type_name, source, each, target.name, "is external there")
        else:
            (used if (type_name, name) in target.usage.used else unused).add(target.name)
            _hint_overridden(merging, type_name, source, each, target)
        label = use.text("label")
        if label is not None and _valid_label(merging, type_name, source, each, label):
            labels |= {subgraph: label, target.name: label}
    return Overrides(frozenset(unused), frozenset(used), labels)


def _target(
    merging: Merging,
    type_name: str,
    source: Source,
    each: FieldDef,
    use: Application,
    overriding: Mapping[str, Application],
) -> Source | None:
    """The source whose field is overridden; None after reporting why there is none."""
    coordinate = f"{type_name}.{each.name}"
    origin = use.text("from") or ""
    parent = source.type(type_name)
    place = [(source.name, use.node)]
    if parent is not None and (parent.kind == "INTERFACE" or has(parent, "interfaceObject")):
        is_interface = parent.kind == "INTERFACE"
        kind = "an interface" if is_interface else "an @interfaceObject type"
        message = f'[{source.name}] @override cannot be used on "{coordinate}": it is a field of {kind}.'
        code = Code.OVERRIDE_ON_INTERFACE if is_interface else Code.OVERRIDE_COLLISION_WITH_ANOTHER_DIRECTIVE
        merging.diagnostics.add(code, message, place)
        return None
    target = merging.source(origin)
    if target is None:
        message = f'[{source.name}] @override of "{coordinate}" names subgraph "{origin}", which does not exist.'
        merging.diagnostics.add(Code.FROM_SUBGRAPH_DOES_NOT_EXIST, message, place)
        return None
    if origin == source.name:
        message = f'[{source.name}] @override of "{coordinate}" names its own subgraph; "from" names the other one.'
        merging.diagnostics.add(Code.OVERRIDE_FROM_SELF_ERROR, message, place)
        return None
    if origin in overriding:
        message = f'[{source.name}] "{coordinate}" is overridden from "{origin}", where it has an @override itself.'
        merging.diagnostics.add(Code.OVERRIDE_SOURCE_HAS_OVERRIDE, message, [*place, (origin, overriding[origin].node)])
        return None
    return _checked_target(merging, type_name, source, each, target)


def _checked_target(merging: Merging, type_name: str, source: Source, each: FieldDef, target: Source) -> Source | None:
    coordinate = f"{type_name}.{each.name}"
    overridden = target.field(type_name, each.name)
    if overridden is None:
        interface = _interface_object_with(merging, type_name, each.name, target)
        if interface:
            message = (
                f'[{source.name}] @override cannot take "{coordinate}" from "{target.name}", which gives it through '
                f'its @interfaceObject type "{interface}".'
            )
            code = Code.OVERRIDE_COLLISION_WITH_ANOTHER_DIRECTIVE
            merging.diagnostics.add(code, message, [(source.name, each.node)])
        else:
            _hint_removable(merging, type_name, source, each, target.name, "does not exist there any more")
        return None
    conflict = next((name for name in ("requires", "provides") if has(overridden, name)), None)
    blamed, node = target.name, overridden.node
    if source.is_external(type_name, each.name):
        conflict, blamed, node = "external", source.name, each.node
    if conflict:
        message = (
            f'[{source.name}] @override cannot be used on "{coordinate}", since the field in "{blamed}" is marked '
            f"@{conflict}."
        )
        places = [(source.name, each.node), (blamed, node)]
        merging.diagnostics.add(Code.OVERRIDE_COLLISION_WITH_ANOTHER_DIRECTIVE, message, places)
        return None
    return target


def _interface_object_with(merging: Merging, type_name: str, name: str, target: Source) -> str | None:
    interfaces = {each for _, found in merging.types(type_name) for each in found.interfaces}
    for interface in sorted(interfaces):
        found = target.type(interface)
        if found is not None and has(found, "interfaceObject") and name in found.fields:
            return interface
    return None


def _hint_removable(merging: Merging, type_name: str, source: Source, each: FieldDef, origin: str, reason: str) -> None:
    message = f'[{source.name}] The @override of "{type_name}.{each.name}" from "{origin}" can go: the field {reason}.'
    merging.diagnostics.add(Code.OVERRIDE_DIRECTIVE_CAN_BE_REMOVED, message, [(source.name, each.node)])


def _hint_overridden(merging: Merging, type_name: str, source: Source, each: FieldDef, target: Source) -> None:
    use = first(each, "override")
    coordinate = f"{type_name}.{each.name}"
    places = [(target.name, found.node) for found in [target.field(type_name, each.name)] if found]
    if use is not None and use.text("label") is not None:
        message = f'[{target.name}] "{coordinate}" is moving to "{source.name}" by label "{use.text("label")}".'
        merging.diagnostics.add(Code.OVERRIDE_MIGRATION_IN_PROGRESS, message, places)
    else:
        message = f'[{target.name}] "{coordinate}" is overridden by "{source.name}" and can be removed here.'
        merging.diagnostics.add(Code.OVERRIDDEN_FIELD_CAN_BE_REMOVED, message, places)


def _valid_label(merging: Merging, type_name: str, source: Source, each: FieldDef, label: str) -> bool:
    if LABEL.fullmatch(label) or PERCENT.fullmatch(label):
        return True
    message = (
        f'[{source.name}] The label "{label}" of the @override of "{type_name}.{each.name}" has to be "percent(x)" '
        f"with x from 0 to 100 and at most 8 decimals, or begin with a letter and go on with letters, digits and _-:./"
    )
    merging.diagnostics.add(Code.OVERRIDE_LABEL_INVALID, message, [(source.name, each.node)])
    return False
