"""Emit: a merged supergraph -> its SDL, with the join directives that tell a router who resolves what.

The order is fixed: definitions, then types by name; fields, values and members as the subgraphs bring them, subgraphs
in the order of their names. So the text is the same for any order of subgraphs.

Specifications: join v0.3 (v0.4 where an override has a label, v0.5 where @context is used), link v1.0.
"""

from collections.abc import Iterable, Iterator

from graphql.language import print_ast
from graphql.language.ast import StringValueNode
from graphql.language.block_string import print_block_string

from trifolio.composer.spec_links import join_version
from trifolio.composer.supergraph_model import (
    JoinContextArgument,
    JoinField,
    JoinType,
    MergedArgument,
    MergedField,
    MergedSupergraph,
    MergedType,
    SpecLink,
)
from trifolio.federation import JOIN_IDENTITY, JOIN_WITH_CONTEXT, LINK_IDENTITY, ROOT_TYPES, Version, version_text

KEYWORDS = {
    "OBJECT": "type",
    "INTERFACE": "interface",
    "UNION": "union",
    "ENUM": "enum",
    "INPUT_OBJECT": "input",
    "SCALAR": "scalar",
}

LINK_DEFINITIONS = (
    "directive @link(url: String, as: String, for: link__Purpose, import: [link__Import]) repeatable on SCHEMA",
    "scalar link__Import",
    '''enum link__Purpose {
  """`SECURITY` features provide metadata necessary to securely resolve fields."""
  SECURITY

  """`EXECUTION` features provide metadata necessary for operation execution."""
  EXECUTION
}''',
)


def emit(supergraph: MergedSupergraph) -> str:
    """The supergraph's SDL."""
    version = join_version(supergraph)
    parts = [
        _schema(supergraph, version),
        *_join_definitions(version),
        *LINK_DEFINITIONS,
        *supergraph.definitions,
        _graphs(supergraph),
        *(_type(supergraph.types[name]) for name in sorted(supergraph.types)),
    ]
    return "\n\n".join(parts) + "\n"


# ---- the schema and its machinery ----


def _schema(supergraph: MergedSupergraph, version: Version) -> str:
    links = [
        SpecLink(f"{LINK_IDENTITY}/v1.0"),
        SpecLink(f"{JOIN_IDENTITY}/{version_text(version)}", execution=True),
        *supergraph.links,
    ]
    directives = "".join(f"\n  {_link(link)}" for link in links) + "".join(
        f"\n  {each}" for each in supergraph.directives
    )
    roots = "\n".join(f"  {kind}: {name}" for kind, name in ROOT_TYPES.items() if name in supergraph.types)
    return f"{_description(supergraph.description)}schema{directives}\n{{\n{roots}\n}}"


def _link(link: SpecLink) -> str:
    parts = [f"url: {_string(link.url)}"]
    if link.alias:
        parts.append(f"as: {_string(link.alias)}")
    if link.security or link.execution:
        parts.append(f"for: {'SECURITY' if link.security else 'EXECUTION'}")
    if link.imports:
        parts.append(f"import: [{', '.join(link.imports)}]")
    return f"@link({', '.join(parts)})"


def _join_definitions(version: Version) -> Iterator[str]:
    field_arguments = (
        "graph: join__Graph, requires: join__FieldSet, provides: join__FieldSet, type: String, external: Boolean, "
        "override: String, usedOverridden: Boolean"
    )
    if version > (0, 3):
        field_arguments += ", overrideLabel: String"
        yield (
            "directive @join__directive(graphs: [join__Graph!], name: String!, args: join__DirectiveArguments) "
            "repeatable on SCHEMA | OBJECT | INTERFACE | FIELD_DEFINITION"
        )
    if version >= JOIN_WITH_CONTEXT:
        field_arguments += ", contextArguments: [join__ContextArgument!]"
    yield "directive @join__enumValue(graph: join__Graph!) repeatable on ENUM_VALUE"
    yield f"directive @join__field({field_arguments}) repeatable on FIELD_DEFINITION | INPUT_FIELD_DEFINITION"
    yield "directive @join__graph(name: String!, url: String!) on ENUM_VALUE"
    yield ("directive @join__implements(graph: join__Graph!, interface: String!) repeatable on OBJECT | INTERFACE")
    yield (
        "directive @join__type(graph: join__Graph!, key: join__FieldSet, extension: Boolean! = false, resolvable: "
        "Boolean! = true, isInterfaceObject: Boolean! = false) repeatable on OBJECT | INTERFACE | UNION | ENUM | "
        "INPUT_OBJECT | SCALAR"
    )
    yield "directive @join__unionMember(graph: join__Graph!, member: String!) repeatable on UNION"
    if version >= JOIN_WITH_CONTEXT:
        yield (
            "input join__ContextArgument {\n  name: String!\n  type: String!\n  context: String!\n"
            "  selection: join__FieldValue!\n}"
        )
    if version > (0, 3):
        yield "scalar join__DirectiveArguments"
    yield "scalar join__FieldSet"
    if version >= JOIN_WITH_CONTEXT:
        yield "scalar join__FieldValue"


def _graphs(supergraph: MergedSupergraph) -> str:
    lines = "\n".join(
        f"  {graph} @join__graph(name: {_string(name)}, url: {_string(url)})"
        for graph, (name, url) in supergraph.graphs.items()
    )
    return f"enum join__Graph {{\n{lines}\n}}"


# ---- types ----


def _type(each: MergedType) -> str:
    implements = f" implements {' & '.join(each.interfaces)}" if each.interfaces else ""
    directives = [
        *map(_join_type, each.joins),
        *(
            f"@join__implements(graph: {graph}, interface: {_string(name)})"
            for name, graphs in each.interfaces.items()
            for graph in graphs
        ),
        *(
            f"@join__unionMember(graph: {graph}, member: {_string(name)})"
            for name, graphs in each.members.items()
            for graph in graphs
        ),
        *each.directives,
    ]
    head = f"{_description(each.description)}{KEYWORDS[each.kind]} {each.name}{implements}"
    head += "".join(f"\n  {directive}" for directive in directives)
    if each.kind == "UNION":
        return f"{head}\n = {' | '.join(each.members)}"
    body = [_field(field) for field in each.fields.values()] + [_value(each, name) for name in each.values]
    return f"{head}\n{{\n{chr(10).join(body)}\n}}" if body else head


def _join_type(join: JoinType) -> str:
    parts = [f"graph: {join.graph}"]
    if join.key is not None:
        parts.append(f"key: {_string(join.key)}")
    if join.extension:
        parts.append("extension: true")
    if not join.resolvable:
        parts.append("resolvable: false")
    if join.interface_object:
        parts.append("isInterfaceObject: true")
    return f"@join__type({', '.join(parts)})"


def _value(each: MergedType, name: str) -> str:
    value = each.values[name]
    directives = [*(f"@join__enumValue(graph: {graph})" for graph in value.graphs), *value.directives]
    return f"{_description(value.description, '  ')}  {name} {' '.join(directives)}"


def _field(field: MergedField) -> str:
    default = f" = {field.default}" if field.default is not None else ""
    directives = "".join(f" {each}" for each in (*map(_join_field, field.joins), *field.directives))
    head = f"{_description(field.description, '  ')}  {field.name}{_arguments(field.arguments.values())}"
    return f"{head}: {field.type}{default}{directives}"


def _arguments(arguments: Iterable[MergedArgument]) -> str:
    found = list(arguments)
    if not found:
        return ""
    if not any(each.description for each in found):
        return f"({', '.join(map(_argument, found))})"
    lines = "\n".join(f"{_description(each.description, '    ')}    {_argument(each)}" for each in found)
    return f"(\n{lines}\n  )"


def _argument(each: MergedArgument) -> str:
    default = f" = {each.default}" if each.default is not None else ""
    return f"{each.name}: {each.type}{default}" + "".join(f" {directive}" for directive in each.directives)


def _join_field(join: JoinField) -> str:
    parts = [f"graph: {join.graph}"] if join.graph else []
    for name, value in (("requires", join.requires), ("provides", join.provides), ("type", join.type)):
        if value is not None:
            parts.append(f"{name}: {_string(value)}")
    if join.external:
        parts.append("external: true")
    if join.override is not None:
        parts.append(f"override: {_string(join.override)}")
    if join.used_overridden:
        parts.append("usedOverridden: true")
    if join.override_label is not None:
        parts.append(f"overrideLabel: {_string(join.override_label)}")
    if join.context_arguments:
        parts.append(f"contextArguments: [{', '.join(map(_context_argument, join.context_arguments))}]")
    return f"@join__field({', '.join(parts)})" if parts else "@join__field"


def _context_argument(each: JoinContextArgument) -> str:
    return (
        f"{{context: {_string(each.context)}, name: {_string(each.name)}, type: {_string(each.type)}, "
        f"selection: {_string(each.selection)}}}"
    )


# ---- texts ----


def _string(text: str) -> str:
    return print_ast(StringValueNode(value=text))


def _description(text: str | None, indent: str = "") -> str:
    if not text:
        return ""
    block = print_block_string(text)
    return "".join(f"{indent}{line}".rstrip() + "\n" for line in block.splitlines())
