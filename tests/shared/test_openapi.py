"""The OpenAPI documents of all three services: one style, and no answer that a route cannot give."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from subgraphs.shared.app import KEY_PATTERN
from subgraphs.shared.errors import Refusal
from subgraphs.shared.idempotency import idempotency_key
from subgraphs.shared.money import (
    AMOUNT_PATTERN,
    PRICE_PATTERN,
    QUANTITY_OR_ZERO_PATTERN,
    QUANTITY_PATTERN,
    parse_amount,
    parse_price,
    parse_quantity,
)
from subgraphs.shared.pagination import CURSOR_CHARACTERS_MAX
from tests.shared.test_routing import SERVICES, application, operations

OF_BODIES = {"400", "413", "415"}
OF_ALL = {"422", "500", "503"}
VERBS = {"Returns", "Registers", "Logs", "Exchanges", "Updates", "Creates", "Revokes", "Ends"}


@pytest.mark.parametrize("service", SERVICES)
def test_what_only_a_body_can_cause_is_documented_where_one_is_read(tmp_path: Path, service: str) -> None:
    """413 and 415 stand at every route with a body and at no other; 422, 500 and 503 at all of them."""
    for method, path, operation in operations(application(service, tmp_path)):
        if path.startswith("/.well-known"):
            continue
        documented = set(operation["responses"])
        assert documented >= OF_ALL, (method, path)
        if "requestBody" in operation:
            assert documented >= OF_BODIES, (method, path)
        else:
            assert not documented & {"413", "415"}, (method, path)


@pytest.mark.parametrize("service", SERVICES)
def test_every_route_says_what_it_does(tmp_path: Path, service: str) -> None:
    """A summary that opens with a verb, a description, and one for every header and page parameter."""
    for method, path, operation in operations(application(service, tmp_path)):
        assert operation["summary"].split()[0] in VERBS, (method, path)
        assert operation["description"], (method, path)
        for parameter in operation.get("parameters", []):
            described = parameter["in"] == "header" or parameter["name"] in ("after", "limit")
            assert not described or parameter["description"], (method, path, parameter["name"])


@pytest.mark.parametrize("service", SERVICES)
def test_no_name_is_said_twice(tmp_path: Path, service: str) -> None:
    """No schema has a title made out of its own name; the examples of problems keep theirs."""
    document = application(service, tmp_path).openapi()
    parts = [document["paths"], document["components"]["schemas"]]
    assert [title for part in parts for title in schema_titles(part)] == []
    assert '"title"' in str(document).replace("'", '"')


def schema_titles(value: Any) -> Iterator[str]:
    """Every title outside of examples."""
    if isinstance(value, dict):
        if isinstance(value.get("title"), str):
            yield value["title"]
        for name, inside in value.items():
            if name != "examples":
                yield from schema_titles(inside)
    elif isinstance(value, list):
        for inside in value:
            yield from schema_titles(inside)


@pytest.mark.parametrize("service", SERVICES)
def test_answers_have_the_headers_that_their_kind_has(tmp_path: Path, service: str) -> None:
    """A request id everywhere; Retry-After, WWW-Authenticate and Location with the statuses that they belong to."""
    document = application(service, tmp_path).openapi()
    known = document["components"]["headers"]
    for methods in document["paths"].values():
        for operation in methods.values():
            for status, response in operation["responses"].items():
                headers = {each["$ref"].removeprefix("#/components/headers/") for each in response["headers"].values()}
                assert headers == set(response["headers"])
                assert headers <= set(known)
                assert "X-Request-Id" in headers
                assert ("Retry-After" in headers) == (status in ("429", "503"))
                assert ("WWW-Authenticate" in headers) == (status == "401")
                assert ("Location" in headers) == (status in ("201", "202")), operation["operationId"]


@pytest.mark.parametrize("service", SERVICES)
def test_parameters_are_plain_and_named_as_documented(tmp_path: Path, service: str) -> None:
    """None may be null, as no URL or header can say that; names are those of the documentation, in camel case."""
    document = application(service, tmp_path).openapi()
    for path, methods in document["paths"].items():
        assert "_" not in path, path
        for operation in methods.values():
            assert re.fullmatch("[a-z]+([A-Z][a-z]+)*", operation["operationId"])
            for parameter in operation.get("parameters", []):
                schema = parameter["schema"]
                assert "anyOf" not in schema, (path, parameter["name"])
                assert "_" not in parameter["name"]
                if parameter["in"] == "path":
                    assert (schema["format"], "pattern" in schema) == ("uuid", True)
    names = [operation["operationId"] for methods in document["paths"].values() for operation in methods.values()]
    assert len(names) == len(set(names))


def test_what_a_parameter_may_be_is_documented(tmp_path: Path) -> None:
    """Limits as they are enforced: of a page, a cursor, a key, a month."""
    paths = application("wallet", tmp_path).openapi()["paths"]
    named = {each["name"]: each["schema"] for each in paths["/transactions"]["get"]["parameters"]}
    assert (named["limit"]["minimum"], named["limit"]["maximum"], named["limit"]["type"]) == (1, 100, "integer")
    assert named["after"]["maxLength"] == CURSOR_CHARACTERS_MAX
    assert {"kind", "type"} <= set(named)
    key = next(each for each in paths["/transactions"]["post"]["parameters"] if each["name"] == "Idempotency-Key")
    assert (key["required"], key["schema"]["type"], key["schema"]["maxLength"]) == (False, "string", 255)
    month = paths["/transactions/statement"]["get"]["parameters"][0]["schema"]
    assert re.search(month["pattern"], "2026-01")
    assert not re.search(month["pattern"], "9999-01")


@pytest.mark.parametrize(
    ("service", "member"),
    [("stocks", "orderId"), ("stocks", "smallestQuantity"), ("users", "authorizationId"), ("wallet", "")],
)
def test_a_problem_names_what_was_refused(tmp_path: Path, service: str, member: str) -> None:
    """The members that only some refusals have are documented as optional, at the service that has them."""
    problem = application(service, tmp_path).openapi()["components"]["schemas"]["Problem"]
    optional = set(problem["properties"]) - set(problem["required"])
    assert {member} - {""} <= optional
    assert bool(optional) == bool(member)


@pytest.mark.parametrize("service", SERVICES)
def test_what_is_created_or_listed_leads_to_itself(tmp_path: Path, service: str) -> None:
    """Links name a route by its id and each of its parameters."""
    document = application(service, tmp_path).openapi()
    operations_by_id = {
        operation["operationId"]: path for path, methods in document["paths"].items() for operation in methods.values()
    }
    links = {
        name: link
        for methods in document["paths"].values()
        for operation in methods.values()
        for response in operation["responses"].values()
        for name, link in response.get("links", {}).items()
    }
    assert links
    for link in links.values():
        path = operations_by_id[link["operationId"]]
        assert all(f"{{{name}}}" in path for name in link["parameters"])


@pytest.mark.parametrize("service", SERVICES)
async def test_a_path_that_is_spelled_out_is_no_parameter(tmp_path: Path, service: str) -> None:
    """Another method at `/users/login` or `/orders/statement` is 405 and no object of that name."""
    app = application(service, tmp_path)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=f"http://{service}") as http:
        for path, methods in app.openapi()["paths"].items():
            for method in {"GET", "POST", "PUT", "DELETE"} - {each.upper() for each in methods}:
                if "{" not in path and path != "/balance":
                    answer = await http.request(method, path)
                    assert answer.status_code == 405, (method, path)


@pytest.mark.parametrize("service", SERVICES)
async def test_no_request_waits_for_the_document(tmp_path: Path, service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Making it takes longer than a request may, so only those make it who ask for it, or whether a method is there."""
    app = application(service, tmp_path)
    routes = operations(application(service, tmp_path))
    monkeypatch.setattr(type(app), "openapi", lambda _app: pytest.fail("the document was made"))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=f"http://{service}") as http:
        for method, path, operation in routes:
            answer = await http.request(method, path.replace("{", "").replace("}", "") + "?x=1")
            assert answer.status_code == (401 if "security" in operation else 422), (method, path)


TEXTS = st.one_of(
    st.from_regex(r"-?[0-9]{1,20}(\.[0-9]{0,8})?", fullmatch=True),
    st.text(max_size=8),
    st.decimals(allow_nan=False).map(str),
)


@given(TEXTS)
def test_documented_patterns_are_the_rules_of_numbers(text: str) -> None:
    """What a parser takes matches its pattern, and what matches is refused for its size alone."""
    rules: list[tuple[str, Callable[[], int]]] = [
        (AMOUNT_PATTERN, lambda: parse_amount(text, "KWD")),
        (QUANTITY_PATTERN, lambda: parse_quantity(text)),
        (QUANTITY_OR_ZERO_PATTERN, lambda: parse_quantity(text, zero_allowed=True)),
        (PRICE_PATTERN, lambda: parse_price(text)),
    ]
    for pattern, parse in rules:
        matches = re.search(pattern.replace("$", r"\Z"), text, re.ASCII) is not None
        fault = message_of(parse)
        if fault is None or not matches:
            assert matches == (fault is None) or "largest" in str(fault), (pattern, text, fault)
        else:
            assert "largest" in fault, (pattern, text, fault)


@given(st.text(st.characters(max_codepoint=255), max_size=12))
def test_the_documented_key_is_every_key_that_a_header_carries(key: str) -> None:
    """A key within the pattern is taken, and one outside of it is refused, but for the spaces that HTTP takes off."""
    matches = re.search(KEY_PATTERN.replace("$", r"\Z"), key) is not None
    taken = message_of(lambda: idempotency_key("caller", "route", key, {})) is None
    assert matches == (taken and key == key.strip(" "))


def message_of(parse: Callable[[], object]) -> str | None:
    """Why a parser refuses; None if it does not."""
    try:
        parse()
    except Refusal as refusal:
        return refusal.fields[0].message if refusal.fields else refusal.detail
    return None
