"""Documents that take more than they give, for any schema: families that grow with a size, each made from a seed.

A family knows what the schema offers (`Ground`): where a type is reached, which fields lead back to it, which have
arguments. What a schema does not have, a family does without, so each has a document for every schema.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

from graphql import (
    GraphQLArgument,
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLNamedType,
    GraphQLSchema,
    get_named_type,
    is_abstract_type,
    is_composite_type,
    is_enum_type,
    is_input_object_type,
    is_leaf_type,
    is_list_type,
    is_non_null_type,
    is_required_argument,
    is_required_input_field,
)

from trifolio.document import check_text
from trifolio.errors import DocumentError
from trifolio.limits import Limits

_INPUT_DEPTH_MAX: Final = 3


@dataclass(frozen=True)
class HostileDocument:
    """One operation as a client sends it."""

    query: str
    variables: Mapping[str, object] = field(default_factory=dict)
    operation_name: str | None = None
    incremental: bool = False
    """Whether parts are asked for, so that @defer counts."""


@dataclass(frozen=True)
class Step:
    """A field on the way to a type."""

    parent: str
    name: str
    definition: GraphQLField


class Ground:
    """What a schema offers to whoever wants to make much of it."""

    def __init__(self, schema: GraphQLSchema) -> None:
        self.schema = schema
        assert schema.query_type is not None
        self.root = schema.query_type
        self._ways = self._search()

    def _search(self) -> dict[str, tuple[Step, ...]]:
        """The shortest way from the root of queries to each composite type."""
        ways: dict[str, tuple[Step, ...]] = {self.root.name: ()}
        waiting: deque[Any] = deque([self.root])
        while waiting:
            parent = waiting.popleft()
            inside = [*getattr(parent, "fields", {}).items()]
            for name, definition in inside:
                inner = get_named_type(definition.type)
                if is_composite_type(inner) and inner.name not in ways:
                    ways[inner.name] = (*ways[parent.name], Step(parent.name, name, definition))
                    waiting.append(inner)
            if is_abstract_type(parent):
                for possible in self.schema.get_possible_types(parent):
                    if possible.name not in ways:
                        ways[possible.name] = ways[parent.name]
                        waiting.append(possible)
        return ways

    def types(self) -> list[Any]:
        """The composite types that queries reach, the root apart where there are others."""
        found = [self.schema.type_map[name] for name in self._ways if name != self.root.name]
        return found or [self.root]

    def fields(self, parent: Any) -> dict[str, GraphQLField]:
        """What can be selected there; nothing but `__typename` on a union."""
        return getattr(parent, "fields", {})

    def wrap(self, type_name: str, inner: str) -> str:
        """A selection of the root in which `inner` is selected on the type."""
        steps = self._ways[type_name]
        text = f"... on {type_name} {{ {inner} }}" if steps else inner
        for step in reversed(steps):
            text = f"{step.name}{self.arguments(step.definition)} {{ {text} }}"
            if step.parent != self.root.name:
                text = f"... on {step.parent} {{ {text} }}"
        return text

    def arguments(self, definition: GraphQLField, **given: str) -> str:
        """What a field needs, in brackets, with literals that are `given` by name."""
        texts = dict(given)
        for name, argument in definition.args.items():
            if is_required_argument(argument) and name not in texts:
                texts[name] = self.literal(argument.type)
        return f"({', '.join(f'{name}: {text}' for name, text in texts.items())})" if texts else ""

    def literal(self, of: Any, depth: int = 0) -> str:
        """A value of an input type."""
        if is_non_null_type(of):
            return self.literal(of.of_type, depth)
        if is_list_type(of):
            return "[]" if depth > _INPUT_DEPTH_MAX else f"[{self.literal(of.of_type, depth + 1)}]"
        if is_input_object_type(of):
            needed = {name: each for name, each in of.fields.items() if is_required_input_field(each)}
            return f"{{{', '.join(f'{name}: {self.literal(each.type, depth + 1)}' for name, each in needed.items())}}}"
        if is_enum_type(of):
            return str(next(iter(of.values)))
        return {"Int": "1", "Float": "1.5", "Boolean": "true"}.get(of.name, '"1"')

    def leaf(self, parent: Any, chance: Random) -> str:
        """A field without a selection of its own."""
        return chance.choice(self.leaves(parent))

    def leaves(self, parent: Any) -> list[str]:
        """All of them."""
        found = [
            f"{name}{self.arguments(each)}"
            for name, each in self.fields(parent).items()
            if is_leaf_type(get_named_type(each.type))
        ]
        return found or ["__typename"]

    def selection(self, parent: Any, chance: Random, depth: int = 0) -> str:
        """A field, with something selected below it where that is needed."""
        name, definition = chance.choice([*self.fields(parent).items()] or [("__typename", None)])
        if definition is None:
            return name
        inner = get_named_type(definition.type)
        text = f"{name}{self.arguments(definition)}"
        if is_leaf_type(inner):
            return text
        below = self.leaf(inner, chance) if depth >= 1 else self.selection(inner, chance, depth + 1)
        return f"{text} {{ {below} }}"

    def composites(self) -> list[tuple[Any, str, GraphQLField]]:
        """Type, name and definition of every field that needs a selection, on types that queries reach."""
        return [
            (parent, name, definition)
            for type_name in self._ways
            for parent in [self.schema.type_map[type_name]]
            for name, definition in self.fields(parent).items()
            if is_composite_type(get_named_type(definition.type))
        ]

    def circle(self, chance: Random) -> tuple[Any, list[tuple[str, str]]]:
        """A type and a way of fields from it, each with the type condition that it stands under, as far as one goes.

        It leads back to the type where some way does; else it ends where nothing leads on.
        """
        best: tuple[Any, list[tuple[str, str]]] = (self.types()[0], [])
        starts = self.types()
        chance.shuffle(starts)
        for start in starts[:20]:
            ways: dict[str, list[tuple[str, str]]] = {start.name: []}
            waiting = deque([start])
            while waiting:
                parent = waiting.popleft()
                for name, definition in self.fields(parent).items():
                    inner = get_named_type(definition.type)
                    step = (parent.name, f"{name}{self.arguments(definition)}")
                    if inner is start:
                        return start, [*ways[parent.name], step]
                    if is_composite_type(inner) and inner.name not in ways:
                        ways[inner.name] = [*ways[parent.name], step]
                        waiting.append(inner)
                        if len(ways[inner.name]) > len(best[1]):
                            best = start, ways[inner.name]
        return best

    def with_arguments(self) -> Iterator[tuple[Any, str, GraphQLField, str, GraphQLArgument]]:
        """Every argument of a field that queries reach."""
        for type_name in self._ways:
            parent = self.schema.type_map[type_name]
            for name, definition in self.fields(parent).items():
                for argument_name, argument in definition.args.items():
                    yield parent, name, definition, argument_name, argument

    def place_for(self, wanted: Callable[[Any], bool], chance: Random) -> tuple[str, str, GraphQLNamedType | None]:
        """An operation with `VALUE` where an argument of a `wanted` type stands, the type's text, and the type.

        Without one: an argument that no field has.
        """
        found = []
        for parent, name, definition, argument_name, argument in self.with_arguments():
            if wanted(argument.type):
                call = f"{name}{self.arguments(definition, **{argument_name: 'VALUE'})}{self.below(definition)}"
                found.append((f"{{ {self.wrap(parent.name, call)} }}", argument.type))
        mutations = self.fields(self.schema.mutation_type) if self.schema.mutation_type else {}
        for name, definition in mutations.items():
            for argument_name, argument in definition.args.items():
                if wanted(argument.type):
                    call = f"{name}{self.arguments(definition, **{argument_name: 'VALUE'})}{self.below(definition)}"
                    found.append((f"mutation {{ {call} }}", argument.type))
        if not found:
            return "{ __typename(value: VALUE) }", "[Int]", None
        text, type_ = chance.choice(found)
        return text, str(type_), get_named_type(type_)

    def below(self, definition: GraphQLField) -> str:
        """The smallest selection that a field needs."""
        return "" if is_leaf_type(get_named_type(definition.type)) else " { __typename }"


Family = Callable[[Ground, Random, int], HostileDocument]


def _document(text: str, **others: Any) -> HostileDocument:
    return HostileDocument(text, **others)


def _mutations(ground: Ground) -> dict[str, GraphQLField]:
    return ground.fields(ground.schema.mutation_type) if ground.schema.mutation_type else {}


# ---- introspection ----

_FIELD_ALIASES: Final = 90


def introspection_width(ground: Ground, chance: Random, size: int) -> HostileDocument:
    """Roots that each ask for every field of every type, each field's name many times."""
    roots = " ".join(f"a{n}: __schema {{ types {{ fields {{ ...F }} }} }}" for n in range(size))
    names = " ".join(f"n{n}: {chance.choice(['name', 'description', 'isDeprecated'])}" for n in range(_FIELD_ALIASES))
    return _document(f"{{ {roots} }} fragment F on __Field {{ {names} }}")


def introspection_depth(ground: Ground, chance: Random, size: int) -> HostileDocument:
    """From types to fields to their types, and on: each level multiplies."""
    text = "name"
    for level in range(size):
        text = f"fields {{ name type {{ {text} }} }}" if level % 2 else f"possibleTypes {{ interfaces {{ {text} }} }}"
    return _document(f"{{ __schema {{ types {{ {text} }} }} }}")


def introspection_of_one_type(ground: Ground, chance: Random, size: int) -> HostileDocument:
    """The largest type by its name, many times."""
    largest = max(ground.schema.type_map.values(), key=lambda each: len(getattr(each, "fields", {}))).name
    roots = " ".join(f'a{n}: __type(name: "{largest}") {{ ofType {{ name }} fields {{ ...F }} }}' for n in range(size))
    names = " ".join(f"n{n}: args {{ name type {{ name }} }}" for n in range(_FIELD_ALIASES))
    return _document(f"{{ {roots} }} fragment F on __Field {{ {names} }}")


def introspected_kinds(ground: Ground, chance: Random, size: int) -> HostileDocument:
    """`ofType` within `ofType`, with fragments that double."""
    parts = [f"fragment F{n} on __Type {{ name ofType {{ ...F{n + 1} kind }} }}" for n in range(size)]
    return _document(f"{{ __schema {{ types {{ ...F0 }} }} }} {' '.join(parts)} fragment F{size} on __Type {{ name }}")


# ---- what the schema does not have ----


def unknown_input_keys(ground: Ground, chance: Random, size: int) -> HostileDocument:
    """An input object with keys that do not exist, each close to one that does."""
    text, _, of = ground.place_for(lambda each: is_input_object_type(get_named_type(each)), chance)
    names = list(of.fields) if isinstance(of, GraphQLInputObjectType) else ["name"]
    keys = " ".join(f"{chance.choice(names)}{chance.choice('xyz')}{n}: 1" for n in range(size))
    return _document(text.replace("VALUE", f"{{{keys}}}"))


def unknown_fields(ground: Ground, chance: Random, size: int) -> HostileDocument:
    """Fields that are almost there."""
    parent = chance.choice(ground.types())
    names = list(ground.fields(parent)) or ["name"]
    return _document(f"{{ {ground.wrap(parent.name, ' '.join(f'{chance.choice(names)}{n}' for n in range(size)))} }}")


def unknown_arguments(ground: Ground, chance: Random, size: int) -> HostileDocument:
    """Arguments that a field does not take."""
    parent = chance.choice(ground.types())
    arguments = ", ".join(f"argument{n}: {{a: [{n}]}}" for n in range(size))
    leaf = ground.leaf(parent, chance).split("(")[0]
    return _document(f"{{ {ground.wrap(parent.name, f'{leaf}({arguments})')} }}")


def unknown_types(ground: Ground, chance: Random, size: int) -> HostileDocument:
    """Fragments on types that are almost there, spread or not."""
    names = list(ground.schema.type_map)
    inside = " ".join(f"... on {chance.choice(names)}{n} {{ a }} ...F{n}" for n in range(size))
    return _document(
        f"{{ {inside} }} " + " ".join(f"fragment G{n} on {chance.choice(names)}X {{ a }}" for n in range(size))
    )


def unknown_enum_values(ground: Ground, chance: Random, size: int) -> HostileDocument:
    """Enum values that are almost there, in roots that differ by their alias alone."""
    text, _, of = ground.place_for(lambda each: is_enum_type(get_named_type(each)), chance)
    names = list(of.values) if isinstance(of, GraphQLEnumType) else ["ONE"]
    inner = text[1:-1] if text.startswith("{") else text
    return _document(
        "{ "
        + " ".join(f"a{n}: {inner.replace('VALUE', f'{chance.choice(names)}{n}').strip()}" for n in range(size))
        + " }"
    )


def unknown_directives(ground: Ground, chance: Random, size: int) -> HostileDocument:
    """Directives that nobody knows, on one field."""
    names = ["skip", "include", "deprecated", "defer", "join__type", "inaccessible"]
    return _document("{ __typename " + " ".join(f"@{chance.choice(names)}{n}(if: true)" for n in range(size)) + " }")


# ---- fields that meet ----


def overlapping_fields(ground: Ground, chance: Random, size: int) -> HostileDocument:
    """One field with arguments that all differ, or different fields under one key: no two can be merged."""
    found = [each for each in ground.with_arguments() if str(each[4].type).strip("!") in {"Int", "ID", "String"}]
    if not found:
        parent = chance.choice(ground.types())
        fields = " ".join(f"a: {ground.leaf(parent, chance)}" for _ in range(size))
        return _document(f"{{ {ground.wrap(parent.name, fields)} }}")
    parent, name, definition, argument, of = chance.choice(found)
    quote = "" if str(of.type).startswith("Int") else '"'
    fields = " ".join(
        f"{name}{ground.arguments(definition, **{argument: f'{quote}{n}{quote}'})}{ground.below(definition)}"
        for n in range(size)
    )
    return _document(f"{{ {ground.wrap(parent.name, fields)} }}")


def same_fields(ground: Ground, chance: Random, size: int) -> HostileDocument:
    """Equal selections of one field: all of it one field."""
    parent, name, definition = chance.choice(ground.composites())
    below = ground.leaf(get_named_type(definition.type), chance)
    field_ = f"{name}{ground.arguments(definition)} {{ {below} }} "
    return _document(f"{{ {ground.wrap(parent.name, field_ * size)} }}")


def equal_fields_at_every_level(ground: Ground, chance: Random, size: int) -> HostileDocument:
    """Each level twice, and below each of both the next one twice."""
    start, way = ground.circle(chance)
    levels = 0
    while 2 ** (levels + 1) <= size:
        levels += 1
    text = "__typename"
    for level in reversed(range(min(levels, len(way) * 20))):
        condition, name = way[level % len(way)]
        text = f"... on {condition} {{ {name} {{ {text} }} {name} {{ {text} }} }}"
    return _document(f"{{ {ground.wrap(start.name, text)} }}")


# ---- fragments ----


def fragments_beside_each_other(ground: Ground, chance: Random, size: int) -> HostileDocument:
    """Fragments that each spread one of their own a level below, as generated clients write them."""
    parent, name, definition = chance.choice(ground.composites())
    inner = get_named_type(definition.type)
    call, below = f"{name}{ground.arguments(definition)}", ground.leaf(inner, chance)
    spreads = " ".join(f"...F{n}" for n in range(size))
    outer = " ".join(f"fragment F{n} on {parent.name} {{ {call} {{ ...G{n} }} }}" for n in range(size))
    inside = " ".join(f"fragment G{n} on {inner.name} {{ {below} }}" for n in range(size))
    return _document(f"{{ {ground.wrap(parent.name, spreads)} }} {outer} {inside}")


def chain_of_fragments(ground: Ground, chance: Random, size: int) -> HostileDocument:
    """Each fragment spreads the next one, all on one type."""
    parent = chance.choice(ground.types())
    parts = [f"fragment F{n} on {parent.name} {{ ...F{n + 1} }}" for n in range(size)]
    last = f"fragment F{size} on {parent.name} {{ {ground.leaf(parent, chance)} }}"
    return _document(f"{{ {ground.wrap(parent.name, '...F0')} }} {' '.join(parts)} {last}")


def circle_of_fragments(ground: Ground, chance: Random, size: int) -> HostileDocument:
    """The last one spreads the first, and each some others."""
    parent = chance.choice(ground.types())
    parts = [
        f"fragment F{n} on {parent.name} {{ ...F{(n + 1) % size} ...F{chance.randrange(size)} }}" for n in range(size)
    ]
    return _document(f"{{ {ground.wrap(parent.name, '...F0')} }} {' '.join(parts)}")


def doubling_fragments(ground: Ground, chance: Random, size: int) -> HostileDocument:
    """Each fragment spreads the next one twice."""
    parent = chance.choice(ground.types())
    parts = [f"fragment F{n} on {parent.name} {{ ...F{n + 1} ...F{n + 1} }}" for n in range(size)]
    last = f"fragment F{size} on {parent.name} {{ {ground.leaf(parent, chance)} }}"
    return _document(f"{{ {ground.wrap(parent.name, '...F0')} }} {' '.join(parts)} {last}")


def spreads_of_everything(ground: Ground, chance: Random, size: int) -> HostileDocument:
    """Each of many fragments spreads all that come behind it: the square of their number."""
    parent = chance.choice(ground.types())
    parts = [
        f"fragment F{n} on {parent.name} {{ {ground.leaf(parent, chance)} "
        + " ".join(f"...F{other}" for other in range(n + 1, size))
        + " }"
        for n in range(size)
    ]
    return _document(f"{{ {ground.wrap(parent.name, '...F0')} }} {' '.join(parts)}")


def repeated_inline_fragments(ground: Ground, chance: Random, size: int) -> HostileDocument:
    """The same inline fragments again and again, on every possible type of an abstract one where there is one."""
    abstract = [each for each in ground.types() if is_abstract_type(each)]
    parent = chance.choice(abstract or ground.types())
    conditions = ground.schema.get_possible_types(parent) if is_abstract_type(parent) else [parent]
    pair = " ".join(f"... on {each.name} {{ {ground.selection(each, chance)} }}" for each in conditions[:3])
    return _document(f"{{ {ground.wrap(parent.name, pair * size)} }}")


def nested_inline_fragments(ground: Ground, chance: Random, size: int) -> HostileDocument:
    """Inline fragments within one another, up to the nesting that is allowed."""
    parent = chance.choice(ground.types())
    text = ground.leaf(parent, chance)
    for _ in range(size):
        text = f"... {{ ... on {parent.name} {{ {text} }} }}"
    return _document(f"{{ {ground.wrap(parent.name, text)} }}")


# ---- many of something ----


def many_roots(ground: Ground, chance: Random, size: int) -> HostileDocument:
    """Root fields, each with all leaves that it has."""
    names = [*ground.fields(ground.root).items()]
    roots = []
    for n in range(size):
        name, definition = chance.choice(names)
        inner = get_named_type(definition.type)
        below = "" if is_leaf_type(inner) else f" {{ {' '.join(ground.leaves(inner))} }}"
        roots.append(f"r{n}: {name}{ground.arguments(definition)}{below}")
    return _document(f"{{ {' '.join(roots)} }}")


def many_aliases(ground: Ground, chance: Random, size: int) -> HostileDocument:
    """One object's leaves under many names."""
    parent = chance.choice(ground.types())
    return _document(
        f"{{ {ground.wrap(parent.name, ' '.join(f'a{n}: {ground.leaf(parent, chance)}' for n in range(size)))} }}"
    )


def lists_of_many_aliases(ground: Ground, chance: Random, size: int) -> HostileDocument:
    """One list's items, each with many names, under many roots."""
    lists = [each for each in ground.composites() if "[" in str(each[2].type)]
    parent, name, definition = chance.choice(lists or ground.composites())
    inner = get_named_type(definition.type)
    call = f"{name}{ground.arguments(definition)} {{ ...F }}"
    roots = " ".join(f"... {{ r{n}: {call} }}" for n in range(size))
    names = " ".join(f"a{n}: {ground.leaf(inner, chance)}" for n in range(_FIELD_ALIASES))
    return _document(f"{{ {ground.wrap(parent.name, roots)} }} fragment F on {inner.name} {{ {names} }}")


def every_field(ground: Ground, chance: Random, size: int) -> HostileDocument:
    """Everything that can be selected, level by level: the fewest subgraphs that have it all are to be found."""
    left = size

    def all_of(parent: Any, depth: int) -> str:
        nonlocal left
        texts = []
        for name, definition in ground.fields(parent).items():
            if left <= 0:
                break
            left -= 1
            inner = get_named_type(definition.type)
            call = f"{name}{ground.arguments(definition)}"
            if is_leaf_type(inner):
                texts.append(call)
            elif depth < 6:
                texts.append(f"{call} {{ {all_of(inner, depth + 1)} }}")
        if is_abstract_type(parent) and depth < 6:
            possible = ground.schema.get_possible_types(parent)
            texts += [f"... on {each.name} {{ {all_of(each, depth + 1)} }}" for each in possible]
        return " ".join(texts) or "__typename"

    return _document(f"{{ {all_of(ground.root, 0)} }}")


def random_selections(ground: Ground, chance: Random, size: int) -> HostileDocument:
    """Selections by chance on types by chance, each under a key of its own at the root."""
    parts = []
    for n in range(size):
        parent = chance.choice(ground.types())
        steps = ground.wrap(parent.name, ground.selection(parent, chance))
        parts.append(f"r{n}: {steps}" if not steps.startswith("...") else steps)
    return _document(f"{{ {' '.join(parts)} }}")


def deep_path(ground: Ground, chance: Random, size: int) -> HostileDocument:
    """Around a circle of types, again and again, with leaves on the way."""
    start, way = ground.circle(chance)
    text = "__typename"
    closes = bool(way)
    for level in reversed(range(size if closes else 0)):
        condition, name = way[level % len(way)]
        own = ground.leaf(ground.schema.type_map[condition], chance)
        text = (
            f"... on {condition} {{ {own} {name} {{ {text} }} }}" if level % len(way) == 0 else f"{name} {{ {text} }}"
        )
    return _document(f"{{ {ground.wrap(start.name, text)} }}")


def many_operations(ground: Ground, chance: Random, size: int) -> HostileDocument:
    """Operations that all use one fragment, of which one is asked."""
    parent = chance.choice(ground.types())
    operations = " ".join(f"query Q{n} {{ {ground.wrap(parent.name, '...F')} }}" for n in range(size))
    fragment = f"fragment F on {parent.name} {{ {' '.join(ground.leaves(parent))} }}"
    return _document(f"{operations} {fragment}", operation_name=f"Q{chance.randrange(size)}")


def alternating_mutations(ground: Ground, chance: Random, size: int) -> HostileDocument:
    """Mutations of different subgraphs by turns, each answered with all leaves."""
    names = [*_mutations(ground).items()]
    if not names:
        return many_roots(ground, chance, size)
    calls = []
    for n in range(size):
        name, definition = names[n % len(names)]
        inner = get_named_type(definition.type)
        below = (
            ""
            if is_leaf_type(inner)
            else f" {{ {' '.join([*ground.leaves(inner), ground.selection(inner, chance)])} }}"
        )
        calls.append(f"m{n}: {name}{ground.arguments(definition)}{below}")
    return _document(f"mutation {{ {' '.join(calls)} }}")


# ---- conditions ----


def _boolean_variables(size: int, chance: Random) -> tuple[str, dict[str, object]]:
    texts = " ".join(f"$v{n}: Boolean!" for n in range(size))
    return f"({texts})", {f"v{n}": chance.random() < 0.5 for n in range(size)}


def conditions_side_by_side(ground: Ground, chance: Random, size: int) -> HostileDocument:
    """One field, again and again, each time under a variable of its own."""
    parent, name, definition = chance.choice(ground.composites())
    below = ground.leaf(get_named_type(definition.type), chance)
    variables, values = _boolean_variables(size, chance)
    call = f"{name}{ground.arguments(definition)}"
    fields = " ".join(f"{call} @{chance.choice(['skip', 'include'])}(if: $v{n}) {{ {below} }}" for n in range(size))
    return _document(f"query{variables} {{ {ground.wrap(parent.name, fields)} }}", variables=values)


def conditions_nested(ground: Ground, chance: Random, size: int) -> HostileDocument:
    """On the way down each level with a condition and again without."""
    start, way = ground.circle(chance)
    levels = min(size, 60) if way else 0
    variables, values = _boolean_variables(max(levels, 1), chance)
    text = "__typename @skip(if: $v0)"
    for level in reversed(range(levels)):
        condition, name = way[level % len(way)]
        inner = f"{name} {{ __typename }} {name} @include(if: $v{level}) {{ {text} }}"
        text = f"... on {condition} {{ {inner} }}"
    return _document(f"query{variables} {{ {ground.wrap(start.name, text)} }}", variables=values)


def conditions_on_fragments(ground: Ground, chance: Random, size: int) -> HostileDocument:
    """Inline fragments and spreads with two conditions each, on fields of all kinds."""
    parent = chance.choice(ground.types())
    variables, values = _boolean_variables(size, chance)
    inside = " ".join(
        f"... @include(if: $v{n}) @skip(if: $v{(n * 7) % size}) {{ {ground.selection(parent, chance)} }}"
        for n in range(size)
    )
    return _document(f"query{variables} {{ {ground.wrap(parent.name, inside)} }}", variables=values)


def repeated_directives(ground: Ground, chance: Random, size: int) -> HostileDocument:
    """@include on one field, again and again: it may stand there once."""
    return _document("{ __typename " + "@include(if: true) " * size + "}")


def parts_side_by_side(ground: Ground, chance: Random, size: int) -> HostileDocument:
    """@defer by the hundred, of different fields."""
    parent = chance.choice(ground.types())
    inside = " ".join(f'... @defer(label: "d{n}") {{ {ground.selection(parent, chance)} }}' for n in range(size))
    return _document(f"{{ {ground.wrap(parent.name, f'__typename {inside}')} }}", incremental=True)


def parts_nested(ground: Ground, chance: Random, size: int) -> HostileDocument:
    """@defer within @defer, around a circle of types."""
    start, way = ground.circle(chance)
    text = "__typename"
    for level in reversed(range(size if way else 0)):
        condition, name = way[level % len(way)]
        text = f'... on {condition} @defer(label: "d{level}") {{ {name} {{ __typename {text} }} }}'
    return _document(f"{{ {ground.wrap(start.name, text)} }}", incremental=True)


def parts_with_conditions(ground: Ground, chance: Random, size: int) -> HostileDocument:
    """@defer with a variable each, so that what is a part is known late."""
    parent = chance.choice(ground.types())
    variables, values = _boolean_variables(size, chance)
    inside = " ".join(
        f'... @defer(label: "d{n}", if: $v{n}) {{ {ground.selection(parent, chance)} }}' for n in range(size)
    )
    return _document(
        f"query{variables} {{ {ground.wrap(parent.name, f'__typename {inside}')} }}", variables=values, incremental=True
    )


# ---- values ----


def deep_literal(ground: Ground, chance: Random, size: int) -> HostileDocument:
    """A list within a list, and an object within an object."""
    text, _, _ = ground.place_for(lambda each: True, chance)
    opening, closing = chance.choice([("[", "]"), ("{a: ", "}")])
    return _document(text.replace("VALUE", opening * size + "1" + closing * size))


def wide_literal(ground: Ground, chance: Random, size: int) -> HostileDocument:
    """A list of very many values, of the right kind where a list may stand."""
    text, _, of = ground.place_for(lambda each: "[" in str(each), chance)
    item = ground.literal(of) if of is not None else "1"
    return _document(text.replace("VALUE", f"[{' '.join([item] * size)}]"))


def _with_variable(ground: Ground, chance: Random, wanted: Callable[[Any], bool]) -> tuple[str, Any]:
    text, type_text, of = ground.place_for(wanted, chance)
    text = text.replace("VALUE", "$value")
    if text.startswith("mutation"):
        return text.replace("mutation", f"mutation($value: {type_text})", 1), of
    return f"query($value: {type_text}) {text}", of


def deep_variable(ground: Ground, chance: Random, size: int) -> HostileDocument:
    """A variable's value nested far deeper than any input."""
    text, _ = _with_variable(ground, chance, lambda each: True)
    value: object = 1
    for _ in range(size):
        value = chance.choice([[value], {"a": value}])
    return _document(text, variables={"value": value})


def wide_variable(ground: Ground, chance: Random, size: int) -> HostileDocument:
    """A variable with a very long list, of the wrong kind here and there."""
    text, _ = _with_variable(ground, chance, lambda each: "[" in str(each))
    return _document(text, variables={"value": [chance.choice(["1", "1", "1", {}, None]) for _ in range(size)]})


def long_list_in_a_variable(ground: Ground, chance: Random, size: int) -> HostileDocument:
    """A variable with a very long list of what is right, if a list may stand anywhere."""
    text, of = _with_variable(ground, chance, lambda each: "[" in str(each))
    item = _json_value(ground, of) if of is not None else 1
    return _document(text, variables={"value": [item] * size})


def _json_value(ground: Ground, of: Any, depth: int = 0) -> object:
    if is_non_null_type(of):
        return _json_value(ground, of.of_type, depth)
    if is_list_type(of):
        return [] if depth > _INPUT_DEPTH_MAX else [_json_value(ground, of.of_type, depth + 1)]
    if is_input_object_type(of):
        needed = {name: each for name, each in of.fields.items() if is_required_input_field(each)}
        return {name: _json_value(ground, each.type, depth + 1) for name, each in needed.items()}
    if is_enum_type(of):
        return next(iter(of.values))
    return {"Int": 1, "Float": 1.5, "Boolean": True}.get(of.name, "1")


def unknown_keys_in_a_variable(ground: Ground, chance: Random, size: int) -> HostileDocument:
    """An object with very many keys that no input has."""
    text, _ = _with_variable(ground, chance, lambda each: is_input_object_type(get_named_type(each)))
    return _document(text, variables={"value": {f"key{n}": n for n in range(size)}})


def variables_nobody_asked_for(ground: Ground, chance: Random, size: int) -> HostileDocument:
    """Values for variables that the operation does not have."""
    return _document("{ __typename }", variables={f"v{n}": [n] for n in range(size)})


def many_variables(ground: Ground, chance: Random, size: int) -> HostileDocument:
    """Variables with defaults of all kinds, none of them used, or each in one list."""
    types = [("Int", "1"), ("[Int]", "[1, 2]"), ("String", '"a"'), ("Boolean", "true"), ("ID", '"1"')]
    definitions = []
    for n in range(size):
        of, default = chance.choice(types)
        definitions.append(f"$v{n}: {of} = {default}")
    return _document(f"query({' '.join(definitions)}) {{ __typename }}")


def huge_number(ground: Ground, chance: Random, size: int) -> HostileDocument:
    """A number with very many digits, before or behind its point."""
    text, _, _ = ground.place_for(lambda each: str(each).strip("!") in {"Int", "ID", "Float"}, chance)
    digits = "".join(chance.choice("123456789") for _ in range(size))
    return _document(text.replace("VALUE", chance.choice([digits, f"-{digits}", f"1.{digits}", f"1e{digits}"])))


def huge_string(ground: Ground, chance: Random, size: int) -> HostileDocument:
    """A string of very many escapes, or as a block with very many lines and quotation marks."""
    text, _, _ = ground.place_for(lambda each: str(each).strip("!") in {"ID", "String"}, chance)
    kinds = ['"' + "\\u00e9" * size + '"', '"' + "\\\\" * size + '"', '"""' + '\\"""' * size + '"""']
    kinds += ['"""' + "\n  " * size + 'a"""', '"""' + '""\n' * size + 'a"""', '"' + "é" * size + '"']
    return _document(text.replace("VALUE", chance.choice(kinds)))


def strange_characters(ground: Ground, chance: Random, size: int) -> HostileDocument:
    """Characters that are not what they look like, in names, strings, comments and between."""
    strange = [
        "\u202e",
        "\u200b",
        "\ufeff",
        "\x00",
        "\x7f",
        "\u2028",
        "\U0001f980",
        "\ud800",
        "\\ud800",
        "\\u{110000}",
        "é",
    ]
    pieces = ["{", "}", "name", '"', "#", ",", " ", "\n", "...", "@", "$", ":"]
    text = "".join(chance.choice(strange if chance.random() < 0.3 else pieces) for _ in range(size))
    return _document(chance.choice(["{ __typename } # ", "{ __typename }", '{ a(b: "', "{"]) + text)


def long_names(ground: Ground, chance: Random, size: int) -> HostileDocument:
    """Names of very many letters: an alias, a field, a variable, a directive, an operation."""
    name = "a" * size
    return _document(
        chance.choice(
            [
                f"{{ {name}: __typename }}",
                f"{{ {name} }}",
                f"query {name} {{ __typename }}",
                f"query(${name}: Int) {{ __typename }}",
                f"{{ __typename @{name} }}",
                f"{{ ...{name} }}",
            ]
        )
    )


def nothing_to_read(ground: Ground, chance: Random, size: int) -> HostileDocument:
    """Commas, comments and blanks around one field."""
    filling = chance.choice([",", " ", "\n", "#\n", "\t,", "\ufeff"]) * size
    return _document(f"{filling}{{ {filling}__typename }}")


def brackets(ground: Ground, chance: Random, size: int) -> HostileDocument:
    """Brackets that open and do not close, or close and did not open."""
    return _document("".join(chance.choice("{{{[[(}])") for _ in range(size)))


FAMILIES: Final[Mapping[Family, int]] = {
    introspection_width: 190,
    introspection_depth: 60,
    introspection_of_one_type: 190,
    introspected_kinds: 90,
    unknown_input_keys: 4_000,
    unknown_fields: 10_000,
    unknown_arguments: 1_500,
    unknown_types: 1_200,
    unknown_enum_values: 190,
    unknown_directives: 2_000,
    overlapping_fields: 1_500,
    same_fields: 2_500,
    equal_fields_at_every_level: 1_000,
    fragments_beside_each_other: 900,
    chain_of_fragments: 1_800,
    circle_of_fragments: 1_500,
    doubling_fragments: 100,
    spreads_of_everything: 90,
    repeated_inline_fragments: 1_500,
    nested_inline_fragments: 95,
    many_roots: 200,
    many_aliases: 900,
    lists_of_many_aliases: 199,
    every_field: 4_000,
    random_selections: 200,
    deep_path: 150,
    many_operations: 1_000,
    alternating_mutations: 200,
    conditions_side_by_side: 900,
    conditions_nested: 60,
    conditions_on_fragments: 500,
    repeated_directives: 2_000,
    parts_side_by_side: 600,
    parts_nested: 60,
    parts_with_conditions: 500,
    deep_literal: 195,
    wide_literal: 14_000,
    deep_variable: 900,
    wide_variable: 200_000,
    long_list_in_a_variable: 200_000,
    unknown_keys_in_a_variable: 100_000,
    variables_nobody_asked_for: 100_000,
    many_variables: 2_000,
    huge_number: 190_000,
    huge_string: 30_000,
    strange_characters: 30_000,
    long_names: 190_000,
    nothing_to_read: 60_000,
    brackets: 14_000,
}
"""Every family with the size up to which its documents grow: about that of the limits on documents and bodies."""


def largest(family: Family, ground: Ground, seed: str, limits: Limits, size_max: int | None = None) -> int:
    """The largest size up to the family's at which the text itself is within the limits; 1 where none is."""
    size = size_max or FAMILIES[family]
    while size > 1:
        try:
            check_text(family(ground, Random(f"{family.__name__}/{size}/{seed}"), size).query, limits)
        except DocumentError:
            size = size * 4 // 5
        else:
            break
    return max(size, 1)


def make(name: str, ground: Ground, seed: str, size: int) -> HostileDocument:
    """The document of a family by its name."""
    return FAMILIES_BY_NAME[name](ground, Random(f"{name}/{size}/{seed}"), size)


FAMILIES_BY_NAME: Final[Mapping[str, Family]] = {each.__name__: each for each in FAMILIES}
