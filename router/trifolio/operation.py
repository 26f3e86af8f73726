"""An operation, read from a document: its kind, its variables, and its selections flattened object by object.

Flattening is the specification's CollectFields done for all requests at once: fragments are followed, type conditions
become sets of runtime types, and @skip and @include become conditions over variables.

Specification: GraphQL, sections 6.1 (GetOperation) and 6.3.2 (CollectFields).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from graphql import GraphQLError, parse, print_ast
from graphql.language import (
    BooleanValueNode,
    DirectiveNode,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionNode,
    SelectionSetNode,
    StringValueNode,
    VariableDefinitionNode,
    VariableNode,
)

from trifolio.conditions import ALWAYS, NEVER, Condition, Conditions
from trifolio.errors import ClientText, DocumentError, ErrorCode, OperationError
from trifolio.limits import Limits
from trifolio.selections import Arguments, canonical_arguments
from trifolio.supergraph import OperationKind, Supergraph
from trifolio.work import Work

DEFERRALS_MAX: Final = 20
"""Deferred parts of an operation, counted at every position that one stands at: each is planned by a search of its own.
Beyond them @defer makes no difference, which the specification leaves to the server."""

_CONDITIONAL: Final = frozenset({"skip", "include", "defer"})
"""Directives whose `if` is a condition."""

ANY_OF: Final = "|"
"""Stands between the names in the type condition of a fragment that is on any of several types. The router makes such
fragments where it tells types apart (`hiding.py`); no client can write one."""

INTROSPECTION_FIELDS: Final = frozenset({"__schema", "__type"})
"""Fields of the query root that the router answers itself."""


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable as the operation defines it."""

    name: str
    definition: str
    """Its definition in GraphQL text, default value included: `$first: Int = 10`."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of a document."""

    kind: OperationKind
    name: str | None
    selection_set: SelectionSetNode
    fragments: Mapping[str, FragmentDefinitionNode]
    variables: Mapping[str, Variable]


@dataclass(frozen=True, slots=True)
class FlatField:
    """A field that is selected on objects of some types under a condition."""

    node: FieldNode
    types: frozenset[str]
    condition: Condition

    @property
    def response_key(self) -> str:
        """The key that the client wants the field's value under."""
        return self.node.alias.value if self.node.alias else self.node.name.value


Contribution = tuple[SelectionSetNode, Condition]
"""A selection set that applies to an object position, and when."""


@dataclass(slots=True)
class Collected:
    """A response key at one of its places, with everything that is selected below it."""

    field: FlatField
    condition: Condition
    """When the key stands at this place: its own condition, and none of those at earlier places."""
    place: int
    """0 at its first place."""
    contributions: list[Contribution]
    """In order; a selection set stands again where it applies under another condition, as that moves its fields."""


@dataclass(slots=True)
class _Seen:
    """A response key while its appearances are collected."""

    last: Collected
    """Its last place."""
    contributions: list[Contribution]
    selections: dict[int, Condition]
    """When each selection set below it applies, by the identity of its node."""
    asked: Condition
    """The conditions at the last place, whatever is asked at earlier ones."""
    before: Condition = ALWAYS
    """When it stands at no place before the last."""


def read_operation(document: DocumentNode | str, name: str | None = None) -> Operation:
    """Find the operation in a document (or its text).

    Raises DocumentError where the text does not parse and OperationError where there is no operation, none of that
    name, or several and no name.
    """
    if isinstance(document, str):
        try:
            document = parse(document, no_location=True)
        except GraphQLError as error:
            raise DocumentError(ErrorCode.GRAPHQL_PARSE_FAILED, ClientText(error.message)) from error
    fragments: dict[str, FragmentDefinitionNode] = {}
    operations: list[OperationDefinitionNode] = []
    for node in document.definitions:
        if isinstance(node, FragmentDefinitionNode):
            fragments[node.name.value] = node
        elif isinstance(node, OperationDefinitionNode):
            operations.append(node)
    chosen = _choose(operations, name)
    variables = {}
    for each in chosen.variable_definitions or ():
        variables[each.variable.name.value] = Variable(each.variable.name.value, _definition_text(each))
    kind: OperationKind = chosen.operation.value
    return Operation(kind, chosen.name.value if chosen.name else None, chosen.selection_set, fragments, variables)


def _definition_text(node: VariableDefinitionNode) -> str:
    """A variable's definition without directives, which are between the client and the router."""
    default = f" = {print_ast(node.default_value)}" if node.default_value is not None else ""
    return f"${node.variable.name.value}: {print_ast(node.type)}{default}"


def _choose(operations: list[OperationDefinitionNode], name: str | None) -> OperationDefinitionNode:
    code = ErrorCode.OPERATION_RESOLUTION_FAILURE
    if name is not None:
        for operation in operations:
            if operation.name and operation.name.value == name:
                return operation
        raise OperationError(code, ClientText(f'The document has no operation named "{name}".'))
    if len(operations) == 1:
        return operations[0]
    message = "The document has several operations; say which by operationName." if operations else None
    raise OperationError(code, ClientText(message or "The document has no operation."))


def directive_condition(directives: Iterable[DirectiveNode] | None) -> Condition:
    """What @skip and @include on one node say together."""
    condition = ALWAYS
    for directive in directives or ():
        wanted = {"include": True, "skip": False}.get(directive.name.value)
        if wanted is None:
            continue
        value = next((each.value for each in directive.arguments or () if each.name.value == "if"), None)
        if isinstance(value, BooleanValueNode):
            condition = condition if value.value is wanted else NEVER
        elif isinstance(value, VariableNode):
            condition = condition.and_(Condition.literal(value.name.value, wanted))
    return condition


_DEFERRAL: Final = "@defer"
"""How the variables of deferrals begin; no client's variable does."""


_NO_DEFERRALS: Final[frozenset[str]] = frozenset()


def deferrals_in(condition: Condition) -> frozenset[str]:
    """The variables of the deferrals that a condition speaks of."""
    return frozenset(name for name in condition.variables if name.startswith(_DEFERRAL))


@dataclass(frozen=True, slots=True)
class Deferral:
    """A fragment with @defer. Fields in it carry a condition over `variable`, which no client can name: it is true
    where deferred parts are read, and false where the first answer is."""

    variable: str
    label: str | None
    parent: str | None
    """The variable of the deferral that it is nested in."""
    condition: Condition
    """When it is deferred at all: its `if` argument."""


class Flattener:
    """Flattens the selections of one operation, counting what it unfolds.

    With `incremental`, fragments with @defer are told apart; without, @defer makes no difference.
    """

    def __init__(
        self, operation: Operation, supergraph: Supergraph, *, incremental: bool = False, work: Work | None = None
    ) -> None:
        """What is unfolded is counted in `work`."""
        self.work = Work(Limits().request_work_max) if work is None else work
        self.conditions = Conditions(self.work)
        self.operation = operation
        self.supergraph = supergraph
        self.incremental = incremental
        self.deferrals: dict[tuple[int, int, str | None], Deferral] = {}
        """By the position that the fragment stands at, the identity of its node and the deferral around it, in the
        order in which they were met: outer ones before inner. One fragment that is spread at several positions, or in
        and out of another deferral, makes a part at each."""
        self.met: dict[str, Deferral] = {}
        """The deferrals that the last flattening met."""
        self._position = 0
        self._arguments: dict[int, Arguments] = {}
        """By the identity of a field's node."""
        self._any_of: dict[str, frozenset[str]] = {}
        self._directives: dict[int, Condition] = {}
        """By the identity of a node, what its directives say."""
        self._variables: dict[int, frozenset[str]] = {}
        """By the identity of a selection set, the variables of all conditions in it."""

    def flatten(
        self, contributions: Iterable[Contribution], types: frozenset[str], *, position: int
    ) -> list[FlatField]:
        """The fields selected on an object position with these possible runtime types, in the client's order.

        `position` tells the operation's object positions apart: the same number for the same one. Raises DocumentError
        for unknown fragments.
        """
        fields: list[FlatField] = []
        visited: dict[tuple[str, frozenset[str], frozenset[str]], Condition] = {}
        self.met = {}
        self._position = position
        for selection_set, condition in contributions:
            self._collect(selection_set, types, condition, fields, visited)
        return fields

    def collect(self, flat: Iterable[FlatField], type_name: str) -> list[Collected]:
        """The response keys of an object of one type in order, as the specification's CollectFields finds them.

        Where a condition can take a key's first place away, the key stands again at the next one, for when it does. Two
        places are one where it makes no difference which of them counts, as nothing can stand between them.
        """
        conditions = self.conditions
        places: list[Collected] = []
        by_key: dict[str, _Seen] = {}
        for each in flat:
            self.work.spend()
            if type_name not in each.types:
                continue
            seen = by_key.get(each.response_key)
            if seen is None:
                contributions: list[Contribution] = []
                place = Collected(each, each.condition, 0, contributions)
                seen = by_key[each.response_key] = _Seen(place, contributions, {}, each.condition)
                places.append(place)
            elif seen.last.condition is not ALWAYS:
                self._add_place(places, seen, each)
            node = each.node.selection_set
            if node is not None:
                covered = seen.selections.get(id(node), NEVER)
                if not conditions.implies(each.condition, covered):
                    seen.selections[id(node)] = conditions.or_(covered, each.condition)
                    seen.contributions.append((node, each.condition))
        return places

    def _add_place(self, places: list[Collected], seen: _Seen, again: FlatField) -> None:
        """Note that a response key was met again, where its condition says something new."""
        conditions = self.conditions
        if self._moves_nothing(places, seen):
            also = conditions.and_(again.condition, seen.before)
            seen.last.condition = conditions.or_(seen.last.condition, also)
            seen.asked = conditions.or_(seen.asked, again.condition)
            return
        uncovered = conditions.and_(seen.before, conditions.negated(seen.asked))
        here = conditions.and_(again.condition, uncovered)
        if here is not NEVER:
            seen.before, seen.asked = uncovered, again.condition
            seen.last = Collected(again, here, seen.last.place + 1, seen.contributions)
            places.append(seen.last)

    def _moves_nothing(self, places: list[Collected], seen: _Seen) -> bool:
        """Whether a key may as well stand at its last place: what stands after it is there only where the key is."""
        for other in reversed(places):
            if other is seen.last:
                return True
            self.work.spend()
            if not self.conditions.implies(other.condition, seen.asked):
                return False
        return False

    def arguments(self, node: FieldNode) -> Arguments:
        """The arguments of a field as a value."""
        if not node.arguments:
            return ()
        found = self._arguments.get(id(node))
        if found is None:
            found = self._arguments[id(node)] = canonical_arguments(node.arguments, self.work)
        return found

    def contributions_at(self, place: Collected) -> list[Contribution]:
        """The selections that apply when a key stands at this very place: where each place is executed by itself."""
        here = [(node, self.conditions.and_(condition, place.condition)) for node, condition in place.contributions]
        return [each for each in here if each[1] is not NEVER]

    def variables_below(self, selection_set: SelectionSetNode) -> frozenset[str]:
        """The variables that conditions in a selection set look at, fragments followed."""
        found = self._variables.get(id(selection_set))
        if found is None:
            self._variables[id(selection_set)] = frozenset()  # what a fragment that spreads itself would find
            variables: set[str] = set()
            for node in selection_set.selections:
                self.work.spend()
                for directive in node.directives or ():
                    if directive.name.value in _CONDITIONAL:
                        variables.update(
                            each.value.name.value
                            for each in directive.arguments or ()
                            if isinstance(each.value, VariableNode)
                        )
                if isinstance(node, FragmentSpreadNode):
                    variables |= self.variables_below(self.fragment(node.name.value).selection_set)
                elif isinstance(node, FieldNode | InlineFragmentNode) and node.selection_set is not None:
                    variables |= self.variables_below(node.selection_set)
            found = self._variables[id(selection_set)] = frozenset(variables)
        return found

    def _collect(
        self,
        selection_set: SelectionSetNode,
        types: frozenset[str],
        condition: Condition,
        fields: list[FlatField],
        visited: dict[tuple[str, frozenset[str], frozenset[str]], Condition],
    ) -> None:
        conditions = self.conditions
        for node in selection_set.selections:
            self.work.spend(3)
            here = condition
            if node.directives:
                here = conditions.and_(condition, self._directive_condition(node))
                if here is NEVER:
                    continue
            if isinstance(node, FieldNode):
                fields.append(FlatField(node, types, here))
                continue
            if self.incremental and node.directives:
                here = conditions.and_(here, self._deferral_condition(node, condition))
            if isinstance(node, InlineFragmentNode):
                below, type_condition = node.selection_set, node.type_condition
            else:
                assert isinstance(node, FragmentSpreadNode)
                fragment = self.fragment(node.name.value)
                below, type_condition = fragment.selection_set, fragment.type_condition
                # In another deferral it is looked at again: what is deferred in it is a part of its own there.
                visit = node.name.value, types, deferrals_in(here) if self.deferrals else _NO_DEFERRALS
                seen = visited.get(visit)
                if seen is not None and conditions.implies(here, seen):
                    continue
                visited[visit] = here if seen is None else conditions.or_(seen, here)
            applicable = types & self._possible(type_condition.name.value) if type_condition else types
            if applicable:
                self._collect(below, applicable, here, fields, visited)

    def _directive_condition(self, node: SelectionNode) -> Condition:
        """What @skip and @include on a node say."""
        found = self._directives.get(id(node))
        if found is None:
            self.work.spend(2 * len(node.directives or ()))
            found = self._directives[id(node)] = self.conditions.kept(directive_condition(node.directives))
        return found

    def _deferral_condition(self, node: SelectionNode, enclosing: Condition) -> Condition:
        """The condition of what stands in a fragment with @defer."""
        directive = next((each for each in node.directives or () if each.name.value == "defer"), None)
        arguments = {each.name.value: each.value for each in directive.arguments or ()} if directive else {}
        wanted, label = arguments.get("if"), arguments.get("label")
        if directive is None or (isinstance(wanted, BooleanValueNode) and not wanted.value):
            return ALWAYS
        when = Condition.literal(wanted.name.value, True) if isinstance(wanted, VariableNode) else ALWAYS
        around = deferrals_in(enclosing)
        outer = [each.variable for each in self.deferrals.values() if each.variable in around]
        parent = outer[-1] if outer else None
        key = (self._position, id(node), parent)
        if key not in self.deferrals:
            if len(self.deferrals) >= DEFERRALS_MAX:
                return ALWAYS
            self.deferrals[key] = Deferral(
                variable=f"{_DEFERRAL} {len(self.deferrals)}",
                label=label.value if isinstance(label, StringValueNode) else None,
                parent=parent,
                condition=when,
            )
        deferral = self.deferrals[key]
        self.met[deferral.variable] = deferral
        deferred = Condition.literal(deferral.variable, True)
        conditions = self.conditions
        return conditions.or_(conditions.and_(deferred, when), conditions.negated(when))

    def fragment(self, name: str) -> FragmentDefinitionNode:
        """The fragment of a name. Raises DocumentError where the document has none."""
        if name not in self.operation.fragments:
            message = f'The document has no fragment named "{name}".'
            raise DocumentError(ErrorCode.GRAPHQL_VALIDATION_FAILED, ClientText(message))
        return self.operation.fragments[name]

    def _possible(self, type_name: str) -> frozenset[str]:
        if ANY_OF in type_name:
            found = self._any_of.get(type_name)
            if found is None:
                found = self._any_of[type_name] = frozenset(type_name.split(ANY_OF))
                self.work.spend(len(found))
            return found
        if type_name not in self.supergraph.types:
            message = f'A fragment is on "{type_name}", which is no object, interface or union of the schema.'
            raise DocumentError(ErrorCode.GRAPHQL_VALIDATION_FAILED, ClientText(message))
        return self.supergraph.possible_types[type_name]
