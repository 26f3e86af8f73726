"""Federation 1 schemas, rewritten to say in federation 2 what they meant.

Federation 1 had no @shareable: value types and key fields could be anywhere. It demanded @external on key fields of
extensions, tolerated marks that had no effect, and ignored directives on interfaces. Each step below removes one such
thing or adds the mark that federation 2 wants. Schemas that link federation 2 pass unchanged.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from graphql.language import (
    ConstArgumentNode,
    ConstDirectiveNode,
    FieldNode,
    InlineFragmentNode,
    ListValueNode,
    NameNode,
    SelectionSetNode,
    StringValueNode,
    print_ast,
)

from trifolio.composer.diagnostics import Code, Diagnostics
from trifolio.composer.field_sets import Coordinate, InvalidFieldSet, mentioned_coordinates, mentions, parse_selection
from trifolio.composer.schema import (
    Application,
    Applications,
    FieldDef,
    SubgraphSchema,
    TypeDef,
    applications,
    first,
    has,
    named,
)
from trifolio.composer.usage import usage_of
from trifolio.federation import ROOT_TYPES

FIELD_SETS = ("key", "requires", "provides")
SUBSCRIPTION = ROOT_TYPES["subscription"]


def check_extensions(schemas: Sequence[SubgraphSchema], diagnostics: Diagnostics) -> None:
    """Report types that a federation 1 schema extends, by keyword or @extends, and that no other one defines."""
    for schema in schemas:
        for each in schema.types.values():
            if schema.is_federation_2 or not each.is_extension or each.name in ROOT_TYPES.values():
                continue
            others = (other.types.get(each.name) for other in schemas if other.name != schema.name)
            if not any(other is not None and other.defined for other in others):
                report_no_base(schema, each, diagnostics)


def report_no_base(schema: SubgraphSchema, each: TypeDef, diagnostics: Diagnostics) -> None:
    """Report an extension of a type that no subgraph defines."""
    message = (
        f'[{schema.name}] Type "{each.name}" is only extended: no subgraph defines it. Define it in one of them '
        'without "extend" (in Strawberry: without extend=True).'
    )
    diagnostics.add(Code.EXTENSION_WITH_NO_BASE, message, [(schema.name, each.node)])


def upgrade(schemas: Sequence[SubgraphSchema], diagnostics: Diagnostics) -> list[SubgraphSchema]:
    """All schemas, those of federation 1 rewritten."""
    cleaned = [schema if schema.is_federation_2 else _cleaned(schema, schemas, diagnostics) for schema in schemas]
    return [schema if schema.is_federation_2 else _with_shareable(schema, cleaned) for schema in cleaned]


def _cleaned(schema: SubgraphSchema, schemas: Sequence[SubgraphSchema], diagnostics: Diagnostics) -> SubgraphSchema:
    schema = _map_types(schema, _with_string_field_sets)
    schema = _map_types(schema, _without_marks_on_interfaces)
    schema = _without_external_keys(schema, schemas)
    schema = _map_types(schema, _as_definition)
    schema = _without_inactive_field_sets(schema)
    schema = _without_unused_externals(schema, diagnostics)
    return _without_tags_on_externals(schema)


def _map_types(schema: SubgraphSchema, change: Callable[[TypeDef], TypeDef]) -> SubgraphSchema:
    return replace(schema, types={name: change(each) for name, each in schema.types.items()})


def _map_fields(each: TypeDef, change: Callable[[FieldDef], FieldDef]) -> TypeDef:
    return replace(each, fields={name: change(one) for name, one in each.fields.items()})


def _without(uses: Applications, *names: str) -> Applications:
    return tuple(use for use in uses if not (use.spec and use.name in names))


# ---- the steps ----


def _with_string_field_sets(each: TypeDef) -> TypeDef:
    """`fields: ["id", "sku"]` becomes `fields: "id sku"`."""

    def rewrite(uses: Applications) -> Applications:
        return tuple(_with_string(use) if use.spec and use.name in FIELD_SETS else use for use in uses)

    changed = _map_fields(each, lambda one: replace(one, directives=rewrite(one.directives)))
    return replace(changed, directives=rewrite(each.directives))


def _with_string(use: Application) -> Application:
    value = use.argument("fields")
    if not isinstance(value, ListValueNode):
        return use
    texts = [each.value for each in value.values if isinstance(each, StringValueNode)]
    return _with_fields(use, " ".join(texts)) if len(texts) == len(value.values) else use


def _with_fields(use: Application, text: str) -> Application:
    argument = ConstArgumentNode(name=NameNode(value="fields"), value=StringValueNode(value=text))
    others = tuple(each for each in use.node.arguments or () if each.name.value != "fields")
    node = ConstDirectiveNode(name=use.node.name, arguments=(argument, *others), loc=use.node.loc)
    return replace(use, node=node)


def _without_marks_on_interfaces(each: TypeDef) -> TypeDef:
    """Federation 1 gave directives on interfaces, and @external on whole types, no meaning."""
    each = replace(each, directives=_without(each.directives, "external"))
    if each.kind == "OBJECT":
        return each
    each = replace(each, directives=_without(each.directives, "key"))
    return _map_fields(
        each, lambda one: replace(one, directives=_without(one.directives, "external", "requires", "provides"))
    )


def _without_external_keys(schema: SubgraphSchema, schemas: Sequence[SubgraphSchema]) -> SubgraphSchema:
    """Key fields of an extension are resolved by it, whatever their mark says."""
    keys: set[Coordinate] = set()
    for each in schema.types.values():
        if each.kind != "OBJECT" or not each.is_extension:
            continue
        owners = [(schema, each)] if has(each, "key") else []
        if not owners:
            # An extension without a key stands for the entity under the keys of the subgraphs that define it.
            owners = [(other, found) for other in schemas if (found := other.types.get(each.name))]
        for owner, found in owners:
            for key in applications(found, "key"):
                keys |= set(mentioned_coordinates(owner, found, key, with_implementations=False))
    return _unmarked(schema, keys)


def _as_definition(each: TypeDef) -> TypeDef:
    """In federation 1 every subgraph but the owner extended a type; it means no more than to define a part of it."""
    return each if each.defined else replace(each, defined=True, extended_in=frozenset())


def _unmarked(schema: SubgraphSchema, coordinates: set[Coordinate]) -> SubgraphSchema:
    def change(each: TypeDef) -> TypeDef:
        return _map_fields(
            each,
            lambda one: (
                replace(one, directives=_without(one.directives, "external"))
                if (each.name, one.name) in coordinates
                else one
            ),
        )

    return _map_types(schema, change)


def _without_inactive_field_sets(schema: SubgraphSchema) -> SubgraphSchema:
    """Federation 1 ignored, in @requires and @provides, fields that are not external."""
    external = usage_of(schema).external

    def change_field(each: TypeDef, one: FieldDef) -> FieldDef:
        uses: list[Application] = []
        for use in one.directives:
            target: TypeDef | None = each
            if use.spec and use.name == "provides":
                target = schema.types.get(named(one.type))
                if target is None or not target.is_composite:
                    continue
            if not (use.spec and use.name in ("requires", "provides")) or target is None:
                uses.append(use)
                continue
            kept = _active_text(schema, target, use.text("fields"), external)
            if kept is not None:
                uses.append(_with_fields(use, kept) if kept != use.text("fields") else use)
        return replace(one, directives=tuple(uses))

    return _map_types(schema, lambda each: _map_fields(each, lambda one: change_field(each, one)))


def _active_text(
    schema: SubgraphSchema, target: TypeDef, text: str | None, external: frozenset[Coordinate]
) -> str | None:
    """The part of a field set that had an effect; None where there is none, the text itself where it is invalid."""
    if text is None:
        return text
    try:
        selection = parse_selection(text)
    except InvalidFieldSet:
        return text
    problems: list[str] = []
    list(mentions(schema, target, selection, on_problem=problems.append))
    if problems:
        return text
    active = _active(schema, target, selection, external)
    if active is None:
        return None
    printed = " ".join(print_ast(active).split())
    return text if active is selection else printed.removeprefix("{").removesuffix("}").strip()


def _active(
    schema: SubgraphSchema, target: TypeDef, selection: SelectionSetNode, external: frozenset[Coordinate]
) -> SelectionSetNode | None:
    kept: list[FieldNode | InlineFragmentNode] = []
    for node in selection.selections:
        changed = _active_node(schema, target, node, external)
        if changed is not None:
            kept.append(changed)
    if not kept:
        return None
    if len(kept) == len(selection.selections) and all(a is b for a, b in zip(kept, selection.selections, strict=True)):
        return selection
    return SelectionSetNode(selections=tuple(kept))


def _active_node(
    schema: SubgraphSchema, target: TypeDef, node: object, external: frozenset[Coordinate]
) -> FieldNode | InlineFragmentNode | None:
    if isinstance(node, FieldNode):
        found = target.fields.get(node.name.value)
        if (target.name, node.name.value) in external:
            return node
        below = schema.types.get(named(found.type)) if found else None
        if node.selection_set is None or below is None:
            return None
        inner = _active(schema, below, node.selection_set, external)
        if inner is None or inner is node.selection_set:
            return node if inner else None
        return FieldNode(name=node.name, alias=node.alias, arguments=node.arguments, selection_set=inner)
    if isinstance(node, InlineFragmentNode):
        name = node.type_condition.name.value if node.type_condition else target.name
        inner = _active(schema, schema.types[name], node.selection_set, external)
        if inner is None or inner is node.selection_set:
            return node if inner else None
        return InlineFragmentNode(type_condition=node.type_condition, selection_set=inner)
    return None


def _without_unused_externals(schema: SubgraphSchema, diagnostics: Diagnostics) -> SubgraphSchema:
    """Fields that are external and used nowhere said nothing; nor did types that had nothing else."""
    usage = usage_of(schema)
    unused = usage.external - usage.used
    types: dict[str, TypeDef] = {}
    for name, each in schema.types.items():
        fields = {key: one for key, one in each.fields.items() if (name, key) not in unused}
        if fields or not each.fields:
            types[name] = replace(each, fields=fields)
        elif _is_referred_to(schema, name):
            message = (
                f'[{schema.name}] Type "{name}" has only fields that are @external and unused, so nothing would be '
                "left of it. Remove the type, or the marks of fields that the subgraph resolves."
            )
            diagnostics.add(Code.TYPE_WITH_ONLY_UNUSED_EXTERNAL, message, [(schema.name, each.node)])
    return replace(schema, types=types)


def _is_referred_to(schema: SubgraphSchema, name: str) -> bool:
    return any(
        name in each.members or name in each.interfaces or any(named(one.type) == name for one in each.fields.values())
        for each in schema.types.values()
    )


def _without_tags_on_externals(schema: SubgraphSchema) -> SubgraphSchema:
    external = usage_of(schema).external

    def change(each: TypeDef) -> TypeDef:
        return _map_fields(
            each,
            lambda one: (
                replace(one, directives=_without(one.directives, "tag")) if (each.name, one.name) in external else one
            ),
        )

    return _map_types(schema, change)


# ---- sharing ----


def _with_shareable(schema: SubgraphSchema, schemas: Iterable[SubgraphSchema]) -> SubgraphSchema:
    """Marks what federation 1 let several subgraphs resolve: value types, and fields that others resolve too."""
    others = [(other, usage_of(other)) for other in schemas if other.name != schema.name]
    usage = usage_of(schema)

    def resolved_elsewhere(type_name: str, name: str) -> bool:
        return any(
            (found := other.types.get(type_name)) is not None
            and name in found.fields
            and not theirs.is_fully_external((type_name, name))
            for other, theirs in others
        )

    def change(each: TypeDef) -> TypeDef:
        if each.kind != "OBJECT" or each.name == SUBSCRIPTION:
            return each
        entity = has(each, "key") or each.name in ROOT_TYPES.values()
        known_elsewhere = any(each.name in other.types for other, _ in others)

        def mark(one: FieldDef) -> FieldDef:
            coordinate = (each.name, one.name)
            if coordinate in usage.shareable or first(one, "shareable"):
                return one
            # A value type is marked where it is defined, and its extensions are declarations of their own.
            extension = one.declaration in each.extended_in
            shared = resolved_elsewhere(*coordinate) if entity else known_elsewhere and not extension
            return replace(one, directives=(*one.directives, _shareable())) if shared else one

        return _map_fields(each, mark)

    return _map_types(schema, change)


def _shareable() -> Application:
    return Application("shareable", spec=True, node=ConstDirectiveNode(name=NameNode(value="shareable"), arguments=()))
