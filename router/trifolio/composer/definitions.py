"""Definitions that a subgraph writes of directives and types which a specification owns.

Servers may print them, and may narrow them: fewer locations, not repeatable, an optional argument made required. A
definition that says something else than the specification would change what the schema means, so it is refused.
"""

from collections.abc import Iterator

from graphql.language import (
    DefinitionNode,
    DirectiveDefinitionNode,
    DocumentNode,
    EnumTypeDefinitionNode,
    InputValueDefinitionNode,
    ScalarTypeDefinitionNode,
    TypeDefinitionNode,
    print_ast,
)

from trifolio.composer.diagnostics import Code, Diagnostics
from trifolio.composer.links import Links, is_standalone
from trifolio.composer.schema import is_list, is_non_null, item_type, nullable
from trifolio.federation import (
    BUILT_IN_SCALARS,
    FEDERATION_1,
    FEDERATION_IDENTITY,
    FEDERATION_LATEST,
    LINK_DIRECTIVE,
    LINK_IDENTITY,
    LINK_TYPES,
    SCALARS,
    ArgumentSpec,
    DirectiveSpec,
    directives_of,
    scalars_of,
)

LEGACY_FIELD_SET = "_FieldSet"
LOOSE_DIRECTIVES = frozenset({"key", "requires", "provides"})
LOOSE_FIELD_SETS = frozenset({"String", "FieldSet", LEGACY_FIELD_SET})


def without_loose_definitions(document: DocumentNode, links: Links) -> DocumentNode:
    """A federation 1 document without definitions of its directives that libraries of that time print too loosely.

    They have no arguments, or one nullable field set; what they are meant to say is known.
    """
    if links.federation is not None:
        return document
    kept = tuple(node for node in document.definitions if not _is_loose(node))
    return document if len(kept) == len(document.definitions) else DocumentNode(definitions=kept)


def _is_loose(node: DefinitionNode) -> bool:
    if not isinstance(node, DirectiveDefinitionNode) or node.name.value not in LOOSE_DIRECTIVES:
        return False
    arguments = [(each.name.value, print_ast(each.type)) for each in node.arguments or ()]
    return not arguments or (len(arguments) == 1 and arguments[0] in {("fields", each) for each in LOOSE_FIELD_SETS})


def check_definitions(subgraph: str, document: DocumentNode, links: Links, diagnostics: Diagnostics) -> bool:
    """Report every definition that contradicts its specification; True where there is none."""
    specs = dict(specified_directives(links))
    scalars = {
        node.name.value for node in document.definitions if isinstance(node, ScalarTypeDefinitionNode)
    } - BUILT_IN_SCALARS
    valid = True
    for node in document.definitions:
        if isinstance(node, DirectiveDefinitionNode) and node.name.value in specs:
            problem = _directive_problem(node, specs[node.name.value], scalars)
            code = Code.DIRECTIVE_DEFINITION_INVALID
            subject = f"@{node.name.value}"
        elif isinstance(node, TypeDefinitionNode) and links.understood_type(node.name.value) is not None:
            problem = _type_problem(node, links)
            code = Code.TYPE_DEFINITION_INVALID
            subject = node.name.value
        else:
            continue
        if problem:
            message = (
                f"[{subgraph}] The definition of {subject} differs from its specification: {problem}. "
                f"Remove the definition: composition knows it."
            )
            diagnostics.add(code, message, [(subgraph, node)])
            valid = False
    return valid


def specified_directives(links: Links) -> Iterator[tuple[str, DirectiveSpec]]:
    """Every directive that a specification gives this schema, by its name here, with the names of its types here."""
    if links.federation is None:
        for spec in directives_of(FEDERATION_1).values():
            yield spec.name, _with_local_types(spec, {"FieldSet": LEGACY_FIELD_SET})
    for link in links.links:
        names = {name: link.local_type(name) for name in (*SCALARS, *LINK_TYPES)}
        if link.identity == FEDERATION_IDENTITY:
            for spec in directives_of(link.version).values():
                yield link.local_directive(spec.name), _with_local_types(spec, names)
        elif link.identity == LINK_IDENTITY:
            yield link.local_directive("link"), _with_local_types(LINK_DIRECTIVE, names)
        else:
            for spec in directives_of(FEDERATION_LATEST).values():
                if links.understood_directive(link.local_directive(spec.name)) == spec.name and _owns(
                    link.feature, spec
                ):
                    yield link.local_directive(spec.name), _with_local_types(spec, names)


def specified_scalars(links: Links) -> Iterator[str]:
    """The specifications' scalars by their names in this schema."""
    if links.federation is None:
        yield LEGACY_FIELD_SET
    for link in links.links:
        if link.identity == FEDERATION_IDENTITY:
            yield from (link.local_type(name) for name in scalars_of(link.version))
        elif link.identity == LINK_IDENTITY:
            yield link.local_type("Import")
        elif is_standalone(link):
            yield from (link.local_type(name) for name in ("Scope", "Policy", "ContextFieldValue"))


def _owns(feature: str, spec: DirectiveSpec) -> bool:
    return spec.feature == feature


def _with_local_types(spec: DirectiveSpec, names: dict[str, str]) -> DirectiveSpec:
    arguments = []
    for argument in spec.arguments:
        type_text = argument.type
        base = type_text.strip("[]!")
        if base in names:
            type_text = type_text.replace(base, names[base])
        arguments.append(ArgumentSpec(argument.name, type_text, argument.default))
    return DirectiveSpec(spec.name, tuple(arguments), spec.locations, spec.repeatable, spec.since, spec.feature)


# ---- comparing ----


def _directive_problem(node: DirectiveDefinitionNode, spec: DirectiveSpec, scalars: set[str]) -> str | None:
    if node.repeatable and not spec.repeatable:
        return "it must not be repeatable"
    for location in node.locations:
        if location.value not in spec.locations:
            return f"it cannot be used on {location.value}, only on {', '.join(spec.locations)}"
    given = {argument.name.value: argument for argument in node.arguments or ()}
    expected = {argument.name: argument for argument in spec.arguments}
    for name, argument in expected.items():
        if name in given:
            problem = _argument_problem(given[name], argument, scalars)
            if problem:
                return problem
        elif is_non_null(argument.type) and argument.default is None:
            return f'it lacks the argument "{argument}"'
    unknown = next((name for name in given if name not in expected), None)
    return f'it has no argument "{unknown}" there' if unknown else None


def _argument_problem(given: InputValueDefinitionNode, expected: ArgumentSpec, scalars: set[str]) -> str | None:
    actual = print_ast(given.type)
    # An optional argument may be demanded.
    compared = actual if is_non_null(expected.type) else nullable(actual)
    if not _redefines(expected.type, compared, scalars):
        return f'the argument "{expected.name}" is of type "{expected.type}", not "{actual}"'
    default = print_ast(given.default_value) if given.default_value else None
    if is_non_null(actual) or default == expected.default:
        return None
    if expected.default is None:
        return f'the argument "{expected.name}" has no default value there, but here it is {default}'
    here = "here there is none" if default is None else f"here it is {default}"
    return f'the default value of the argument "{expected.name}" is {expected.default} there, but {here}'


def _redefines(expected: str, actual: str, scalars: set[str]) -> bool:
    """Whether `actual` may stand for `expected`: a specification's scalar may be written as any type but a scalar."""
    if expected == actual:
        return True
    if is_non_null(expected):
        return is_non_null(actual) and _redefines(nullable(expected), nullable(actual), scalars)
    if is_list(expected):
        return is_list(actual) and _redefines(item_type(expected), item_type(actual), scalars)
    return expected not in BUILT_IN_SCALARS and actual.strip("[]!") not in scalars


def _type_problem(node: TypeDefinitionNode, links: Links) -> str | None:
    found = links.type(node.name.value)
    expects_enum = found is not None and found[1] == "Purpose"
    if expects_enum:
        return None if isinstance(node, EnumTypeDefinitionNode) else "it is an enum"
    return None if isinstance(node, ScalarTypeDefinitionNode) else "it is a scalar"
