"""The rules for the field sets of @key, @requires and @provides within one subgraph."""

from collections.abc import Iterator
from functools import lru_cache

from graphql.language import FieldNode, InlineFragmentNode, SelectionSetNode, print_ast

from trifolio.composer.diagnostics import Code, Diagnostics
from trifolio.composer.field_sets import InvalidFieldSet, Mention, mentions, parse_selection
from trifolio.composer.schema import Application, SubgraphSchema, TypeDef, applications, first, has, named
from trifolio.composer.usage import Usage
from trifolio.federation import BUILT_IN_DIRECTIVES, FEDERATION_1

KEYS_ON_INTERFACES_SINCE = (2, 3)


def check_keys(schema: SubgraphSchema, usage: Usage, diagnostics: Diagnostics) -> None:
    """Report keys that no router could use."""
    for each in schema.objects_and_interfaces():
        for key in applications(each, "key"):
            if each.kind == "INTERFACE" and FEDERATION_1 < schema.version < KEYS_ON_INTERFACES_SINCE:
                message = (
                    f'[{schema.name}] @key on interface "{each.name}" needs federation v2.3 or later; link it in the '
                    "schema (in Strawberry: federation_version)."
                )
                diagnostics.add(Code.KEY_UNSUPPORTED_ON_INTERFACE, message, [(schema.name, key.node)])
            for mention in _checked_mentions(schema, each, key, each.name, diagnostics):
                _check_key_field(schema, each, key, mention, diagnostics)


def _check_key_field(
    schema: SubgraphSchema, each: TypeDef, key: Application, mention: Mention, diagnostics: Diagnostics
) -> None:
    _check_key_types(schema, each.name, key, [mention], diagnostics)
    if mention.field.arguments:
        message = f"{_key_field(schema, each.name, key, mention)} takes arguments, which a key field cannot."
        diagnostics.add(Code.KEY_FIELDS_HAS_ARGS, message, [(schema.name, key.node)])


def _key_field(schema: SubgraphSchema, type_name: str, key: Application, mention: Mention) -> str:
    coordinate = f"{mention.parent.name}.{mention.field.name}"
    return f'[{schema.name}] On "{type_name}", for @key(fields: "{key.text("fields")}"): field "{coordinate}"'


def _check_key_types(
    schema: SubgraphSchema, type_name: str, key: Application, found: list[Mention], diagnostics: Diagnostics
) -> bool:
    """Report fields of abstract types in a key; True where there is one."""
    abstract = False
    for mention in found:
        target = schema.types.get(named(mention.field.type))
        if target is not None and target.kind in ("UNION", "INTERFACE"):
            kind = target.kind.lower()
            message = f"{_key_field(schema, type_name, key, mention)} is of {kind} type, which a key cannot have."
            diagnostics.add(Code.KEY_FIELDS_SELECT_INVALID_TYPE, message, [(schema.name, key.node)])
            abstract = True
    return abstract


def check_requires(schema: SubgraphSchema, usage: Usage, diagnostics: Diagnostics) -> None:
    """Report @requires whose fields do not come from other subgraphs."""
    for each, one in schema.fields():
        use = first(one, "requires")
        if use is None:
            continue
        if each.kind == "INTERFACE":
            message = f'[{schema.name}] @requires cannot be used on interface field "{each.name}.{one.name}".'
            diagnostics.add(Code.REQUIRES_UNSUPPORTED_ON_INTERFACE, message, [(schema.name, use.node)])
        found = _checked_mentions(schema, each, use, f"{each.name}.{one.name}", diagnostics)
        _check_external(schema, usage, use, found, f"{each.name}.{one.name}", diagnostics)


def check_provides(schema: SubgraphSchema, usage: Usage, diagnostics: Diagnostics) -> None:
    """Report @provides that cannot provide what they name."""
    for each, one in schema.fields():
        use = first(one, "provides")
        if use is None:
            continue
        coordinate = f"{each.name}.{one.name}"
        target = schema.types.get(named(one.type))
        if target is None or not target.is_composite:
            message = (
                f'[{schema.name}] @provides cannot be used on "{coordinate}" of type "{one.type}": only an object, '
                "interface or union has fields to provide."
            )
            diagnostics.add(Code.PROVIDES_ON_NON_OBJECT_FIELD, message, [(schema.name, use.node)])
            continue
        if has(one, "external"):
            message = (
                f'[{schema.name}] Field "{coordinate}" is marked @provides and @external: only a field that the '
                "subgraph resolves can provide something."
            )
            diagnostics.add(Code.EXTERNAL_COLLISION_WITH_ANOTHER_DIRECTIVE, message, [(schema.name, use.node)])
        if each.kind == "INTERFACE":
            message = f'[{schema.name}] @provides cannot be used on interface field "{coordinate}".'
            diagnostics.add(Code.PROVIDES_UNSUPPORTED_ON_INTERFACE, message, [(schema.name, use.node)])
        found = _checked_mentions(schema, target, use, coordinate, diagnostics)
        for mention in found:
            if mention.field.arguments:
                message = (
                    f'[{schema.name}] On "{coordinate}", for @provides: field '
                    f'"{mention.parent.name}.{mention.field.name}" takes arguments, which a provided field cannot.'
                )
                diagnostics.add(Code.PROVIDES_FIELDS_HAS_ARGS, message, [(schema.name, use.node)])
        _check_external(schema, usage, use, found, coordinate, diagnostics)


# ---- what they share ----


def _checked_mentions(
    schema: SubgraphSchema, parent: TypeDef, use: Application, coordinate: str, diagnostics: Diagnostics
) -> list[Mention]:
    """The fields that a field set mentions; empty after reporting that it cannot be used."""
    kind = use.name.upper()
    where = f'[{schema.name}] On "{coordinate}", for @{use.name}'
    place = [(schema.name, use.node)]
    text = use.text("fields")
    if text is None:
        value = use.argument("fields")
        given = print_ast(value) if value else "nothing"
        message = f'{where}: "fields" has to be a string of field names, found {given}.'
        diagnostics.add(Code[f"{kind}_INVALID_FIELDS_TYPE"], message, place)
        return []
    problems: list[str] = []
    found: list[Mention] = []
    try:
        selection = parse_selection(text)
    except InvalidFieldSet as error:
        problems.append(str(error))
    else:
        directive, known = next(_directives(schema, selection), ("", True))
        if directive and not known:
            problems.append(f"unknown directive {directive}")
        elif directive:
            message = f'{where}(fields: "{text}"): directives such as {directive} have no meaning in it.'
            diagnostics.add(Code[f"{kind}_DIRECTIVE_IN_FIELDS_ARG"], message, place)
            return []
        found = list(mentions(schema, parent, selection, on_problem=problems.append))
    if problems and use.name == "key" and _check_key_types(schema, coordinate, use, found, diagnostics):
        return []
    for problem in problems[:1]:
        hint = " Field names are those of the schema, in camelCase." if "Cannot query field" in problem else ""
        message = f'{where}(fields: "{text}"): {problem}.{hint}'
        diagnostics.add(Code[f"{kind}_INVALID_FIELDS"], message, place)
    return [] if problems else found


def _directives(schema: SubgraphSchema, selection: SelectionSetNode) -> Iterator[tuple[str, bool]]:
    """Directives in a field set, and whether the schema knows each."""
    for node in selection.selections:
        for directive in node.directives or ():
            name = directive.name.value
            yield print_ast(directive), name in BUILT_IN_DIRECTIVES or name in schema.directives
        if isinstance(node, FieldNode | InlineFragmentNode) and node.selection_set:
            yield from _directives(schema, node.selection_set)


def _check_external(
    schema: SubgraphSchema,
    usage: Usage,
    use: Application,
    found: list[Mention],
    coordinate: str,
    diagnostics: Diagnostics,
) -> None:
    """Leaves of @requires and @provides have to be external, or stand below a field that is."""
    for mention in found:
        if mention.node.selection_set is not None:
            continue
        if any(_is_external(schema, usage, each) for each in (*mention.path, mention)):
            continue
        name = f"{mention.parent.name}.{mention.field.name}"
        message = (
            f'[{schema.name}] On "{coordinate}", for @{use.name}(fields: "{use.text("fields")}"): field "{name}" is '
            "not marked @external, so the subgraph resolves it itself. Mark it (in Strawberry: "
            f"strawberry.federation.field(external=True)), or take it out of @{use.name}."
        )
        code = Code[f"{use.name.upper()}_FIELDS_MISSING_EXTERNAL"]
        diagnostics.add(code, message, [(schema.name, use.node)])


def _is_external(schema: SubgraphSchema, usage: Usage, mention: Mention) -> bool:
    name = mention.field.name
    if (mention.parent.name, name) in usage.external:
        return True
    return (
        mention.node.selection_set is not None
        and mention.parent.kind == "INTERFACE"
        and any((each, name) in usage.external for each in schema.runtime_types(mention.parent.name))
    )


@lru_cache(maxsize=4096)
def key_selection(text: str) -> str:
    """A key's field set in one order, so that equal keys compare equal."""
    try:
        return _sorted_text(parse_selection(text))
    except InvalidFieldSet:
        return text


def _sorted_text(selection: SelectionSetNode) -> str:
    parts = []
    for node in selection.selections:
        head = node.name.value if isinstance(node, FieldNode) else print_ast(node).partition("{")[0].strip()
        below = getattr(node, "selection_set", None)
        parts.append(f"{head} {{{_sorted_text(below)}}}" if below else head)
    return " ".join(sorted(parts))
