"""The page docs/error-codes.md: every code that the services answer with, out of their catalogues."""

from collections.abc import Iterable
from types import ModuleType

from subgraphs.shared import errors
from subgraphs.shared.errors import COMMON_CODES, ErrorCode, codes_in
from subgraphs.shared.statuses import status_of
from subgraphs.stocks import rules as stocks_rules
from subgraphs.users import rules as users_rules
from subgraphs.users import rules_authorizations
from subgraphs.wallet import rules as wallet_rules

CATALOGUES: tuple[tuple[str, tuple[ModuleType, ...]], ...] = (
    ("Every service", (errors,)),
    ("Users", (users_rules, rules_authorizations)),
    ("Wallet", (wallet_rules,)),
    ("Stocks", (stocks_rules,)),
)
"""Headings, and the modules that define the codes below them."""

_INTRODUCTION = """# Error codes of the services

What users, wallet and stocks refuse has a code, and the code is the contract: programs decide by it, people read the
rest. A code means the same in every service and through both faces.

- REST answers a problem document (RFC 9457): `code`, `title`, `detail` (what is wrong and what to do), `errors` (the
  members at fault), `requestId`, and sometimes the id of what was refused, as `orderId` or `authorizationId`. Its
  `type` is the code's place on a page such as this one: each service has its own at `/error-codes`, and
  `TRIFOLIO_PROBLEM_TYPES_URL` names another, where these tables are published.
- GraphQL spells the code in upper snake case, `insufficient-funds` as `INSUFFICIENT_FUNDS`. A refused business rule
  stands in the `errors` of the mutation's payload, with `code`, `message` and `field`. Whatever else went wrong stands
  in the response's `errors`, with the code in `extensions.code`: no token or a bad one, `forbidden`, too many attempts,
  statuses 500 and 503, and what a query asked wrongly. The router has codes of its own: [router.md](router.md).

`Retry-After` goes with 429 and 503 (`extensions.retryAfterS` in GraphQL). After a 503, or no answer at all, repeat a
request that creates something under the same idempotency key: it has one effect.

Made by `make docs` from the catalogues in `subgraphs/*/rules*.py` and `subgraphs/shared/errors.py`.
"""


def codes_of(modules: Iterable[ModuleType]) -> tuple[ErrorCode, ...]:
    """The codes that those modules define, in their order; what they import from the shared catalogue is left out."""
    modules = tuple(modules)
    return tuple(code for code in codes_in(*modules) if modules == (errors,) or code not in COMMON_CODES)


def error_page() -> str:
    """The page as it has to stand in docs/error-codes.md."""
    anchored: set[str] = set()
    sections = (f"\n## {heading}\n\n{_table(codes_of(modules), anchored)}" for heading, modules in CATALOGUES)
    return _INTRODUCTION + "".join(sections)


def _table(codes: Iterable[ErrorCode], anchored: set[str]) -> str:
    rows = (_row(code, _anchor(code, anchored)) for code in codes)
    return "\n".join(("| code | status | what is wrong | what to do |", "| --- | --- | --- | --- |", *rows)) + "\n"


def _row(code: ErrorCode, anchor: str) -> str:
    return f"| {anchor}`{code.code}` | {status_of(code)} | {code.title} | {code.remedy} |"


def _anchor(code: ErrorCode, anchored: set[str]) -> str:
    """What the `type` of a problem leads to; where several services have a code, the first of them."""
    if code.code in anchored:
        return ""
    anchored.add(code.code)
    return f'<a id="{code.code}"></a>'
