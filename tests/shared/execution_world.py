"""A schema with everything that a field can be and do, and random operations on it.

What fails is drawn from a seed and the place, so that two executions of one operation meet the same faults: resolvers
that raise or return what their type forbids, attributes that are null, no text, exceptions or still to be awaited.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Annotated, Any, NewType, Union, cast

import strawberry
from graphql import (
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLUnionType,
    get_named_type,
    is_leaf_type,
    is_non_null_type,
)
from strawberry.permission import BasePermission
from strawberry.schema.config import StrawberryConfig

from subgraphs.shared.errors import NOT_FOUND, Refusal

Shout = NewType("Shout", str)
Plain = NewType("Plain", str)


def _shout(value: object) -> str | None:
    if value == "mute":
        return None
    if not isinstance(value, str):
        raise ValueError(f"cannot shout {value!r}")
    return value.upper()


@dataclass
class Context:
    """The seed of an execution's faults, how likely one is, and what was called."""

    seed: int
    faults: float
    calls: list[str] = field(default_factory=list)

    def drawn(self, *place: object) -> random.Random:
        """The same random numbers at the same place."""
        return random.Random(f"{self.seed} {place}")


Info = strawberry.Info[Context, None]


@strawberry.enum
class Colour(Enum):
    """Some colours."""

    RED = "red"
    GREEN = strawberry.enum_value("green", name="VERT")


class Lucky(BasePermission):
    """Lets in who is lucky."""

    message = "Not lucky."

    def has_permission(self, source: Any, info: Any, **_: Any) -> bool:
        """By the place."""
        return bool(info.context.drawn("lucky", *place(info)).random() >= info.context.faults)


class LuckyLater(BasePermission):
    """The same, but it has to be asked."""

    error_extensions = {"code": "UNLUCKY"}  # noqa: RUF012  # as Strawberry wants it

    async def has_permission(self, source: Any, info: Any, **_: Any) -> bool:
        """By the place."""
        await asyncio.sleep(0)
        return bool(info.context.drawn("later", *place(info)).random() >= info.context.faults)


def place(info: Any) -> tuple[object, ...]:
    """Where a resolver was called."""
    return tuple(info.path.as_list())


def fate(info: Info, *arguments: object) -> random.Random:
    """Notes the call, and fails or returns the random numbers of the place."""
    where = place(info)
    info.context.calls.append(f"{where} {arguments} {info.field_name} {sorted(info.variable_values)}")
    drawn = info.context.drawn(*where, *arguments)
    if drawn.random() < info.context.faults:
        raise drawn.choice([Refusal(NOT_FOUND, "Not here."), ValueError("no value"), KeyError("key")])
    return drawn


async def later(value: Any, rounds: int) -> Any:
    """The value, after so many rounds of the loop."""
    for _ in range(rounds):
        await asyncio.sleep(0)
    return value


class Later:
    """What can be awaited and is no coroutine, so that nobody has to."""

    def __init__(self, value: Any, rounds: int) -> None:
        self._value, self._rounds = value, rounds

    def __await__(self) -> Any:
        return later(self._value, self._rounds).__await__()


@strawberry.interface
class Named:
    """What has a name."""

    name: str
    shout: Shout | None


@strawberry.input
class Filter:
    """What an argument may be."""

    most: int = 3
    colour: Colour | None = None


@strawberry.type
class Leaf(Named):
    """Scalars of all kinds."""

    id: strawberry.ID
    plain: Plain | None
    count: int | None
    share: float | None
    flag: bool
    colour: Colour
    colours: list[Colour | None]
    words: list[str]
    grid: list[list[int | None]] | None


class SubLeaf(Leaf):
    """A class that the schema does not know by itself."""


@strawberry.type
class Branch(Named):
    """Objects in attributes, and resolvers."""

    leaf: Leaf
    maybe: Leaf | None
    leaves: list[Leaf]
    maybes: list[Leaf | None] | None

    @strawberry.field
    def twig(self, info: Info, n: int = 2) -> Leaf:
        """A resolver that need not wait."""
        return cast("Leaf", sprout(Leaf, info.context, fate(info, n)))

    @strawberry.field
    async def branch(self, info: Info) -> "Branch | None":
        """One that may."""
        drawn = fate(info)
        return cast("Branch | None", await later(sprout(Branch, info.context, drawn, 1), drawn.choice([0, 0, 1, 3])))

    @strawberry.field
    async def branches(self, info: Info, wanted: Filter | None = None) -> "list[Branch]":
        """A list, of so many."""
        drawn = fate(info, wanted and (wanted.most, wanted.colour))
        many = [sprout(Branch, info.context, drawn, 1) for _ in range(min(wanted.most if wanted else 2, 3))]
        return cast("list[Branch]", await later(many, drawn.choice([0, 0, 2])))

    @strawberry.field
    def bare(self) -> str:
        """A resolver that takes no more than its object."""
        return type(self).__name__

    @strawberry.field
    async def parental(parent: strawberry.Parent["Branch"], info: Info, n: int = 1) -> str:
        """One that takes it by another name."""
        return f"{type(parent).__name__} {fate(info, n).random()}"

    @strawberry.field(permission_classes=[Lucky])  # type: ignore[untyped-decorator]  # with what Strawberry's types hide
    def secret(self, info: Info) -> str | None:
        """For the lucky."""
        return fate(info).choice(["s3", "cret"])

    @strawberry.field(permission_classes=[LuckyLater])  # type: ignore[untyped-decorator]  # as above
    async def shared_secret(self, info: Info) -> str:
        """For the lucky, who are asked."""
        return fate(info).choice(["s3", "cret"])

    @strawberry.field
    def any(self, info: Info) -> Annotated[Union["Leaf", "Branch"], strawberry.union("Any")] | None:
        """One of two."""
        drawn = fate(info)
        made = sprout(drawn.choice([Leaf, Branch, SubLeaf]), info.context, drawn, 1)
        if drawn.random() < info.context.faults and isinstance(made, Leaf | Branch):
            made = strawberry.cast(drawn.choice([Leaf, Branch]), made)
        return cast("Leaf | Branch | None", made)

    @strawberry.field
    async def named(self, info: Info, names: list[str] | None = None) -> list[Named | None] | None:
        """What has names, some of it still to come."""
        drawn = fate(info, names and tuple(names))
        items = [sprout(drawn.choice([Leaf, Branch]), info.context, drawn, 1) for _ in range(3)]
        return cast(
            "list[Named | None]", [later(item, 1) if drawn.random() < info.context.faults else item for item in items]
        )


@strawberry.type
class Query:
    """The root."""

    @strawberry.field
    async def root(self, info: Info, id: strawberry.ID | None = None, colour: Colour = Colour.RED) -> Branch | None:
        """A tree."""
        return cast("Branch | None", sprout(Branch, info.context, fate(info, id, colour)))

    @strawberry.field
    def must(self, info: Info, n: int) -> Branch:
        """A tree that must be."""
        return cast("Branch", sprout(Branch, info.context, fate(info, n)))

    @strawberry.field
    async def words(self, info: Info, share: float = 0.5) -> list[str | None] | None:
        """Some words."""
        return cast("list[str | None]", fate(info, share).choices(["a", None, 3, True], k=3))


@strawberry.type
class Mutation:
    """What is never compiled."""

    @strawberry.mutation
    async def grow(self, info: Info, name: str | None = None) -> str | None:
        """Does nothing."""
        return name


@strawberry.type
class Subscription:
    """Whose events are compiled."""

    @strawberry.subscription
    async def trees(self, info: Info, n: int = 2) -> AsyncGenerator[Branch | None, None]:
        """Some trees, which may end early, or before the first."""
        drawn = fate(info, n)
        for _ in range(drawn.randint(1, 3)):
            yield cast("Branch | None", sprout(Branch, info.context, drawn))
        if drawn.random() < info.context.faults:
            raise drawn.choice([Refusal(NOT_FOUND, "No more."), ValueError("the end")])


class _Unlike:
    """No value of any type here."""

    def __repr__(self) -> str:
        return "<unlike>"


def sprout(kind: type, context: Context, drawn: random.Random, depth: int = 0) -> Any:
    """An object with random attributes, or now and then something else."""
    if drawn.random() < context.faults / 2:
        return drawn.choice([None, ValueError("no object"), _Unlike()])

    def odd(value: Any) -> Any:
        if drawn.random() >= context.faults / 6:
            return value
        made = drawn.choice(["null", "error", "unlike", "later", "mute", "number"])
        if made == "later":
            return Later(value, drawn.choice([0, 1]))
        return {"null": None, "error": ValueError("bad"), "unlike": _Unlike(), "mute": "mute", "number": 12}[made]

    def leaf() -> Any:
        return sprout(Leaf, context, drawn, depth + 1)

    values: dict[str, Any] = {"name": odd("n"), "shout": odd(drawn.choice(["s", None]))}
    if issubclass(kind, Leaf):
        colour = drawn.choice(list(Colour))
        values |= {"id": odd("1"), "plain": odd(None), "count": odd(3), "share": odd(0.5), "flag": odd(True)}
        values |= {"colour": odd(colour), "colours": odd([colour, odd(None)]), "words": odd(["w", odd("x")])}
        values["grid"] = odd([[1, odd(2)], odd([])])
    else:
        values |= {"leaf": odd(leaf()), "maybe": odd(None), "leaves": odd([leaf(), leaf()])}
        values["maybes"] = odd((leaf(), odd(None)) if drawn.random() < 0.3 else [leaf(), odd(None)])
    return kind(**values)


class QuietSchema(strawberry.Schema):
    """A schema that counts errors instead of logging them."""

    processed = 0

    def process_errors(self, errors: Any, execution_context: Any = None) -> None:
        """Counts."""
        self.processed += len(errors)


def schema_of_everything(**options: Any) -> strawberry.Schema:
    """The schema."""
    scalars: Any = {
        Shout: strawberry.scalar(name="Shout", serialize=_shout, parse_value=str),
        Plain: strawberry.scalar(name="Plain", serialize=str, parse_value=str),
    }
    return QuietSchema(
        Query,
        mutation=Mutation,
        subscription=Subscription,
        types=[Leaf, Branch],
        config=StrawberryConfig(scalar_map=scalars),
        **options,
    )


VARIABLES: dict[str, tuple[str, list[Any]]] = {
    "n": ("Int!", [1, 2, "x", None, 2**40]),
    "id": ("ID", ["a", 7, None, 1.5]),
    "colour": ("Colour! = VERT", ["RED", "VERT", "BLUE"]),
    "wanted": ("Filter", [{"most": 1}, {"colour": "VERT"}, None, {"least": 1}]),
    "names": ("[String!]", [["a", "b"], "c", None, ["a", None]]),
    "share": ("Float! = 0.25", [0.5, 1, True, "x"]),
    "yes": ("Boolean!", [True, False]),
    "no": ("Boolean! = false", [True, False]),
}
ARGUMENTS: dict[str, list[str]] = {
    "n": ["$n", "1", "2"],
    "id": ["$id", '"b"', "null"],
    "colour": ["$colour", "RED"],
    "wanted": ["$wanted", "{most: $n}", "{colour: $colour}", "null"],
    "names": ["$names", '["a"]'],
    "share": ["$share", "1", "0.5"],
}


class Operations:
    """Random operations on the schema."""

    def __init__(self, schema: GraphQLSchema, drawn: random.Random) -> None:
        self._schema = schema
        self._drawn = drawn
        self._used: set[str] = set()
        self._fragments: list[str] = []
        self._aliases = 0

    def operation(self) -> tuple[str, dict[str, Any]]:
        """A query and its variables; one in ten has a variable of a wrong type."""
        self._used, self._fragments = set(), []
        assert self._schema.query_type is not None
        return self._document("query", self._selection(self._schema.query_type, 0))

    def subscription(self) -> tuple[str, dict[str, Any]]:
        """The same of a subscription."""
        self._used, self._fragments = set(), []
        root = self._schema.subscription_type
        assert root is not None
        return self._document("subscription", f"{{ {self._field(root, 0, likely=0)} }}")

    def _document(self, kind: str, selected: str) -> tuple[str, dict[str, Any]]:
        declared = ", ".join(f"${name}: {VARIABLES[name][0]}" for name in sorted(self._used))
        values = {}
        for name in sorted(self._used):
            type_, possible = VARIABLES[name]
            if not type_.endswith("!") and self._drawn.random() < 0.3:
                continue
            wrong = self._drawn.random() < 0.05
            values[name] = self._drawn.choice(possible) if wrong else possible[0]
        head = f"{kind} Q({declared})" if declared else f"{kind} Q"
        return "\n".join([f"{head} {selected}", *self._fragments]), values

    def _selection(self, type_: GraphQLNamedType, depth: int) -> str:
        return "{ " + " ".join(self._selections(type_, depth)) + " }"

    def _selections(self, type_: GraphQLNamedType, depth: int) -> Iterator[str]:
        draw = self._drawn
        if draw.random() < 0.2:
            yield f"{self._alias()}: __typename"
        for _ in range(draw.randint(1, 3)):
            if isinstance(type_, GraphQLObjectType | GraphQLInterfaceType) and draw.random() < 0.8:
                yield self._field(type_, depth)
            else:
                yield self._fragment(type_, depth)
        yield f"{self._alias()}: __typename" + self._condition(0.1)

    def _fragment(self, type_: GraphQLNamedType, depth: int) -> str:
        on = type_
        if isinstance(type_, GraphQLInterfaceType | GraphQLUnionType):
            on = self._drawn.choice([*self._schema.get_possible_types(type_), type_])
        condition, inside = self._condition(0.3), self._selection(on, depth + 1)
        if self._drawn.random() < 0.3:
            name = f"F{len(self._fragments)}"
            self._fragments.append(f"fragment {name} on {on} {inside}")
            return f"...{name}{condition}"
        return f"... on {on}{condition} {inside}"

    def _field(self, type_: GraphQLObjectType | GraphQLInterfaceType, depth: int, *, likely: float = 0.15) -> str:
        names = [
            name
            for name, each in type_.fields.items()
            if depth < 3 or is_leaf_type(get_named_type(each.type)) or type_ is self._schema.query_type
        ]
        name = self._drawn.choice(names)
        made = type_.fields[name]
        given = []
        for argument, definition in made.args.items():
            is_required = is_non_null_type(definition.type) and definition.default is None
            if is_required or self._drawn.random() < 0.6:
                value = self._drawn.choice(ARGUMENTS[argument])
                self._used.update(each for each in VARIABLES if f"${each}" in value)
                given.append(f"{argument}: {value}")
        inner = get_named_type(made.type)
        text = f"{self._alias()}: {name}" + (f"({', '.join(given)})" if given else "") + self._condition(likely)
        return text if is_leaf_type(inner) else f"{text} {self._selection(inner, depth + 1)}"

    def _condition(self, likely: float) -> str:
        if self._drawn.random() >= likely:
            return ""
        value = self._drawn.choice(["$yes", "$no", "true", "false"])
        self._used.update([value[1:]] if value[0] == "$" else [])
        return f" @{self._drawn.choice(['skip', 'include'])}(if: {value})"

    def _alias(self) -> str:
        self._aliases += 1
        return f"a{self._aliases}"
