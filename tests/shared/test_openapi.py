"""The OpenAPI documents of all three services: one style, and no answer that a route cannot give."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

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
