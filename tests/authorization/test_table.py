"""Every element that can have a rule, for every kind of caller: what is answered, and what is fetched."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from tests.authorization.graph import NULL_FIELDS, REJECT, Graph, LoggedIn, Policies

TIMES = 4
"""An operation is first interpreted; once it has been asked for a few times, generated code answers it."""

Values = Mapping[str, tuple[str, Mapping[str, Any]]]


@dataclass(frozen=True, slots=True)
class Element:
    """A place for a rule, an operation that selects it, and what comes of it."""

    subgraphs: Values
    """RULE in an SDL is where the rule stands."""
    query: str
    shut: Mapping[str, Any]
    """The answer to whoever does not meet the rule."""
    paths: list[list[str | int]]
    """The errors in it."""
    shut_asked: list[str]
    open: Mapping[str, Any]
    open_asked: list[str]
    rejected: bool = True
    """Whether the operation as a whole is refused where that is set."""


DOG, CAT = {"__typename": "Dog", "name": "Rex", "bark": "wuff"}, {"__typename": "Cat", "name": "Tom", "meow": "miau"}
PETS = """
    type Query { open: Int named: [Named] pets: [Pet] }
    interface Named { name: String }
    union Pet = Dog | Cat
    type Dog implements Named OBJECT { name: String FIELD bark: String }
    type Cat implements Named { name: String meow: String }
"""
PETS_VALUES = {"open": 1, "named": [DOG, CAT], "pets": [DOG, CAT]}
ON_DOG = {"pets": (PETS.replace("OBJECT", "RULE").replace("FIELD", ""), PETS_VALUES)}
ON_DOGS_NAME = {"pets": (PETS.replace("OBJECT", "").replace("FIELD", "RULE"), PETS_VALUES)}

STAFF = """
    type Query { open: Int person: Person }
    type Person @key(fields: "id") PERSON { id: ID! name: String salary: Int SALARY }
"""
STAFF_VALUES = {"open": 1, "person": {"__typename": "Person", "id": "7", "name": "Ada", "salary": 90}}
TAXES = """
    type Person @key(fields: "id") PERSON { id: ID! EXTERNAL tax: Int TAX }
"""


def _entities(**values: object) -> dict[str, Any]:
    return {"_entities": lambda _info, representations: [{**each, **values} for each in representations]}


def staff(person: str = "", salary: str = "", tax: str = "") -> Values:
    """The two subgraphs of people with directives."""
    external = "salary: Int @external" if "@requires(" in tax else ""
    return {
        "staff": (STAFF.replace("PERSON", person).replace("SALARY", salary), {**STAFF_VALUES, **_entities(salary=90)}),
        "taxes": (TAXES.replace("PERSON", person).replace("EXTERNAL", external).replace("TAX", tax), _entities(tax=30)),
    }


MEDIA = """
    type Query { open: Int media: [Media] book: Book }
    interface Media @key(fields: "id") { id: ID! title: String }
    type Book implements Media @key(fields: "id") { id: ID! title: String }
    type Film implements Media @key(fields: "id") { id: ID! title: String }
"""
BOOK, FILM = {"__typename": "Book", "id": "1", "title": "Emma"}, {"__typename": "Film", "id": "2", "title": "Ran"}
RATINGS = """
    type Media @key(fields: "id") @interfaceObject { id: ID! rating: Int RULE }
"""
MEDIA_GRAPH = {
    "media": (MEDIA, {"open": 1, "media": [BOOK, FILM], "book": BOOK}),
    "ratings": (RATINGS, _entities(rating=5)),
}

LOOK_UP = "query($representations:[_Any!]!){_entities(representations:$representations)"
ELEMENTS = {
    "a field": Element(
        {"one": ("type Query { open: Int f: Int RULE }", {"open": 1, "f": 2})},
        "{ open f }",
        {"open": 1, "f": None},
        [["f"]],
        ["one {open}"],
        {"open": 1, "f": 2},
        ["one {open f}"],
    ),
    "a field that may not be null": Element(
        {"one": ("type Query { o: O } type O { a: Int b: Int! RULE }", {"o": {"a": 1, "b": 2}})},
        "{ o { a b } }",
        {"o": None},
        [["o", "b"]],
        ["one {o{a}}"],
        {"o": {"a": 1, "b": 2}},
        ["one {o{a b}}"],
    ),
    "an object": Element(
        staff(person="RULE"),
        "{ open person { name } }",
        {"open": 1, "person": None},
        [["person"]],
        ["staff {open}"],
        {"open": 1, "person": {"name": "Ada"}},
        ["staff {open person{name}}"],
    ),
    "an object, of which only its type's name is asked": Element(
        staff(person="RULE"),
        "{ open person { __typename } }",
        {"open": 1, "person": None},
        [["person"]],
        ["staff {open}"],
        {"open": 1, "person": {"__typename": "Person"}},
        ["staff {open person{__typename}}"],
    ),
    "an object behind an interface": Element(
        ON_DOG,
        "{ open named { name } }",
        {"open": 1, "named": None},
        [["named"]],
        ["pets {open}"],
        {"open": 1, "named": [{"name": "Rex"}, {"name": "Tom"}]},
        ["pets {open named{__typename name}}"],
    ),
    "a field behind an interface": Element(
        ON_DOGS_NAME,
        "{ open named { name } }",
        {"open": 1, "named": [{"name": None}, {"name": None}]},
        [["named", 0, "name"], ["named", 1, "name"]],
        ["pets {open named{__typename}}"],
        {"open": 1, "named": [{"name": "Rex"}, {"name": "Tom"}]},
        ["pets {open named{__typename name}}"],
    ),
    "a field behind an interface, under a type condition": Element(
        ON_DOGS_NAME,
        "{ named { ... on Dog { name bark } ... on Cat { name } } }",
        {"named": [{"name": None, "bark": "wuff"}, {"name": "Tom"}]},
        [["named", 0, "name"]],
        ["pets {named{__typename ...on Cat{name} ...on Dog{bark}}}"],
        {"named": [{"name": "Rex", "bark": "wuff"}, {"name": "Tom"}]},
        ["pets {named{__typename name ...on Dog{bark}}}"],
    ),
    "a member of a union": Element(
        ON_DOG,
        "{ pets { ... on Dog { n: name bark } ... on Cat { n: name meow } } }",
        {"pets": [{"n": None, "bark": None}, {"n": "Tom", "meow": "miau"}]},
        [["pets", 0, "n"], ["pets", 0, "bark"]],
        ["pets {pets{__typename ...on Cat{n:name meow}}}"],
        {"pets": [{"n": "Rex", "bark": "wuff"}, {"n": "Tom", "meow": "miau"}]},
        ["pets {pets{__typename ...on Cat{n:name meow} ...on Dog{n:name bark}}}"],
    ),
    "a member of a union, through an interface": Element(
        ON_DOG,
        "{ pets { ... on Named { name } } }",
        {"pets": [{"name": None}, {"name": None}]},
        [["pets", 0, "name"], ["pets", 1, "name"]],
        ["pets {pets{__typename}}"],
        {"pets": [{"name": "Rex"}, {"name": "Tom"}]},
        ["pets {pets{__typename ...on Cat{name} ...on Dog{name}}}"],
    ),
    "the type's name of a member of a union": Element(
        ON_DOG,
        "{ pets { __typename ... on Cat { meow } } }",
        {"pets": [None, {"__typename": "Cat", "meow": "miau"}]},
        [["pets", 0, "__typename"]],
        ["pets {pets{__typename ...on Cat{meow}}}"],
        {"pets": [{"__typename": "Dog"}, {"__typename": "Cat", "meow": "miau"}]},
        ["pets {pets{__typename ...on Cat{meow}}}"],
        rejected=False,
    ),
    "every member of a union": Element(
        {
            "pets": (
                "type Query { open: Int pets: [Pet] } union Pet = Dog | Cat "
                "type Dog RULE { bark: String } type Cat RULE { meow: String }",
                PETS_VALUES,
            )
        },
        "{ open pets { ... on Cat { meow } } }",
        {"open": 1, "pets": None},
        [["pets"]],
        ["pets {open}"],
        {"open": 1, "pets": [{}, {"meow": "miau"}]},
        ["pets {open pets{__typename ...on Cat{meow}}}"],
    ),
    "an interface object's field": Element(
        MEDIA_GRAPH,
        "{ media { title rating } }",
        {"media": [{"title": "Emma", "rating": None}, {"title": "Ran", "rating": None}]},
        [["media", 0, "rating"], ["media", 1, "rating"]],
        ["media {media{__typename title}}"],
        {"media": [{"title": "Emma", "rating": 5}, {"title": "Ran", "rating": 5}]},
        [
            "media {media{__typename title id}}",
            f"ratings {LOOK_UP}{{...on Media{{rating}}}}}}",
        ],
    ),
    "an interface object's field, in an implementation": Element(
        MEDIA_GRAPH,
        "{ book { title rating } }",
        {"book": {"title": "Emma", "rating": None}},
        [["book", "rating"]],
        ["media {book{title}}"],
        {"book": {"title": "Emma", "rating": 5}},
        [
            "media {book{title id}}",
            f"ratings {LOOK_UP}{{...on Media{{rating}}}}}}",
        ],
    ),
    "an enum": Element(
        {"one": ("type Query { open: Int level: [Level!] } enum Level RULE { HIGH }", {"open": 1, "level": ["HIGH"]})},
        "{ open level }",
        {"open": 1, "level": None},
        [["level"]],
        ["one {open}"],
        {"open": 1, "level": ["HIGH"]},
        ["one {open level}"],
    ),
    "a scalar": Element(
        {"one": ("type Query { open: Int key: Key } scalar Key RULE", {"open": 1, "key": "4711"})},
        "{ open key }",
        {"open": 1, "key": None},
        [["key"]],
        ["one {open}"],
        {"open": 1, "key": "4711"},
        ["one {open key}"],
    ),
    "a root": Element(
        {"one": ("type Query RULE { open: Int }", {"open": 1})},
        "{ __typename open }",
        {"__typename": "Query", "open": None},
        [["open"]],
        [],
        {"__typename": "Query", "open": 1},
        ["one {open}"],
    ),
    "what @requires reads, and the field that does": Element(
        staff(salary="RULE", tax='@requires(fields: "salary") RULE'),
        "{ person { name tax } }",
        {"person": {"name": "Ada", "tax": None}},
        [["person", "tax"]],
        ["staff {person{name}}"],
        {"person": {"name": "Ada", "tax": 30}},
        [
            "staff {person{name id salary}}",
            f"taxes {LOOK_UP}{{...on Person{{tax}}}}}}",
        ],
    ),
    "a field that reads by @requires what is open": Element(
        staff(tax='@requires(fields: "salary") RULE'),
        "{ person { salary tax } }",
        {"person": {"salary": 90, "tax": None}},
        [["person", "tax"]],
        ["staff {person{salary}}"],
        {"person": {"salary": 90, "tax": 30}},
        [
            "staff {person{salary id}}",
            f"taxes {LOOK_UP}{{...on Person{{tax}}}}}}",
        ],
    ),
}

RULES = {
    "authenticated": "@authenticated",
    "scopes": '@requiresScopes(scopes: [["audit", "read"], ["admin"]])',
    "policy": '@policy(policies: [["two", "persons"], ["owner"]])',
}

CALLERS: Mapping[str, tuple[str, bool, tuple[object, ...]]] = {
    "no plug-in": ("authenticated", False, ()),
    "no token": ("authenticated", False, (Policies(),)),
    "no token, policies": ("authenticated", False, (Policies(owner=True),)),
    "a token": ("authenticated", True, (LoggedIn(sub="ada"),)),
    "a token without claims": ("authenticated", True, (LoggedIn(),)),
    "scopes, no plug-in": ("scopes", False, ()),
    "scopes, no token": ("scopes", False, (Policies(audit=True, read=True, admin=True),)),
    "no scope": ("scopes", False, (LoggedIn(sub="ada"),)),
    "another scope": ("scopes", False, (LoggedIn(scope="write administrator"),)),
    "half of the scopes": ("scopes", False, (LoggedIn(scope="read"),)),
    "half of them in one word": ("scopes", False, (LoggedIn(scope=["audit read"]),)),
    "scopes of another kind": ("scopes", False, (LoggedIn(scope={"admin": True}),)),
    "another claim": ("scopes", False, (LoggedIn(scopes="admin", scp=["admin"], roles=["admin"]),)),
    "both scopes": ("scopes", True, (LoggedIn(scope="read  x audit"),)),
    "the other scope": ("scopes", True, (LoggedIn(scope="admin"),)),
    "scopes in a list": ("scopes", True, (LoggedIn(scope=["audit", 7, "read"]),)),
    "policy, no plug-in": ("policy", False, ()),
    "policy unanswered": ("policy", False, (LoggedIn(scope="owner two persons"), Policies())),
    "policy denied": ("policy", False, (LoggedIn(), Policies(owner=False, two=True, persons=False))),
    "half of the policies": ("policy", False, (Policies(two=True),)),
    "policies granted": ("policy", True, (Policies(two=True, persons=True, owner=False),)),
    "the other policy granted": ("policy", True, (LoggedIn(), Policies(owner=True))),
    "policies by two plug-ins": ("policy", True, (Policies(two=True), Policies(persons=True))),
}


def graph(element: Element, caller: str, config: Any) -> Graph:
    """The element with the caller's rule in its place."""
    rule = RULES[CALLERS[caller][0]]
    subgraphs = {name: (sdl.replace("RULE", rule), values) for name, (sdl, values) in element.subgraphs.items()}
    return Graph(subgraphs, *CALLERS[caller][2], config=config)


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("element", ELEMENTS.values(), ids=ELEMENTS)
async def test_what_is_shut_is_null_and_not_fetched(element: Element, caller: str) -> None:
    """Whoever does not meet a rule gets null with an error at its place, and nothing is fetched for it."""
    made = graph(element, caller, NULL_FIELDS)
    is_open = CALLERS[caller][1]
    for _ in range(TIMES):
        made.asked.clear()
        response = await made.router.execute(element.query)
        assert response.data == (element.open if is_open else element.shut)
        assert [error.path for error in response.errors] == ([] if is_open else [tuple(path) for path in element.paths])
        assert {error.code.name for error in response.errors} <= {"UNAUTHORIZED_FIELD_OR_TYPE"}
        assert made.asked == (element.open_asked if is_open else element.shut_asked)


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("element", ELEMENTS.values(), ids=ELEMENTS)
async def test_where_it_is_set_the_operation_is_rejected(element: Element, caller: str) -> None:
    """With `mode: reject` whoever does not meet a rule gets nothing, and nothing is fetched."""
    made = graph(element, caller, REJECT)
    is_open = CALLERS[caller][1]
    for _ in range(TIMES):
        made.asked.clear()
        response = await made.router.execute(element.query)
        if is_open or not element.rejected:
            assert response.refusal is None
            assert response.data == (element.open if is_open else element.shut)
            continue
        assert made.asked == []
        assert response.refusal is not None
        assert response.data is None
        is_known = any(isinstance(each, LoggedIn) for each in CALLERS[caller][2])
        assert response.refusal.status == (403 if is_known else 401)
        assert dict(response.headers) == ({} if is_known else {"www-authenticate": "Bearer"})
        assert [error.code.name for error in response.errors] == ["UNAUTHORIZED_FIELD_OR_TYPE"] * len(response.errors)
