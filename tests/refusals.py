"""What a refusal looks like through both faces, whichever service refuses."""

from typing import Any

import httpx

from subgraphs.shared.errors import ErrorCode
from subgraphs.shared.statuses import status_of

TOP_LEVEL = frozenset(
    {"invalid-cursor", "unauthenticated", "invalid-token", "expired-token", "forbidden", "unavailable"}
)
"""No business rules: they stand beside the data in GraphQL, and not in a payload."""


def check_problem(known: ErrorCode, response: httpx.Response) -> Any:
    """Over REST: the catalogue's status, code and title, and what to do, as RFC 9457 has it; the problem."""
    problem = response.json()
    assert (response.status_code, problem["code"], problem["title"]) == (status_of(known), known.code, known.title)
    assert response.headers["content-type"] == "application/problem+json"
    assert problem["detail"].rstrip(".") != known.title
    assert ("retry-after" in response.headers) == (status_of(known) == 503)
    assert ("www-authenticate" in response.headers) == (status_of(known) == 401)
    return problem


def check_refusal(known: ErrorCode, rest: httpx.Response, graphql: Any) -> None:
    """A request refused through both faces: the same code in GraphQL's payload or errors, and a remedy in both."""
    problem = check_problem(known, rest)
    if known.code in TOP_LEVEL:
        errors = [(error["extensions"]["code"], error["message"]) for error in graphql["errors"]]
        assert errors == [(known.graphql, problem["detail"])]
        assert ("retryAfterS" in graphql["errors"][0]["extensions"]) == (status_of(known) == 503)
        return
    assert "errors" not in graphql, graphql
    (payload,) = graphql["data"].values()
    fields = [(error["field"], error["message"]) for error in problem["errors"]] or [(None, problem["detail"])]
    shown = [(error["code"], error["field"], error["message"]) for error in payload["errors"]]
    assert shown == [(known.graphql, *field) for field in fields]
