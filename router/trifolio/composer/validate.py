"""Federation's rules within one subgraph: where its directives may stand and what they may say.

Runs over every subgraph after ingest (and after the upgrade of federation 1 schemas), before any two are compared.
"""

from collections.abc import Iterable

from trifolio.composer.diagnostics import Code, Diagnostics
from trifolio.composer.schema import FieldDef, SubgraphSchema, TypeDef, applications, first, has
from trifolio.composer.sources import listed
from trifolio.composer.usage import Usage, usage_of
from trifolio.composer.validate_contexts import check_contexts
from trifolio.composer.validate_costs import check_costs
from trifolio.composer.validate_field_sets import check_keys, check_provides, check_requires, key_selection

AUTHORIZATION = ("authenticated", "requiresScopes", "policy")


def validate(schemas: Iterable[SubgraphSchema], diagnostics: Diagnostics) -> None:
    """Report every rule of federation that a subgraph breaks on its own."""
    for schema in schemas:
        usage = usage_of(schema)
        check_keys(schema, usage, diagnostics)
        check_requires(schema, usage, diagnostics)
        check_provides(schema, usage, diagnostics)
        _check_external_on_interfaces(schema, diagnostics)
        _check_external_used(schema, usage, diagnostics)
        _check_interface_keys(schema, diagnostics)
        _check_interface_objects(schema, diagnostics)
        _check_shareable(schema, diagnostics)
        _check_authorization(schema, diagnostics)
        check_costs(schema, diagnostics)
        check_contexts(schema, diagnostics)


# ---- @external ----


def _check_external_on_interfaces(schema: SubgraphSchema, diagnostics: Diagnostics) -> None:
    for each, one in schema.fields():
        if each.kind == "INTERFACE" and has(one, "external"):
            message = (
                f'[{schema.name}] Interface field "{each.name}.{one.name}" is marked @external; only fields of object '
                "types are resolved, so only they can be external."
            )
            diagnostics.add(Code.EXTERNAL_ON_INTERFACE, message, [(schema.name, one.node)])


def _check_external_used(schema: SubgraphSchema, usage: Usage, diagnostics: Diagnostics) -> None:
    for each, one in schema.fields():
        coordinate = (each.name, one.name)
        # A field that is external and provides something is reported for that.
        if coordinate in usage.external and coordinate not in usage.used and not has(one, "provides"):
            message = (
                f'[{schema.name}] Field "{each.name}.{one.name}" is marked @external but is not used in any @key, '
                "@requires, @provides or for an interface. Remove the mark where the subgraph resolves the field, or "
                "the field where it does not."
            )
            diagnostics.add(Code.EXTERNAL_UNUSED, message, [(schema.name, one.node)])


# ---- interfaces ----


def _check_interface_keys(schema: SubgraphSchema, diagnostics: Diagnostics) -> None:
    """A @key on an interface has to stand on all its implementations, too."""
    for each in schema.types.values():
        if each.kind != "INTERFACE":
            continue
        for key in applications(each, "key"):
            resolvable = key.flag("resolvable", default=True)
            lacking = [
                name
                for name in schema.runtime_types(each.name)
                if not _has_key(schema, schema.types[name], key.text("fields") or "", resolvable=resolvable)
            ]
            if lacking:
                message = (
                    f'[{schema.name}] Key @key(fields: "{key.text("fields")}") of interface "{each.name}" is missing '
                    f"on {listed(lacking)}; every implementation needs it{', resolvable' if resolvable else ''}."
                )
                diagnostics.add(Code.INTERFACE_KEY_NOT_ON_IMPLEMENTATION, message, [(schema.name, key.node)])


def _has_key(schema: SubgraphSchema, each: TypeDef, text: str, *, resolvable: bool) -> bool:
    wanted = key_selection(text)
    same = (key for key in applications(each, "key") if key_selection(key.text("fields") or "") == wanted)
    found = next(same, None)
    return found is not None and (found.flag("resolvable", default=True) or not resolvable)


def _check_interface_objects(schema: SubgraphSchema, diagnostics: Diagnostics) -> None:
    for each in schema.types.values():
        if has(each, "interfaceObject") and not has(each, "key"):
            message = (
                f'[{schema.name}] "{each.name}" is an @interfaceObject without a @key; give it the key of the '
                "interface that it stands for."
            )
            diagnostics.add(Code.INTERFACE_OBJECT_USAGE_ERROR, message, [(schema.name, each.node)])


# ---- marks ----


def _check_shareable(schema: SubgraphSchema, diagnostics: Diagnostics) -> None:
    for each in schema.types.values():
        _check_repeated_shareable(schema, each, each.name, diagnostics)
        for one in each.fields.values():
            _check_repeated_shareable(schema, one, f"{each.name}.{one.name}", diagnostics)
            if each.kind == "INTERFACE" and has(one, "shareable"):
                message = (
                    f'[{schema.name}] @shareable cannot be used on "{each.name}.{one.name}": only fields of object '
                    "types are resolved, so only they can be shared."
                )
                diagnostics.add(Code.INVALID_SHAREABLE_USAGE, message, [(schema.name, one.node)])


def _check_repeated_shareable(
    schema: SubgraphSchema, element: TypeDef | FieldDef, coordinate: str, diagnostics: Diagnostics
) -> None:
    declarations = [use.declaration for use in applications(element, "shareable")]
    if len(set(declarations)) < len(declarations):
        message = f'[{schema.name}] @shareable is applied twice to one declaration of "{coordinate}"; once is enough.'
        diagnostics.add(Code.INVALID_SHAREABLE_USAGE, message, [(schema.name, element.node)])


def _check_authorization(schema: SubgraphSchema, diagnostics: Diagnostics) -> None:
    """Interfaces take over what their implementations demand; they have no requirements of their own."""
    for each in schema.types.values():
        elements: list[tuple[str, TypeDef | FieldDef]] = []
        if each.kind == "INTERFACE":
            elements += [(f"{each.name}.{one.name}", one) for one in each.fields.values()]
        if each.kind == "INTERFACE" or has(each, "interfaceObject"):
            elements.insert(0, (each.name, each))
        for coordinate, element in elements:
            for name in AUTHORIZATION:
                use = first(element, name)
                if use:
                    message = (
                        f'[{schema.name}] @{name} cannot be used on "{coordinate}": put it on the types that implement '
                        "the interface, or on their fields."
                    )
                    code = Code.AUTH_REQUIREMENTS_APPLIED_ON_INTERFACE
                    diagnostics.add(code, message, [(schema.name, use.node)])
