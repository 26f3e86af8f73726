"""`on_operation`: what it sees, the labels that it chooses, and the fields that it hides from a caller."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from tests.plugins.graph import SECRETS, Ask, Graph, by_execute, by_http, codes, paths, post
from trifolio import Config, OperationContext, OverrideConfig, Plugin, RequestContext

TIMES = 3
"""An operation is first interpreted; once it has been asked for a few times, generated code answers it."""


class Hide(Plugin):
    """Hides fields from whoever has no header `x-role`."""

    def __init__(self, *fields: str) -> None:
        self.fields = fields
        self.seen: list[OperationContext] = []

    async def on_operation(self, operation: OperationContext, /) -> None:
        self.seen.append(operation)
        if "x-role" not in operation.request.headers:
            operation.hidden.update(self.fields)


async def hidden(ask: Ask, query: str, *fields: str, **more: Any) -> tuple[dict[str, Any], Graph]:
    """The answer to a caller from whom fields are hidden, which is always the same and has none of their values."""
    graph = Graph(Hide(*fields))
    bodies = [await ask(graph.router, query, **more) for _ in range(TIMES)]
    assert bodies[1:] == bodies[:-1]
    text = json.dumps(bodies[0])
    assert not [secret for secret in SECRETS if secret in text]
    return bodies[0], graph


async def test_a_hook_sees_the_operation(ask: Ask) -> None:
    """Kind, name and every field are known, those in fragments and of all types of an interface too."""
    hide = Hide()
    graph = Graph(hide, config=Config(introspection=True))
    await ask(graph.router, "query Q { me { ...F } named { tax } __typename } fragment F on Person { homes { city } }")
    [seen] = hide.seen
    assert (seen.kind, seen.name, seen.introspects) == ("query", "Q", False)
    assert seen.fields == {
        *("Query.me", "Query.named", "Person.homes", "Place.city", "Named.tax", "Person.tax", "Company.tax"),
    }
    await ask(graph.router, "{ __schema { queryType { name } } }")
    assert hide.seen[1].introspects


async def test_what_is_not_valid_is_no_operation(ask: Ask) -> None:
    """Documents that do not parse, or do not fit the schema, are refused before `on_operation`."""
    hide = Hide()
    graph = Graph(hide)
    assert codes(await ask(graph.router, "{")) == ["GRAPHQL_PARSE_FAILED"]
    assert codes(await ask(graph.router, "{ nothing }")) == ["GRAPHQL_VALIDATION_FAILED"]
    assert hide.seen == []


# ---- labels ----


class Beta(Plugin):
    """Chooses the label `beta` for whoever asks for it by a header, and takes it from all others."""

    async def on_operation(self, operation: OperationContext, /) -> None:
        assert operation.known_labels == {"beta"}
        if operation.request.headers.get("x-beta") == "1":
            operation.labels.add("beta")
        else:
            operation.labels.discard("beta")


async def test_labels_are_chosen_per_request(ask: Ask) -> None:
    """A label that a hook adds holds for its request, and no other, whatever the configuration says."""
    for config in (Config(), Config(override=OverrideConfig(labels={"beta": True}))):
        graph = Graph(Beta(), config=config)
        for _ in range(TIMES):
            assert (await ask(graph.router, "{ me { nick } }", {"x-beta": "1"})) == {"data": {"me": {"nick": "new"}}}
            assert (await ask(graph.router, "{ me { nick } }")) == {"data": {"me": {"nick": "old"}}}


# ---- hidden fields ----


async def test_a_hidden_field_is_null_with_an_error(ask: Ask) -> None:
    """A nullable field becomes null at its place, the keys keep their order, and one error says why."""
    body, graph = await hidden(ask, "{ me { name tax id } }", "Person.tax")
    assert list(body["data"]["me"].items()) == [("name", "Ada"), ("tax", None), ("id", "1")]
    assert body["errors"] == [
        {
            "message": "Person.tax: The caller may not see this field.",
            "path": ["me", "tax"],
            "extensions": {"code": "UNAUTHORIZED_FIELD_OR_TYPE"},
        }
    ]
    assert "tax" not in graph.sent


async def test_a_hidden_field_that_may_not_be_null_takes_its_object(ask: Ask) -> None:
    """The null of a non-null field reaches the nearest nullable parent."""
    body, graph = await hidden(ask, "{ me { name passport } vault2: __typename }", "Person.passport")
    assert body["data"] == {"me": None, "vault2": "Query"}
    assert (codes(body), paths(body)) == (["UNAUTHORIZED_FIELD_OR_TYPE"], [["me", "passport"]])
    assert "passport" not in graph.sent


async def test_a_hidden_root_field_is_not_fetched(ask: Ask) -> None:
    """A root field is null, and where it is all that a subgraph was to be asked for, that one is not asked."""
    body, graph = await hidden(ask, "{ me { name homes { city } } }", "Query.me")
    assert (body["data"], paths(body)) == ({"me": None}, [["me"]])
    assert graph.asked == []
    body, _ = await hidden(ask, "{ vault me { name } }", "Query.vault")
    assert (body["data"], paths(body)) == (None, [["vault"]])


async def test_no_fetch_is_made_for_what_is_hidden(ask: Ask) -> None:
    """A subgraph that would only bring hidden fields is not asked."""
    body, graph = await hidden(ask, "{ me { name homes { city } } }", "Person.homes")
    assert body["data"] == {"me": {"name": "Ada", "homes": None}}
    assert graph.asked == ["people"] * TIMES
    body, graph = await hidden(ask, "{ me { name homes { city } } }", "Place.city")
    assert body["data"] == {"me": {"name": "Ada", "homes": None}}
    assert paths(body) == [["me", "homes", 0, "city"]]


async def test_lists_have_an_error_for_every_item(ask: Ask) -> None:
    """In a list the field is null in each item, with an error for each."""
    body, _ = await hidden(ask, "{ people { name tax } }", "Person.tax")
    assert body["data"] == {"people": [{"name": "Ada", "tax": None}, {"name": "Bob", "tax": None}]}
    assert paths(body) == [["people", 0, "tax"], ["people", 1, "tax"]]
    body, _ = await hidden(ask, "{ me { friends { name } } }", "Person.friends")
    assert body["data"] == {"me": {"friends": None}}


@pytest.mark.parametrize("field", ["Named.tax", "Person.tax", "Company.tax"])
async def test_a_field_on_an_interface_is_that_of_every_type(ask: Ask, field: str) -> None:
    """Selected on an interface, a field is hidden where the interface's or that of any possible type is."""
    body, graph = await hidden(ask, "{ named { name tax } }", field)
    assert body["data"] == {"named": [{"name": "Ada", "tax": None}, {"name": "Engines", "tax": None}]}
    assert "tax" not in graph.sent


async def test_a_field_of_an_interface_is_hidden_in_every_type(ask: Ask) -> None:
    """Selected on an object type, a field is hidden where that of an interface of the type is."""
    body, graph = await hidden(ask, "{ me { name tax } named { ... on Company { tax } } }", "Named.tax")
    assert body["data"]["me"] == {"name": "Ada", "tax": None}
    assert body["data"]["named"] == [{}, {"tax": None}]
    assert "tax" not in graph.sent


async def test_a_field_is_hidden_in_one_type_alone() -> None:
    """Under a type condition the types differ: one response key is hidden in one type and shown in the other."""
    graph = Graph(Hide("Person.tax"))
    query = "{ named { ... on Person { x: tax } ... on Company { x: tax } } }"
    for _ in range(TIMES):
        body = await by_execute(graph.router, query)
        assert body["data"] == {"named": [{"x": None}, {"x": "T-77"}]}
        assert paths(body) == [["named", 0, "x"]]


async def test_a_hidden_field_is_told_from_a_type_name() -> None:
    """`__typename` under the same key in another type is answered: it is not taken for what is hidden."""
    graph = Graph(Hide("Person.passport"))
    for _ in range(TIMES):
        body = await by_execute(
            graph.router, "{ named { ... on Person { x: passport } ... on Company { x: __typename } } }"
        )
        assert body["data"] == {"named": [None, {"x": "Company"}]}
        assert paths(body) == [["named", 0, "x"]]


ROUNDABOUT = {
    "an alias": "{ me { name t: tax } }",
    "a fragment": "{ me { name ...T } } fragment T on Person { t: tax }",
    "an inline fragment": "{ me { name ... on Person { ... { t: tax } } } }",
    "twice": "{ me { name t: tax ...T } } fragment T on Person { t: tax }",
    "an interface": "{ me { name ... on Named { t: tax } } }",
    "included": "{ me { name t: tax @include(if: true) } }",
    "not skipped": "{ me { name t: tax @skip(if: false) } }",
}


@pytest.mark.parametrize("query", ROUNDABOUT.values(), ids=ROUNDABOUT)
async def test_no_way_leads_to_a_hidden_field(ask: Ask, query: str) -> None:
    """Aliases, fragments and conditions do not bring a hidden field."""
    body, graph = await hidden(ask, query, "Person.tax")
    assert body["data"] == {"me": {"name": "Ada", "t": None}}
    assert paths(body) == [["me", "t"]]
    assert "tax" not in graph.sent


@pytest.mark.parametrize("value", [True, False])
async def test_conditions_hold_for_hidden_fields(ask: Ask, value: bool) -> None:
    """A hidden field that is skipped is not there, and is no error."""
    query = "query ($v: Boolean!) { me { name tax @include(if: $v) passport @skip(if: $v) } }"
    body, _ = await hidden(ask, query, "Person.tax", "Person.passport", variables={"v": value})
    assert body["data"] == {"me": {"name": "Ada", "tax": None} if value else None}
    assert paths(body) == [["me", "tax" if value else "passport"]]


async def test_variables_of_a_hidden_field_are_checked_as_before(ask: Ask) -> None:
    """A variable that only a hidden field uses may be given, and has to fit its type."""
    query = "query ($n: String!) { header(name: $n) me { name } }"
    body, _ = await hidden(ask, query, "Query.header", variables={"n": "x"})
    assert body["data"] == {"header": None, "me": {"name": "Ada"}}
    graph = Graph(Hide("Query.header"))
    assert codes(await ask(graph.router, query, variables={"n": 5})) == ["BAD_USER_INPUT"]


async def test_a_hidden_mutation_is_not_executed(ask: Ask) -> None:
    """A root field of a mutation that is hidden does nothing; the others are executed in their order."""
    query = 'mutation { a: rename(name: "A") { name } erase b: rename(name: "B") { name } }'
    body, graph = await hidden(ask, query, "Mutation.erase")
    assert body["data"] == {"a": {"name": "A"}, "erase": None, "b": {"name": "B"}}
    assert graph.people.done == ["rename A", "rename B"] * TIMES
    body, graph = await hidden(ask, "mutation { erase }", "Mutation.erase")
    assert body["data"] == {"erase": None}
    assert graph.people.done == []


NEEDED = {
    "a key": ("{ me { id homes { city } } }", "Person.id", {"me": None}),
    "a key, further down": ("{ me { friends { id homes { city } } } }", "Person.id", {"me": {"friends": None}}),
    "a requirement": ("{ me { email greeting } }", "Person.email", {"me": {"email": None, "greeting": "Hello"}}),
    "the requirement alone": ("{ me { greeting } }", "Person.email", {"me": {"greeting": "Hello"}}),
}


@pytest.mark.parametrize(("query", "field", "data"), NEEDED.values(), ids=NEEDED)
async def test_what_the_router_needs_it_does_not_show(ask: Ask, query: str, field: str, data: object) -> None:
    """A field that a key or @requires needs is fetched for them, and never shown to whom it is hidden from."""
    body, _ = await hidden(ask, query, field)
    assert body["data"] == data


async def test_another_caller_sees_the_field(ask: Ask) -> None:
    """What is hidden from one caller is there for the next, in any order: each set of hidden fields has its plan."""
    graph = Graph(Hide("Person.tax"))
    for _ in range(TIMES):
        assert (await ask(graph.router, "{ me { tax } }"))["data"] == {"me": {"tax": None}}
        assert await ask(graph.router, "{ me { tax } }", {"x-role": "admin"}) == {"data": {"me": {"tax": "T-77"}}}


async def test_fields_that_are_not_asked_for_make_no_plan() -> None:
    """Hiding what the operation does not select changes nothing, so that callers share their plans."""
    planned = []

    class Count:
        def operation_planned(self, event: object, /) -> None:
            planned.append(event)

        def fetch_ended(self, event: object, /) -> None: ...
        def operation_ended(self, event: object, /) -> None: ...

    graph = Graph(Hide("Person.passport", "Place.city"))
    graph.router.add_observer(Count())
    for role in ({"x-role": "admin"}, {}):
        assert await by_execute(graph.router, "{ me { tax } }", role) == {"data": {"me": {"tax": "T-77"}}}
    assert len(planned) == 1


async def test_parts_have_no_hidden_fields() -> None:
    """Under @defer a hidden field is null in its part, or ends it, as everywhere."""
    graph = Graph(Hide("Place.city", "Person.tax", "Person.passport"))
    query = """{ me { name
      ... @defer(label: "a") { tax homes { city } }
      ... @defer(label: "b") { passport friends { name } } } }"""
    for _ in range(TIMES):
        parts = [part async for part in graph.router.stream(query)]
        assert parts[0].data == {"me": {"name": "Ada"}}
        assert {part.label: part.data for part in parts[1:]} == {"a": {"tax": None, "homes": None}, "b": None}
        found = {error.path for part in parts for error in part.errors}
        assert {("me", "tax"), ("me", "homes", 0, "city"), ("me", "passport")} <= found
        text = repr(parts)
        assert not [secret for secret in SECRETS if secret in text]
        assert not parts[-1].has_next


@pytest.mark.parametrize("spec", ["deferSpec=20220824", "incrementalSpec=v0.2"])
async def test_parts_over_http_have_no_hidden_fields(spec: str) -> None:
    """In both formats of parts nothing of a hidden field's value is written."""
    graph = Graph(Hide("Place.city", "Person.tax"))
    for _ in range(TIMES):
        response = await post(
            graph.router,
            "{ me { name ... @defer { tax homes { city } } } }",
            {"accept": f"multipart/mixed;{spec}"},
        )
        assert response.text.count("UNAUTHORIZED_FIELD_OR_TYPE") == 2
        assert "T-77" not in response.text
        assert "London" not in response.text


async def test_introspection_can_be_refused_per_caller() -> None:
    """Whether a caller may introspect is seen before anything is answered."""
    hide = Hide()
    graph = Graph(hide, config=Config(introspection=True))
    body = await by_http(graph.router, '{ __type(name: "Place") { name } }')
    assert body["data"] == {"__type": {"name": "Place"}}
    assert hide.seen[0].introspects


async def test_what_a_later_hook_needs_stands_in_the_request() -> None:
    """Headers that `on_operation` changes are forwarded, too."""

    class Late(Plugin):
        async def on_operation(self, operation: OperationContext, /) -> None:
            headers: Mapping[str, str] = operation.request.headers
            operation.request.headers = {**headers, "X-Late": "1"}

        async def on_request(self, request: RequestContext, /) -> None:
            assert "x-late" not in request.headers

    assert await by_http(Graph(Late()).router, '{ header(name: "x-late") }') == {"data": {"header": "1"}}
