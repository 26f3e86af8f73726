"""A check for Schemathesis: a request that is as documented is not refused for its form.

The check that Schemathesis brings goes by statuses, and 422 is the status of both an amount that is no number and an
account that is empty. Ours have a code, so this one is stricter.
"""

import re
from typing import Any

import schemathesis
from schemathesis import Case, CheckContext, Response

FORM = {"malformed-request", "unsupported-media-type", "body-too-large", "invalid-idempotency-key", "unknown-currency"}
"""Codes that say nothing but: the request is not as documented."""
NUMBERS = {"invalid-amount", "invalid-quantity", "invalid-price"}
"""Patterns say how a number is written. A currency's decimals, and that 9000000 is beyond 1000000, they do not."""
RELATED = {
    "limitPrice": "which prices an order has depends on its type",
    "stopPrice": "which prices an order has depends on its type",
    "timeInForce": "a market order has none",
    "expiresAt": "it goes with timeInForce gtd, and lies in the coming year",
    "quantity": "an order is worth neither too little nor too much at its price",
    "commitedAmount": "it has two spellings, of which one is sent",
    "currency": "it goes with capital",
    "stockholdingId": "it goes with stockholding",
    "currentPassword": "it goes with a new password or e-mail address, and is right",
    "to": "it is after `from`",
    "type": "it is no other than `kind`",
}
"""Members that are refused because of others, or of the time, with what no schema here says of them."""
TIMES = {"startsAt", "endsAt", "expiresAt", "from", "to"}
"""`date-time` has all years; ours are those from 1970."""
IF_MATCH = re.compile(r'\*|"[^",]*"')


@schemathesis.check
def form_is_as_documented(ctx: CheckContext, response: Response, case: "Case[Any]") -> None:  # the interface
    """No refusal of a documented request is about its form."""
    if case.meta is None or not case.meta.generation.mode.is_positive or response.status_code not in (400, 415, 422):
        return
    if IF_MATCH.fullmatch(str(case.headers.get("If-Match", "*"))) is None:
        return  # Schemathesis draws this header by itself, whatever the document says of it.
    problem = response.json()
    assert problem["code"] not in FORM, f"{problem['code']} for a documented request"
    if problem["code"] == "invalid-request":
        unexplained = [error for error in problem["errors"] if not explained(error["field"], case)]
        assert not unexplained, f"a documented request is invalid: {unexplained}"


def explained(field: str, case: "Case[Any]") -> bool:
    """Whether a schema could not have said what is wrong with a member."""
    return field in RELATED or field in TIMES or not printable(case, field)


def printable(case: "Case[Any]", field: str) -> bool:
    """Whether a member's text is printable, as names and addresses have to be: no pattern says that of all Unicode."""
    body: Any = case.body
    text = body.get(field) if isinstance(body, dict) else case.query.get(field, "")
    return not isinstance(text, str) or text.isprintable()
