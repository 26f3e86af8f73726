"""Fields under one response key: the same verdicts as graphql-core's rule, which compares every pair."""

import random
from collections.abc import Iterator

import pytest
from graphql import (
    GraphQLError,
    OverlappingFieldsCanBeMergedRule,
    build_schema,
    is_abstract_type,
    is_interface_type,
    is_object_type,
    parse,
    validate,
)

from trifolio.field_merging import find_conflicts
from trifolio.work import Work, WorkExceeded

SCHEMA = build_schema(
    """
    type Query { pet: Pet, pets: [Pet!]!, dog: Dog, any: Any, self: Query, name(a: Int, b: In): String, size: Int! }
    input In { x: Int, y: [String], in: In }
    interface Pet { name(a: Int, b: In): String, friend: Pet, kin: [Pet] }
    interface Named { name(a: Int, b: In): String }
    type Dog implements Pet & Named {
      name(a: Int, b: In): String, friend: Pet, kin: [Pet], size: Int!, tag: ID, owner: Query, mate: Dog
    }
    type Cat implements Pet & Named {
      name(a: Int, b: In): String, friend: Pet, kin: [Pet], size: Int, tag: String, owner: Query, mate: Cat
    }
    type Rock { name: String!, size: Float, owner: [Query], mate: Rock }
    union Any = Dog | Cat | Rock
    """
)
COMPOSITES = [each for name, each in SCHEMA.type_map.items() if not name.startswith("__")]
COMPOSITES = [each for each in COMPOSITES if is_object_type(each) or is_abstract_type(each)]
ARGUMENTS = ("", "(a: 1)", "(a: 2)", "(a: $v)", '(b: {x: 1, y: ["s"]})', '(b: {y: ["s"], x: 1})', "(b: {in: {x: 1}})")
DOCUMENTS = 2_000


class Writer:
    """Writes documents that use few response keys often, so that they meet."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.fragments = [f"F{n}" for n in range(self.random.randrange(4))]

    def document(self) -> str:
        parts = [f"query ($v: Int) {self.selections('Query', 0, self.fragments)}"]
        for number, name in enumerate(self.fragments):
            on = self.random.choice(COMPOSITES).name
            parts.append(f"fragment {name} on {on} {self.selections(on, 1, self.fragments[number + 1 :])}")
        return " ".join(parts)

    def selections(self, parent: str, depth: int, spreads: list[str]) -> str:
        count = self.random.randrange(1, 4)
        return "{ " + " ".join(self.selection(parent, depth, spreads) for _ in range(count)) + " }"

    def selection(self, parent: str, depth: int, spreads: list[str]) -> str:
        chance = self.random.random()
        if spreads and chance < 0.15:
            return f"...{self.random.choice(spreads)}"
        if depth < 4 and chance < 0.4:
            on = self.random.choice(["", *(each.name for each in COMPOSITES)])
            return f"... {f'on {on}' if on else ''} {self.selections(on or parent, depth + 1, spreads)}"
        type_ = SCHEMA.type_map[parent]
        fields = type_.fields if is_object_type(type_) or is_interface_type(type_) else {}
        name = self.random.choice([*fields, "__typename", *(["unknown"] if chance > 0.98 else [])])
        alias = self.random.choice(["", "", "", "", "k: "])
        field = fields.get(name)
        arguments = self.random.choice(ARGUMENTS) if field is not None and "a" in field.args else ""
        if self.random.random() < 0.5:
            arguments = ""
        inner = str(field.type).strip("[]!") if field is not None else ""
        below = ""
        if inner in {each.name for each in COMPOSITES}:
            below = self.selections(inner, depth + 1, spreads) if depth < 4 else "{ __typename }"
        return f"{alias}{name}{arguments} {below}"


def conflicts(text: str, units_max: int = 1_000_000) -> list[GraphQLError]:
    return find_conflicts(parse(text), SCHEMA, Work(units_max), errors_max=50)


def documents() -> Iterator[str]:
    return (Writer(seed).document() for seed in range(DOCUMENTS))


def test_the_verdict_is_that_of_comparing_every_pair() -> None:
    """Thousands of random documents are refused by this rule exactly where graphql-core's refuses them."""
    refused = 0
    for text in documents():
        theirs = validate(SCHEMA, parse(text), [OverlappingFieldsCanBeMergedRule], max_errors=1_000)
        ours = conflicts(text)
        assert bool(ours) == bool(theirs), (text, [str(each) for each in (*ours, *theirs)])
        refused += bool(ours)
    assert DOCUMENTS // 10 < refused < DOCUMENTS * 9 // 10


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{ k: size k: name }", "Fields 'k' conflict because 'size' and 'name' are different fields."),
        ("{ name(a: 1) name(a: 2) }", "Fields 'name' conflict because they have differing arguments."),
        (
            "{ any { ... on Dog { tag } ... on Cat { tag } } }",
            "Fields 'tag' conflict because they return conflicting types 'ID' and 'String'.",
        ),
        (
            "{ self { k: name } self { k: size } }",
            "Fields 'self' conflict because subfields 'k' conflict because 'name' and 'size' are different fields.",
        ),
        (
            "{ ...A ...B } fragment A on Query { self { self { k: name } } } "
            "fragment B on Query { self { self { k: size } } }",
            "Fields 'self' conflict because subfields 'self' conflict because subfields 'k' conflict because"
            " 'name' and 'size' are different fields.",
        ),
    ],
)
def test_a_conflict_is_told_as_graphql_core_tells_it(text: str, message: str) -> None:
    """The message names the fields from the outside in, and the places are those of all fields that it names."""
    [ours] = conflicts(text)
    [theirs] = validate(SCHEMA, parse(text), [OverlappingFieldsCanBeMergedRule])
    advice = " Use different aliases on the fields to fetch both if this was intentional."
    assert ours.message == theirs.message == message + advice
    assert sorted(ours.locations or ()) == sorted(theirs.locations or ())


def cost(text: str) -> int:
    work = Work(10_000_000)
    assert find_conflicts(parse(text), SCHEMA, work, errors_max=50) == []
    return work.spent


@pytest.mark.parametrize(
    "family",
    [
        lambda size: "{ " + "pet { name } " * size + "}",
        lambda size: "{ any { " + "... on Dog { mate { tag } } ... on Cat { mate { name } } " * size + "} }",
        lambda size: (
            "{ pet { "
            + " ".join(f"...F{n}" for n in range(size))
            + " } } "
            + " ".join(f"fragment F{n} on Pet {{ friend {{ ...G{n} }} }}" for n in range(size))
            + " ".join(f"fragment G{n} on Pet {{ name }}" for n in range(size))
        ),
    ],
    ids=["equal fields", "inline fragments", "fragments beside one another"],
)
def test_the_work_grows_with_the_document(family: object) -> None:
    """Ten times the document takes about ten times the work, and not a hundred times."""
    assert callable(family)
    assert cost(family(1_000)) < 12 * cost(family(100))


def test_what_takes_too_much_is_refused() -> None:
    """The budget ends the comparison, wherever it stands."""
    with pytest.raises(WorkExceeded):
        conflicts("{ " + "pet { name } " * 1_000 + "}", units_max=1_000)


def test_the_number_of_errors_is_bounded() -> None:
    """No more conflicts are looked for than are told."""
    text = "{ " + " ".join(f"k{n}: name k{n}: size" for n in range(100)) + " }"
    assert len(conflicts(text)) == 50
