"""What one subgraph's directives make of each of its fields: external, provided, shareable, used.

`@external` has more than one meaning in federation. A field that an extension marks external and uses in its own @key
is resolved there all the same (federation 1 demanded the mark); one that some @provides names is resolved on that path;
all others are only known about.
"""

from dataclasses import dataclass

from trifolio.composer.field_sets import (
    Coordinate,
    InvalidFieldSet,
    mentioned_coordinates,
    mentions,
    parse_selection,
)
from trifolio.composer.schema import SubgraphSchema, TypeDef, applications, first, has, named


@dataclass(frozen=True, slots=True)
class Usage:
    """Sets of field coordinates of one subgraph."""

    external: frozenset[Coordinate]
    """Marked @external, themselves or by their type, and not resolved all the same."""
    provided: frozenset[Coordinate]
    """Named by some @provides."""
    shareable: frozenset[Coordinate]
    """Marked @shareable, themselves or by their type's declaration, or named by some @key, or external and named by
    some @provides."""
    used: frozenset[Coordinate]
    """Named by some @key, @requires, @provides or @fromContext, or demanded by an interface."""

    def is_fully_external(self, coordinate: Coordinate) -> bool:
        """External, and resolved on no path."""
        return coordinate in self.external and coordinate not in self.provided


def usage_of(schema: SubgraphSchema) -> Usage:
    """The usage of a subgraph's fields."""
    keys: set[Coordinate] = set()
    resolved_keys: set[Coordinate] = set()
    for each in schema.objects_and_interfaces():
        for key in applications(each, "key"):
            keys |= set(mentioned_coordinates(schema, each, key, with_implementations=True))
            if key.declaration in each.extended_in or has(each, "extends"):
                resolved_keys |= set(mentioned_coordinates(schema, each, key, with_implementations=False))
    provided, required = _provided_and_required(schema)
    external = frozenset(_marked_external(schema, resolved_keys))
    return Usage(
        external=external,
        provided=frozenset(provided),
        shareable=frozenset(_shareable(schema) | keys | (provided & external)),
        used=frozenset(keys | provided | required | _from_context(schema) | _demanded_by_interfaces(schema)),
    )


def _marked_external(schema: SubgraphSchema, resolved_keys: set[Coordinate]) -> set[Coordinate]:
    return {
        (each.name, one.name)
        for each, one in schema.fields()
        if (has(one, "external") and (each.name, one.name) not in resolved_keys)
        or (has(each, "external") and each.kind == "OBJECT" and (each.name, one.name) not in resolved_keys)
    }


def _shareable(schema: SubgraphSchema) -> set[Coordinate]:
    found: set[Coordinate] = set()
    for each in schema.types.values():
        if each.kind != "OBJECT":
            continue
        declarations = {use.declaration for use in applications(each, "shareable")}
        found |= {
            (each.name, one.name)
            for one in each.fields.values()
            if one.declaration in declarations or has(one, "shareable")
        }
    return found


def _provided_and_required(schema: SubgraphSchema) -> tuple[set[Coordinate], set[Coordinate]]:
    provided: set[Coordinate] = set()
    required: set[Coordinate] = set()
    for each, one in schema.fields():
        requires = first(one, "requires")
        if requires:
            required |= set(mentioned_coordinates(schema, each, requires, with_implementations=True))
        provides = first(one, "provides")
        target = schema.types.get(named(one.type))
        if provides and target is not None and target.is_composite:
            provided |= set(mentioned_coordinates(schema, target, provides, with_implementations=True))
    return provided, required


def _demanded_by_interfaces(schema: SubgraphSchema) -> set[Coordinate]:
    found: set[Coordinate] = set()
    for each in schema.types.values():
        if each.kind == "OBJECT":
            for interface in each.interfaces:
                demanded = schema.types.get(interface)
                names = demanded.fields.keys() & each.fields.keys() if demanded else set()
                found |= {(each.name, name) for name in names}
    return found


def contexts_of(schema: SubgraphSchema) -> dict[str, list[TypeDef]]:
    """The contexts that a subgraph sets, and the types that set each."""
    found: dict[str, list[TypeDef]] = {}
    for each in schema.types.values():
        for use in applications(each, "context"):
            found.setdefault(use.text("name") or "", []).append(each)
    return found


def split_context_value(value: str) -> tuple[str | None, str]:
    """`$user { name }` -> ("user", " { name }"); the context is None where the value names none."""
    text = value.lstrip()
    if not text.startswith("$"):
        return None, text
    length = next((index for index, sign in enumerate(text[1:], 1) if not (sign.isalnum() or sign == "_")), len(text))
    return text[1:length] or None, text[length:]


def _from_context(schema: SubgraphSchema) -> set[Coordinate]:
    contexts = contexts_of(schema)
    found: set[Coordinate] = set()
    for _, one in schema.fields():
        for argument in one.arguments.values():
            use = first(argument, "fromContext")
            context, text = split_context_value(use.text("field") or "") if use else (None, "")
            for parent in contexts.get(context, []) if context else []:
                try:
                    selection = parse_selection(text)
                except InvalidFieldSet:
                    continue
                found |= {(each.parent.name, each.field.name) for each in mentions(schema, parent, selection)}
    return found
