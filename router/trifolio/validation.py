"""Whether a document fits the schema: graphql-core's rules, at a price that is known while they work.

graphql-core is the judge, by rules that it runs side by side over the document: those that can find something there,
as a document without a "$" has no variables to look at. What they do is counted in the
request's budget: each node that they visit, each fragment that they follow, each name that they compare with others.
Two of them are our own, as theirs take work or room that grows faster than the document: the one that compares fields
(`field_merging.py`), and the one that looks at literals, which quotes a whole object for each of its keys.

What is told is bounded, too: messages are cut, and all together are about as long as the document at most.

Specification: GraphQL, section 5 (validation).
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache
from typing import Final

from graphql import (
    SKIP,
    ASTValidationRule,
    DeferStreamDirectiveLabel,
    DeferStreamDirectiveOnRootField,
    DeferStreamDirectiveOnValidOperationsRule,
    DirectiveNode,
    DocumentNode,
    EnumValueNode,
    FragmentsOnCompositeTypesRule,
    GraphQLDirective,
    GraphQLEnumType,
    GraphQLError,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLSchema,
    KnownArgumentNamesRule,
    KnownDirectivesRule,
    KnownFragmentNamesRule,
    KnownTypeNamesRule,
    ListValueNode,
    Node,
    NoFragmentCyclesRule,
    NoUndefinedVariablesRule,
    NoUnusedFragmentsRule,
    NoUnusedVariablesRule,
    NullValueNode,
    ObjectValueNode,
    OverlappingFieldsCanBeMergedRule,
    ParallelVisitor,
    PossibleFragmentSpreadsRule,
    SingleFieldSubscriptionsRule,
    StreamDirectiveOnListField,
    TypeInfo,
    TypeInfoVisitor,
    UniqueArgumentNamesRule,
    UniqueDirectivesPerLocationRule,
    UniqueFragmentNamesRule,
    UniqueInputFieldNamesRule,
    UniqueVariableNamesRule,
    ValidationContext,
    ValueNode,
    ValuesOfCorrectTypeRule,
    VariableNode,
    VariablesAreInputTypesRule,
    VariablesInAllowedPositionRule,
    Visitor,
    VisitorAction,
    is_enum_type,
    is_input_object_type,
    is_list_type,
    is_non_null_type,
    is_required_input_field,
    specified_rules,
    visit,
)
from graphql.language.ast import QUERY_DOCUMENT_KEYS
from graphql.pyutils import did_you_mean, suggestion_list
from graphql.utilities import validate_input_literal

from trifolio.field_merging import find_conflicts
from trifolio.work import Work

MESSAGE_CHARACTERS_MAX: Final = 300
"""300 characters of a message: it may quote the document, which the client has."""

LOCATIONS_MAX: Final = 20
"""20 places of one error: what a person looks at."""

ERRORS_CHARACTERS_MIN: Final = 4_000
"""4,000 characters of errors for a short document; for a longer one as many as it has."""

ERROR_CHARACTERS: Final = 100
"""What an error takes beside its message: its place and its code."""

SUGGESTIONS_MAX: Final = 5
"""5 errors that say what may have been meant: a slip of the pen is seen in the first."""

SUGGESTED_NAMES_MAX: Final = 500
"""500 names that one name is compared with: in a larger schema nothing is suggested."""

NODE_UNITS: Final = 7
"""What some thirty rules take for one node of the document."""

TYPE_UNITS: Final = 1
"""What it takes to keep track of types at one node; it is visited twice."""

_FRAGMENT_UNITS: Final = 3
"""What following a spread, or a use of a variable, into a fragment takes; several rules do."""

_SUGGESTED_NAME_UNITS: Final = 30
"""What comparing two names takes."""


_LOOKED_AT: Final = {
    kind: tuple(key for key in keys if key not in ("name", "alias")) for kind, keys in QUERY_DOCUMENT_KEYS.items()
}
"""By kind of node, those inside that rules visit: no rule visits names, which are half of all nodes."""


def validate_document(
    document: DocumentNode, text: str, schema: GraphQLSchema, work: Work, *, errors_max: int, suggests: bool
) -> list[GraphQLError]:
    """Every problem of a document, up to `errors_max` and to what a text as long as its own may be told of itself.

    With `suggests`, errors about unknown names say which known one may have been meant.

    Raises:
        WorkExceeded: judging takes more than the request's budget.
        RecursionError: it is nested too deep.
    """
    errors: list[GraphQLError] = []
    room = max(len(text), ERRORS_CHARACTERS_MIN)

    def on_error(error: GraphQLError) -> None:
        nonlocal room
        room -= min(len(error.message), MESSAGE_CHARACTERS_MAX) + ERROR_CHARACTERS
        if len(errors) >= errors_max or (room < 0 and errors):
            raise _EnoughErrors
        errors.append(error)

    info = _CountingTypes(schema, work)
    context = CountingContext(schema, document, info, on_error, work, suggests=suggests)
    visitors: list[Visitor] = [_Nodes(work), *(rule(context) for rule in _rules_for(text))]
    side_by_side = ParallelVisitor(visitors)
    outer = TypeInfoVisitor(info, side_by_side)
    try:
        visit(document, outer, _LOOKED_AT)
        for conflict in find_conflicts(document, schema, work, errors_max=errors_max):
            on_error(conflict)
    except _EnoughErrors:
        errors.append(GraphQLError("There is more that does not fit the schema."))
    finally:
        # They refer to themselves, and to the whole document: it would wait for a search for circles, which takes long.
        for usages in vars(context).get("_variable_usages", {}).values():
            usages.clear()  # what has collected them refers to itself
        for each in (context, side_by_side, outer, *visitors):
            vars(each).clear()
    return errors


class _EnoughErrors(Exception):
    """Nobody would be told of more."""


class CountingContext(ValidationContext):
    """What the rules share, and what they spend."""

    def __init__(
        self,
        schema: GraphQLSchema,
        document: DocumentNode,
        type_info: TypeInfo,
        on_error: Callable[[GraphQLError], None],
        work: Work,
        *,
        suggests: bool,
    ) -> None:
        super().__init__(schema, document, type_info, on_error)
        self._work = work
        self._suggestions_left = SUGGESTIONS_MAX if suggests else 0

    @property
    def hide_suggestions(self) -> bool:
        """Whether the next error goes without suggestions: rules ask for each where they have one."""
        if self._suggestions_left == 0:
            return True
        self._suggestions_left -= 1
        names = _most_names(self.schema)
        if names > SUGGESTED_NAMES_MAX:
            self._suggestions_left = 0
            return True
        self._work.spend(names * _SUGGESTED_NAME_UNITS)
        return False

    def spend_fragment_work(self, cost: int) -> None:
        """Count what is done again for each operation that uses a fragment; the request's budget ends it."""
        self._work.spend(cost * _FRAGMENT_UNITS)


def _most_names(schema: GraphQLSchema) -> int:
    """The most names that one can be compared with: those of all types, or of the members of one."""
    members = (
        max(len(getattr(each, "fields", ())), len(getattr(each, "values", ()))) for each in schema.type_map.values()
    )
    return max(len(schema.type_map), *members)


class _CountingTypes(TypeInfo):
    """Counts the nodes that anything visits with their types: the rules together, and one of them by itself."""

    def __init__(self, schema: GraphQLSchema, work: Work) -> None:
        super().__init__(schema)
        self._work = work

    def enter(self, node: Node) -> None:
        """Count one."""
        self._work.spend(TYPE_UNITS)
        super().enter(node)


class _Nodes(Visitor):
    """Counts the nodes that all rules visit."""

    def __init__(self, work: Work) -> None:
        super().__init__()
        self._work = work

    def enter(self, _node: Node, *_: object) -> None:
        """Count one."""
        self._work.spend(NODE_UNITS)


class _DirectivesRule(ASTValidationRule):
    """Directives that nobody would carry out: a subgraph's own are not passed on, and dropping them changes answers."""

    def enter_directive(self, node: DirectiveNode, *_: object) -> None:
        """Report one that is not the router's own."""
        name = node.name.value
        if name not in OBEYED and any(each.name == name for each in _directives(self.context)):
            text = f"The directive '@{name}' is not carried out: directives are not passed on to subgraphs."
            self.context.report_error(GraphQLError(text, node))


OBEYED: Final = frozenset({"skip", "include", "defer"})
"""The directives of operations that the router carries out itself."""


def _directives(context: object) -> Collection[GraphQLDirective]:
    assert isinstance(context, ValidationContext)
    return context.schema.directives


class _LiteralsRule(ValuesOfCorrectTypeRule):
    """graphql-core's rule, without quoting an object for each key that it lacks or has too many."""

    def is_valid_value_node(self, node: ValueNode, input_type: GraphQLInputType | None) -> VisitorAction:
        """Report what does not fit; nothing below is visited."""
        if input_type is not None:
            self._check(node, input_type)
        return SKIP

    def _check(self, node: ValueNode, type_: GraphQLInputType) -> None:
        context = self.context
        if isinstance(context, CountingContext):
            context.spend_fragment_work(1)
        if isinstance(node, VariableNode):
            return
        if is_non_null_type(type_):
            if isinstance(node, NullValueNode):
                self._report(f"Expected value of non-null type '{type_}' not to be null.", node)
                return
            type_ = type_.of_type
        if isinstance(node, NullValueNode):
            return
        if is_list_type(type_):
            for item in node.values if isinstance(node, ListValueNode) else (node,):
                self._check(item, type_.of_type)
        elif is_input_object_type(type_) and isinstance(node, ObjectValueNode):
            self._check_object(node, type_)
        else:
            hides = not is_enum_type(type_) or _is_value(node, type_) or context.hide_suggestions
            validate_input_literal(node, type_, self._report_found, hide_suggestions=hides)

    def _check_object(self, node: ObjectValueNode, type_: GraphQLInputObjectType) -> None:
        given = {field.name.value: field for field in node.fields}
        for name, field in type_.fields.items():
            if name in given:
                self._check(given[name].value, field.type)
            elif is_required_input_field(field):
                self._report(f"Expected value of type '{type_}' to include required field '{name}'.", node)
        for name, each in given.items():
            if name not in type_.fields:
                hides = self.context.hide_suggestions
                suggestion = "" if hides else did_you_mean(suggestion_list(name, list(type_.fields)))
                text = f"Expected value of type '{type_}' not to include unknown field '{name}'.{suggestion}"
                self._report(text, each)
        known = [each for name, each in given.items() if name in type_.fields]
        if type_.is_one_of and (len(known) != 1 or isinstance(known[0].value, NullValueNode)):
            expected = "exactly one field must be specified, and the value for that field must be non-null"
            self._report(f"Within OneOf Input Object type '{type_}', {expected}.", node)

    def _report_found(self, error: GraphQLError, _path: object) -> None:
        """Report what a scalar had to say, without the frames that hold the document in circles."""
        for each in (error, error.original_error, error.__cause__, error.__context__):
            if each is not None:
                each.__traceback__ = None
        self.report_error(error)

    def _report(self, message: str, node: Node) -> None:
        self.report_error(GraphQLError(message, node))


def _is_value(node: ValueNode, type_: GraphQLEnumType) -> bool:
    return isinstance(node, EnumValueNode) and node.value in type_.values


_RULES: Final[tuple[type[ASTValidationRule], ...]] = (
    *(
        _LiteralsRule if rule is ValuesOfCorrectTypeRule else rule
        for rule in specified_rules
        if rule is not OverlappingFieldsCanBeMergedRule
    ),
    _DirectivesRule,
)

_SPREADS: Final = ("...", "fragment")
_ARGUMENTS: Final = ("(",)
_VARIABLES: Final = ("$",)
_DIRECTIVES: Final = ("@",)
_NEEDS: Final[Mapping[type[ASTValidationRule], Sequence[str]]] = {
    KnownTypeNamesRule: (*_SPREADS, *_VARIABLES),
    FragmentsOnCompositeTypesRule: _SPREADS,
    UniqueFragmentNamesRule: _SPREADS,
    KnownFragmentNamesRule: _SPREADS,
    NoUnusedFragmentsRule: _SPREADS,
    PossibleFragmentSpreadsRule: _SPREADS,
    NoFragmentCyclesRule: _SPREADS,
    VariablesAreInputTypesRule: _VARIABLES,
    UniqueVariableNamesRule: _VARIABLES,
    NoUndefinedVariablesRule: _VARIABLES,
    NoUnusedVariablesRule: _VARIABLES,
    VariablesInAllowedPositionRule: _VARIABLES,
    KnownDirectivesRule: _DIRECTIVES,
    UniqueDirectivesPerLocationRule: _DIRECTIVES,
    DeferStreamDirectiveOnRootField: _DIRECTIVES,
    DeferStreamDirectiveOnValidOperationsRule: _DIRECTIVES,
    DeferStreamDirectiveLabel: _DIRECTIVES,
    StreamDirectiveOnListField: _DIRECTIVES,
    _DirectivesRule: _DIRECTIVES,
    KnownArgumentNamesRule: _ARGUMENTS,
    UniqueArgumentNamesRule: _ARGUMENTS,
    _LiteralsRule: _ARGUMENTS,
    UniqueInputFieldNamesRule: _ARGUMENTS,
    SingleFieldSubscriptionsRule: ("subscription",),
}
"""What has to stand somewhere in a document, so that a rule can find anything amiss; the others may always."""


def _rules_for(text: str) -> Sequence[type[ASTValidationRule]]:
    """The rules that can find anything amiss in an executable document with this text.

    Without "$" there are no variables, without "(" no arguments and no literals, and so on: by grammar. What stands in
    a string or a comment calls for a rule in vain, which changes nothing.
    """
    return _rules_with(frozenset(each for each in _TOKENS if each in text))


@cache
def _rules_with(tokens: frozenset[str]) -> Sequence[type[ASTValidationRule]]:
    return tuple(rule for rule in _RULES if rule not in _NEEDS or not tokens.isdisjoint(_NEEDS[rule]))


_TOKENS: Final = frozenset(token for needs in _NEEDS.values() for token in needs)
