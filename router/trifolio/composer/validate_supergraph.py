"""Rules that only the merged supergraph can break."""

from collections.abc import Mapping

from graphql import parse_const_value
from graphql.language import ConstValueNode, ListValueNode, ObjectValueNode

from trifolio.composer.authorization import Requirements, check_transitive_requirements
from trifolio.composer.diagnostics import Code
from trifolio.composer.field_sets import InvalidFieldSet, Mention, mentions, parse_selection
from trifolio.composer.inaccessible import check_inaccessible
from trifolio.composer.schema import Argument, FieldDef, TypeDef, first, has, is_list, is_non_null, item_type, nullable
from trifolio.composer.sources import Merging, Source, listed, subgraphs_listed
from trifolio.composer.supergraph_model import MergedSupergraph, MergedType
from trifolio.composer.values import misfit
from trifolio.errors import SupergraphError
from trifolio.supergraph import Supergraph


def validate_supergraph(
    merging: Merging, supergraph: MergedSupergraph, requirements: Requirements, inaccessible: str
) -> None:
    """Report what is wrong with the merged types; `inaccessible` is that directive's name in the supergraph."""
    _check_implementations(merging, supergraph)
    if merging.diagnostics.has_errors:
        return
    _check_defaults(merging, supergraph)
    _check_required_arguments(merging, supergraph)
    check_transitive_requirements(merging, requirements, supergraph.types)
    check_inaccessible(merging, supergraph.types, f"@{inaccessible}")


def read_supergraph(merging: Merging, text: str) -> Supergraph | None:
    """The supergraph as a router reads it; None after reporting where what clients see is no valid schema, as when a
    merged field no longer fits its interface."""
    try:
        supergraph = Supergraph.parse(text)
        assert supergraph.api_schema.query_type is not None
    except SupergraphError as error:
        for problem in error.problems:
            merging.diagnostics.add(Code.INVALID_GRAPHQL, f"After merging: {problem}")
        return None
    return supergraph


def _check_defaults(merging: Merging, supergraph: MergedSupergraph) -> None:
    """Report default values that lack a field which another subgraph made required."""
    for each in supergraph.types.values():
        for field in each.fields.values():
            sources = merging.fields(each.name, field.name)
            elements: list[tuple[str, str, str | None, list[tuple[Source, FieldDef | Argument]]]] = [
                (f"{each.name}.{field.name}", field.type, field.default, [(source, own) for source, own in sources])
            ]
            for name, argument in field.arguments.items():
                having = [(source, own.arguments[name]) for source, own in sources if name in own.arguments]
                elements.append((f"{each.name}.{field.name}({name}:)", argument.type, argument.default, [*having]))
            for coordinate, type_text, default, owners in elements:
                lacking = _lacking(supergraph.types, type_text, parse_const_value(default)) if default else None
                # A default that lacks it in its own subgraph is let pass, as Apollo's composition does.
                if lacking and not any(
                    own.default and _lacking(source.schema.types, own.type, own.default) for source, own in owners
                ):
                    message = (
                        f'The default value of "{coordinate}", {default}, lacks "{lacking}", which is required after '
                        "merging. Set it in the default value, or make it optional in all subgraphs."
                    )
                    places = [(source.name, own.node) for source, own in owners]
                    merging.diagnostics.add(Code.INVALID_GRAPHQL, message, places)


def _check_required_arguments(merging: Merging, supergraph: MergedSupergraph) -> None:
    """Report what a @requires selects with arguments that the subgraphs which own it cannot be sent."""
    for source in merging.sources:
        for each, one in source.schema.fields():
            use = first(one, "requires")
            try:
                selection = parse_selection(use.text("fields") or "") if use else None
            except InvalidFieldSet:
                continue
            if use is None or selection is None:
                continue
            for mention in mentions(source.schema, each, selection):
                problem = _argument_problem(merging, supergraph, mention)
                if problem:
                    message = (
                        f'[{source.name}] On "{each.name}.{one.name}", for @requires(fields: "{use.text("fields")}"): '
                        f"{problem}."
                    )
                    merging.diagnostics.add(Code.REQUIRES_INVALID_FIELDS, message, [(source.name, use.node)])


def _argument_problem(merging: Merging, supergraph: MergedSupergraph, mention: Mention) -> str | None:
    """What is wrong, after merging, with the arguments of a field that a @requires mentions."""
    parent = supergraph.types.get(mention.parent.name)
    merged = parent.fields.get(mention.field.name) if parent else None
    if merged is None:
        return None
    coordinate = f"{mention.parent.name}.{mention.field.name}"
    given = {node.name.value for node in mention.node.arguments or ()}
    owners = merging.fields(mention.parent.name, mention.field.name)
    for name in sorted(given - merged.arguments.keys()):
        lacking = subgraphs_listed(source.name for source, own in owners if name not in own.arguments)
        return f'argument "{name}" of "{coordinate}" is not in {lacking}, which may be asked for the field'
    for name, argument in merged.arguments.items():
        if name not in given and is_non_null(argument.type) and argument.default is None:
            demanding = subgraphs_listed(
                source.name
                for source, own in owners
                if name in own.arguments and is_non_null(own.arguments[name].type) and not own.arguments[name].default
            )
            return f'argument "{name}" of "{coordinate}" is left out, but it is required in {demanding}'
    for node in mention.node.arguments or ():
        for source, own in owners:
            declared = own.arguments.get(node.name.value)
            problem = misfit(node.value, declared.type, source.schema.types.get) if declared is not None else None
            if problem and not has(own, "external"):
                return (
                    f'argument "{node.name.value}" of "{coordinate}" does not suit subgraph "{source.name}": {problem}'
                )
    return None


def _lacking(
    types: Mapping[str, MergedType] | Mapping[str, TypeDef], type_text: str, value: ConstValueNode
) -> str | None:
    """The coordinate of a required input field that a value lacks."""
    type_text = nullable(type_text)
    if is_list(type_text):
        items = value.values if isinstance(value, ListValueNode) else (value,)
        found = (_lacking(types, item_type(type_text), item) for item in items)
        return next(filter(None, found), None)
    parent = types.get(type_text)
    if parent is None or parent.kind != "INPUT_OBJECT" or not isinstance(value, ObjectValueNode):
        return None
    given = {each.name.value: each.value for each in value.fields}
    for name, field in parent.fields.items():
        if name not in given and is_non_null(field.type) and field.default is None:
            return f"{parent.name}.{name}"
    inner = (_lacking(types, parent.fields[name].type, each) for name, each in given.items() if name in parent.fields)
    return next(filter(None, inner), None)


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
