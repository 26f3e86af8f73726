"""Random valid operations: fragments, aliases, arguments, variables, conditions, abstract types, introspection."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from graphql import (
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLUnionType,
    Undefined,
    get_named_type,
    is_composite_type,
    parse,
    validate,
)

DEPTH_MAX = 5
ATTEMPTS_MAX = 40
VARIABLE_NAMES = ("a", "b", "representations", "r", "r0", "_r0", "first", "id", "input", "v")
CONDITIONS = ("on", "off", "some")
"""Variables that @skip and @include look at."""
ALIASES = ("a", "b", "name", "id", "_name", "_e0", "_id_1", "typename")
TEXTS = ("", "plain", 'a "quote" \\ and /', "ünïcødé 🎈", "$a {b}", "two\nlines")


@dataclass
class Operation:
    """One operation to execute."""

    text: str
    variables: dict[str, Any]
    salt: str = ""
    """Which data it is executed over."""

    @property
    def otherwise(self) -> "Operation":
        """The same with the other values for what @skip and @include look at, where it gives any."""
        flipped = {name: not value for name, value in self.variables.items() if name in CONDITIONS}
        return replace(self, variables=self.variables | flipped)


@dataclass
class _Scope:
    """The response keys of one object position, so that most operations are valid at once."""

    taken: dict[str, tuple[str, str]] = field(default_factory=dict)
    """By response key the field with its arguments, and the type that it was asked of."""
    inner: dict[str, "_Scope"] = field(default_factory=dict)


def generate(schema: GraphQLSchema, random: Random, *, deferring: bool = False) -> Operation:
    """A valid operation; the same `random` state gives the same one. With `deferring`, queries have @defer."""
    for _ in range(ATTEMPTS_MAX):
        operation = _Generator(schema, random, deferring=deferring).operation()
        if not validate(schema, parse(operation.text)):
            return operation
    return Operation("{ __typename }", {})


class _Generator:
    def __init__(self, schema: GraphQLSchema, random: Random, *, deferring: bool = False) -> None:
        self._schema = schema
        self._random = random
        self._deferring = deferring
        self._labels = 0
        self._definitions: dict[str, str] = {}
        self._values: dict[str, Any] = {}
        self._fragments: dict[str, tuple[str, str]] = {}
        self._fields_left = random.choice((4, 10, 25, 40))
        self._plain = random.random() < 0.3
        """Some operations without conditions: the common case, and small when it fails."""

    def _chance(self, probability: float) -> bool:
        return self._random.random() < probability

    def operation(self) -> Operation:
        """The whole document."""
        schema = self._schema
        root = schema.query_type
        kind = "query"
        if schema.mutation_type is not None and self._chance(0.2):
            root, kind = schema.mutation_type, "mutation"
        assert root is not None
        body = self._selection(root, 0, _Scope(), is_root=True)
        name = " Named" if self._chance(0.5) or self._definitions else ""
        variables = f"({', '.join(self._definitions.values())})" if self._definitions else ""
        fragments = [f"fragment {name} on {on} {text}" for name, (on, text) in self._fragments.items()]
        return Operation("\n".join([f"{kind}{name}{variables} {body}", *fragments]), self._values)

    # ---- selections ----

    def _selection(self, parent: Any, depth: int, scope: _Scope, *, is_root: bool = False) -> str:
        parts = [self._part(parent, depth, scope, is_root=is_root) for _ in range(self._random.choice((1, 2, 2, 3, 4)))]
        return "{ " + " ".join(parts) + " }"

    def _part(self, parent: Any, depth: int, scope: _Scope, *, is_root: bool) -> str:
        is_abstract = isinstance(parent, GraphQLInterfaceType | GraphQLUnionType)
        roll = self._random.random()
        if isinstance(parent, GraphQLUnionType):
            roll *= 0.5
        if roll < 0.06:
            return self._typename(scope)
        if self._deferring and not isinstance(parent, GraphQLUnionType):
            roll *= 0.6
        if roll < (0.35 if is_abstract else 0.14) and depth < DEPTH_MAX + 2:
            return self._inline_fragment(parent, depth, scope)
        if roll < (0.42 if is_abstract else 0.2) and depth < DEPTH_MAX + 2:
            return self._spread(parent, depth, scope)
        if is_root and parent is self._schema.query_type and roll > 0.97:
            return self._introspection(scope)
        if isinstance(parent, GraphQLUnionType):
            return self._typename(scope)
        return self._field(parent, depth, scope)

    def _typename(self, scope: _Scope) -> str:
        key = self._random.choice(("__typename", "__typename", "kind", "t"))
        if scope.taken.setdefault(key, ("__typename", "")) != ("__typename", ""):
            key = "__typename"
        return f"{'' if key == '__typename' else key + ': '}__typename{self._conditions()}"

    def _inline_fragment(self, parent: Any, depth: int, scope: _Scope) -> str:
        on = self._narrower(parent)
        if on is parent and self._chance(0.3):
            return f"...{self._conditions()}{self._deferral()} {self._selection(parent, depth + 1, scope)}"
        return f"... on {on.name}{self._conditions()}{self._deferral()} {self._selection(on, depth + 1, scope)}"

    def _spread(self, parent: Any, depth: int, scope: _Scope) -> str:
        possible = set(self._possible(parent))
        fitting = [
            name
            for name, (on, _) in self._fragments.items()
            if possible & set(self._possible(self._schema.type_map[on]))
        ]
        if fitting and self._chance(0.4):
            name = self._random.choice(fitting)
        else:
            on = self._narrower(parent)
            text = self._selection(on, depth + 1, scope)
            name = f"F{len(self._fragments)}"
            self._fragments[name] = (on.name, text)
        return f"...{name}{self._conditions()}{self._deferral()}"

    def _deferral(self) -> str:
        """@defer on a fragment, in most cases without a condition."""
        if not self._deferring or self._chance(0.4):
            return ""
        arguments = []
        if self._chance(0.6):
            self._labels += 1
            arguments.append(f'label: "L{self._labels}"')
        if self._chance(0.2):
            arguments.append(f"if: {self._boolean()}")
        return f" @defer({', '.join(arguments)})" if arguments else " @defer"

    def _possible(self, of: Any) -> Sequence[GraphQLObjectType]:
        return [of] if isinstance(of, GraphQLObjectType) else self._schema.get_possible_types(of)

    def _narrower(self, parent: Any) -> Any:
        """A type that can stand as condition on `parent`."""
        possible = set(self._possible(parent))
        fitting = [
            item
            for item in self._schema.type_map.values()
            if is_composite_type(item) and not item.name.startswith("__") and possible & set(self._possible(item))
        ]
        return self._random.choice([*fitting, *(item for item in fitting if isinstance(item, GraphQLObjectType))])

    def _field(self, parent: Any, depth: int, scope: _Scope) -> str:
        self._fields_left -= 1
        names = sorted(parent.fields)
        if depth >= DEPTH_MAX or self._fields_left < 0:
            names = [name for name in names if not is_composite_type(get_named_type(parent.fields[name].type))]
        if not names:
            return self._typename(scope)
        name = self._random.choice(names)
        definition: GraphQLField = parent.fields[name]
        arguments = self._arguments(definition)
        key = self._response_key(name, name + arguments, parent, scope)
        alias = "" if key == name else f"{key}: "
        inner = get_named_type(definition.type)
        body = ""
        if is_composite_type(inner):
            body = " " + self._selection(inner, depth + 1, scope.inner.setdefault(key, _Scope()))
        return f"{alias}{name}{arguments}{self._conditions()}{body}"

    def _response_key(self, name: str, signature: str, parent: Any, scope: _Scope) -> str:
        """The field's own name or an alias; one that means something else only now and then: the validator judges."""
        key = self._random.choice(ALIASES) if self._chance(0.15) else name
        for number in range(50):
            taken = scope.taken.setdefault(key, (signature, parent.name))
            is_object = isinstance(parent, GraphQLObjectType)
            if taken[0] == signature or (is_object and taken[1] != parent.name and self._chance(0.5)):
                return key
            key = f"{name}_{number}"
        return key

    def _introspection(self, scope: _Scope) -> str:
        key = f"i{len(scope.taken)}"
        scope.taken[key] = (key, "")
        names = [name for name in self._schema.type_map if not name.startswith("__")]
        if self._chance(0.3):
            return f"{key}: __schema {{ queryType {{ name fields {{ name args {{ name }} }} }} __typename }}"
        name = self._random.choice([*names, "Missing"])
        fields = "name kind fields { name type { name kind } } possibleTypes { name } enumValues { name }"
        return f'{key}: __type(name: "{name}") {{ {fields} }}'

    # ---- conditions, arguments, values ----

    def _conditions(self) -> str:
        if self._plain or not self._chance(0.1):
            return ""
        return f" @{self._random.choice(('skip', 'include'))}(if: {self._boolean()})"

    def _boolean(self) -> str:
        """A constant or a variable."""
        if self._chance(0.2):
            return self._random.choice(("true", "false"))
        name = self._random.choice(CONDITIONS)
        if name not in self._definitions:
            default = f" = {self._random.choice(('true', 'false'))}" if self._chance(0.3) else ""
            self._definitions[name] = f"${name}: Boolean!{default}"
            if not default or self._chance(0.5):
                self._values[name] = self._chance(0.5)
        return f"${name}"

    def _arguments(self, definition: GraphQLField) -> str:
        parts = []
        for name, argument in definition.args.items():
            is_required = isinstance(argument.type, GraphQLNonNull) and argument.default_value is Undefined
            if not is_required and self._chance(0.5):
                continue
            if self._chance(0.35):
                parts.append(f"{name}: {self._variable(argument.type)}")
            else:
                parts.append(f"{name}: {_literal(self._value(argument.type), argument.type)}")
        return f"({', '.join(parts)})" if parts else ""

    def _variable(self, of: GraphQLInputType) -> str:
        existing = [name for name, text in self._definitions.items() if text.endswith(f": {of}")]
        if existing and self._chance(0.3):
            return f"${self._random.choice(existing)}"
        free = [name for name in VARIABLE_NAMES if name not in self._definitions]
        name = self._random.choice(free) if free else f"v{len(self._definitions)}"
        default = ""
        if self._chance(0.25):
            default = f" = {_literal(self._value(of), of)}"
        self._definitions[name] = f"${name}: {of}{default}"
        if (isinstance(of, GraphQLNonNull) and not default) or self._chance(0.7):
            self._values[name] = self._value(of)
        return f"${name}"

    def _value(self, of: GraphQLInputType, depth: int = 0) -> Any:
        """A JSON value that `of` accepts."""
        if isinstance(of, GraphQLNonNull):
            return self._present(of.of_type, depth)
        return None if self._chance(0.12) else self._present(of, depth)

    def _present(self, of: Any, depth: int) -> Any:
        if isinstance(of, GraphQLList):
            if self._chance(0.1):
                inner = of.of_type
                return self._present(inner.of_type if isinstance(inner, GraphQLNonNull) else inner, depth)
            return [self._value(of.of_type, depth + 1) for _ in range(self._random.randrange(3))]
        if isinstance(of, GraphQLEnumType):
            return self._random.choice(sorted(of.values))
        if isinstance(of, GraphQLInputObjectType):
            return self._input_object(of, depth)
        makers: dict[str, Callable[[], Any]] = {
            "Int": lambda: self._random.choice((0, 1, -7, 2**31 - 1, -(2**31))),
            "Float": lambda: self._random.choice((0.5, -2.25, 3, 1e10)),
            "Boolean": lambda: self._chance(0.5),
            "String": lambda: self._random.choice(TEXTS),
            "ID": lambda: self._random.choice(("x", "7", 'q"')),
        }
        return makers.get(of.name, lambda: self._random.choice(("custom", 12, [1, "x"], {"k": [True, None]})))()

    def _input_object(self, of: GraphQLInputObjectType, depth: int) -> dict[str, Any]:
        if of.is_one_of:
            name = self._random.choice(sorted(of.fields))
            return {name: self._present(of.fields[name].type, depth + 1)}
        value = {}
        for name, item in of.fields.items():
            is_required = isinstance(item.type, GraphQLNonNull) and item.default_value is Undefined
            if is_required or (depth < 3 and self._chance(0.5)):
                value[name] = self._value(item.type, depth + 1)
        return value


def _literal(value: Any, of: Any) -> str:
    """A JSON value as GraphQL writes it."""
    if isinstance(of, GraphQLNonNull):
        of = of.of_type
    if value is None:
        return "null"
    if isinstance(of, GraphQLEnumType):
        return str(value)
    if isinstance(value, list):
        inner = of.of_type if isinstance(of, GraphQLList) else of
        return "[" + ", ".join(_literal(item, inner) for item in value) + "]"
    if isinstance(of, GraphQLList):
        return _literal(value, of.of_type)
    if isinstance(value, dict):
        fields = of.fields if isinstance(of, GraphQLInputObjectType) else {}
        types = {name: item.type for name, item in fields.items()}
        return "{" + ", ".join(f"{name}: {_literal(item, types.get(name))}" for name, item in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False)
