"""The rules for @cost and @listSize within one subgraph.

Specification: https://specs.apollo.dev/cost/v0.1/.
"""

from graphql.language import IntValueNode

from trifolio.composer.diagnostics import Code, Diagnostics
from trifolio.composer.merge_directives import strings_of
from trifolio.composer.schema import (
    Application,
    Argument,
    FieldDef,
    SubgraphSchema,
    TypeDef,
    first,
    is_list,
    named,
    nullable,
)


def check_costs(schema: SubgraphSchema, diagnostics: Diagnostics) -> None:
    """Report costs and list sizes that no cost estimate could use."""
    for each, one in schema.fields():
        if each.kind == "INTERFACE":
            _check_interface_costs(schema, each, one, diagnostics)
        use = first(one, "listSize")
        if use is not None:
            _check_list_size(schema, each, one, use, diagnostics)


def _check_interface_costs(schema: SubgraphSchema, each: TypeDef, one: FieldDef, diagnostics: Diagnostics) -> None:
    elements: list[tuple[str, FieldDef | Argument]] = [(f"{each.name}.{one.name}", one)]
    elements += [(f"{each.name}.{one.name}({name}:)", argument) for name, argument in one.arguments.items()]
    for coordinate, element in elements:
        use = first(element, "cost")
        if use is not None:
            message = (
                f'[{schema.name}] @cost cannot be used on "{coordinate}": put it on the fields of the types that '
                "implement the interface."
            )
            diagnostics.add(Code.COST_APPLIED_TO_INTERFACE_FIELD, message, [(schema.name, use.node)])


def _check_list_size(
    schema: SubgraphSchema, each: TypeDef, one: FieldDef, use: Application, diagnostics: Diagnostics
) -> None:
    where = f'[{schema.name}] @listSize on "{each.name}.{one.name}"'
    place = [(schema.name, use.node)]
    sized = strings_of(use.argument("sizedFields"))
    if not sized and not is_list(one.type):
        message = f'{where}: the field is no list; name the lists below it with "sizedFields".'
        diagnostics.add(Code.LIST_SIZE_APPLIED_TO_NON_LIST, message, place)
    assumed = use.argument("assumedSize")
    if isinstance(assumed, IntValueNode) and int(assumed.value) < 0:
        message = f"{where}: assumedSize cannot be negative."
        diagnostics.add(Code.LIST_SIZE_INVALID_ASSUMED_SIZE, message, place)
    for name in strings_of(use.argument("slicingArguments")) or ():
        argument = one.arguments.get(name)
        if argument is None or nullable(argument.type) != "Int":
            problem = "the field has no such argument" if argument is None else "the argument is not of type Int"
            message = f'{where}: slicing argument "{name}": {problem}.'
            diagnostics.add(Code.LIST_SIZE_INVALID_SLICING_ARGUMENT, message, place)
    if sized:
        _check_sized_fields(schema, one, sized, where, use, diagnostics)


def _check_sized_fields(
    schema: SubgraphSchema, one: FieldDef, sized: list[str], where: str, use: Application, diagnostics: Diagnostics
) -> None:
    target = schema.types.get(named(one.type))
    if target is None or target.kind not in ("OBJECT", "INTERFACE"):
        message = f'{where}: it has sizedFields, but "{one.type}" has no fields.'
        diagnostics.add(Code.LIST_SIZE_INVALID_SIZED_FIELD, message, [(schema.name, use.node)])
        return
    for name in sized:
        found = target.fields.get(name)
        coordinate = f"{target.name}.{name}"
        if found is None:
            message = f'{where}: sized field "{coordinate}" does not exist.'
            diagnostics.add(Code.LIST_SIZE_INVALID_SIZED_FIELD, message, [(schema.name, use.node)])
        elif not is_list(found.type):
            message = f'{where}: sized field "{coordinate}" is no list.'
            diagnostics.add(Code.LIST_SIZE_APPLIED_TO_NON_LIST, message, [(schema.name, use.node)])
