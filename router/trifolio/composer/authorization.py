"""Access requirements across types: interfaces demand what their implementations demand, implementations demand what
an interface object adds, and a field that reads data, by @requires or @fromContext, demands at least what that data
demands.

Requirements of several places are demanded together (see `merge_directives.conjunction`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from graphql.language import FieldNode, InlineFragmentNode, SelectionSetNode

from trifolio.composer.diagnostics import Code
from trifolio.composer.field_sets import InvalidFieldSet, parse_selection
from trifolio.composer.merge_directives import (
    AUTHORIZATION,
    Clauses,
    Composed,
    clauses_of_uses,
    conjunction,
    merged_requirement,
)
from trifolio.composer.schema import Application, Applications, FieldDef, TypeDef, first, named
from trifolio.composer.sources import Merging, Source
from trifolio.composer.supergraph_model import MergedType
from trifolio.composer.usage import contexts_of, split_context_value

Types = Mapping[str, MergedType]
Gathered = Mapping[str, tuple[Application, ...]]
"""For each authorization directive, the applications that an element answers to."""


@dataclass(frozen=True, slots=True)
class Requirements:
    """What every type and field of the supergraph demands."""

    types: Mapping[str, Gathered]
    fields: Mapping[tuple[str, str], Gathered]


def requirements_of(merging: Merging, types: Types) -> Requirements:
    """Gather the requirements of all types and fields, those that they take over included."""
    own_types = {
        name: _gather([found.directives for _, found in merging.types(name)])
        for name, each in types.items()
        if each.kind != "INTERFACE"
    }
    own_fields = {
        (name, field): _gather(_field_applications(merging, each, field))
        for name, each in types.items()
        if each.kind in ("OBJECT", "INTERFACE")
        for field in each.fields
    }
    for name, each in types.items():
        if each.kind == "INTERFACE":
            implementing = [one for one in types.values() if one.kind == "OBJECT" and name in one.interfaces]
            own_types[name] = _joined(own_types[one.name] for one in implementing)
            for field in each.fields:
                below = [own_fields[one.name, field] for one in implementing if field in one.fields]
                own_fields[name, field] = _joined([own_fields[name, field], *below])
    return Requirements(own_types, own_fields)


def _field_applications(merging: Merging, each: MergedType, field: str) -> list[Applications]:
    """The directives of a field in all subgraphs that resolve it, interface objects included."""
    owners = [each.name, *(each.interfaces if each.kind == "OBJECT" else ())]
    found: list[Applications] = []
    for owner in owners:
        sources = merging.types(owner) if owner == each.name else merging.interface_objects(owner)
        found += [
            declared.fields[field].directives
            for source, declared in sources
            if field in declared.fields and not source.is_external(owner, field)
        ]
    return found


def _gather(lists: Iterable[Applications]) -> Gathered:
    uses = [use for each in lists for use in each if use.spec]
    return {name: tuple(use for use in uses if use.name == name) for name in AUTHORIZATION}


def _joined(parts: Iterable[Gathered]) -> Gathered:
    given = list(parts)
    return {name: tuple(dict.fromkeys(use for part in given for use in part[name])) for name in AUTHORIZATION}


def with_inherited_requirements(requirements: Requirements, composed: Composed, types: Types) -> dict[str, MergedType]:
    """The types, with the directives of all that they answer to."""
    result = {}
    for name, each in types.items():
        fields = {
            field: replace(
                one, directives=_with_requirements(one.directives, requirements.fields.get((name, field)), composed)
            )
            for field, one in each.fields.items()
        }
        directives = _with_requirements(each.directives, requirements.types.get(name), composed)
        result[name] = replace(each, fields=fields, directives=directives)
    return result


def _with_requirements(texts: tuple[str, ...], gathered: Gathered | None, composed: Composed) -> tuple[str, ...]:
    if gathered is None or not any(gathered.values()):
        return texts
    local = {name: composed.names[name] for name in AUTHORIZATION}
    kept = [text for text in texts if text.partition("(")[0].removeprefix("@") not in local.values()]
    added = [merged_requirement(local[name], name, uses) for name, uses in gathered.items() if uses]
    return (*kept, *added)


# ---- what @requires leads to ----


def check_transitive_requirements(merging: Merging, requirements: Requirements, types: Types) -> None:
    """Report fields that read data, by @requires or @fromContext, which demands more than the field itself does."""
    for source in merging.sources:
        for each, one in source.schema.fields():
            if each.name not in types or one.name not in types[each.name].fields:
                continue
            given = [requirements.types.get(each.name), requirements.fields.get((each.name, one.name))]
            for parent, selection, use in _read_by(source, each, one):
                for needed, coordinate in _demands(requirements, types, parent, selection):
                    lacking = [name for name in AUTHORIZATION if not _covers(given, needed, name)]
                    if lacking:
                        directives = " and ".join(f"@{name}" for name in lacking)
                        verb = "requires" if use.name == "requires" else "takes from a context"
                        message = (
                            f'[{source.name}] Field "{each.name}.{one.name}" {verb} "{coordinate}", which demands '
                            f"{directives}; the field has to demand the same."
                        )
                        code = Code.MISSING_TRANSITIVE_AUTH_REQUIREMENTS
                        merging.diagnostics.add(code, message, [(source.name, use.node)])


def _read_by(source: Source, each: TypeDef, one: FieldDef) -> Iterable[tuple[str, SelectionSetNode, Application]]:
    """What a field reads besides its arguments: a type, what is selected there, and the directive that says so."""
    use = first(one, "requires")
    texts = [(each.name, use.text("fields") or "", use)] if use else []
    for argument in one.arguments.values():
        use = first(argument, "fromContext")
        context, text = split_context_value(use.text("field") or "") if use else (None, "")
        parents = contexts_of(source.schema).get(context, []) if context else []
        texts += [(parent.name, text, use) for parent in parents if use]
    for parent_name, text, found in texts:
        try:
            yield parent_name, parse_selection(text), found
        except InvalidFieldSet:
            continue


def _demands(
    requirements: Requirements, types: Types, parent: str, selection: SelectionSetNode
) -> Iterable[tuple[Gathered, str]]:
    """Everything that a selection touches and that demands something, with its coordinate."""
    for node in selection.selections:
        if isinstance(node, FieldNode):
            name = node.name.value
            found = types.get(parent)
            if found is None or name not in found.fields:
                continue
            yield requirements.fields[parent, name], f"{parent}.{name}"
            target = named(found.fields[name].type)
            if target in requirements.types:
                yield requirements.types[target], target
            if node.selection_set:
                yield from _demands(requirements, types, target, node.selection_set)
        elif isinstance(node, InlineFragmentNode):
            condition = node.type_condition.name.value if node.type_condition else parent
            if condition != parent and condition in requirements.types:
                yield requirements.types[condition], condition
            yield from _demands(requirements, types, condition, node.selection_set)


def _covers(given: Sequence[Gathered | None], needed: Gathered, name: str) -> bool:
    """Whether whoever passes the given requirements passes the needed ones."""
    wanted = conjunction(clauses_of_uses(name, needed[name]))
    if not wanted:
        return True
    have: Clauses = conjunction(
        clauses for each in given if each is not None for clauses in clauses_of_uses(name, each[name])
    )
    return bool(have) and all(any(set(need) <= set(clause) for need in wanted) for clause in have)
