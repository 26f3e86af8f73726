"""An answer in parts over HTTP: `multipart/mixed`, in the two formats that clients ask for by a parameter of Accept.

No release of the GraphQL specification has @defer, and two drafts of it are in use. They differ in how a part says what
it adds to:

`deferSpec=20220824` (Apollo's clients): every part has the path of its object, and its data with all that leads to it.

    {"data": {"me": {"id": 1}}, "hasNext": true}
    {"incremental": [{"path": ["me"], "label": "pets", "data": {"pets": []}}], "hasNext": false}

`incrementalSpec=v0.2` (graphql-js 17 from alpha 9 on): parts are announced with an id, nothing is said twice, and each
is completed.

    {"data": {"me": {"id": 1}}, "pending": [{"id": "0", "path": ["me"], "label": "pets"}], "hasNext": true}
    {"incremental": [{"id": "0", "data": {"pets": []}}], "completed": [{"id": "0"}], "hasNext": false}

With a live trace, parts that have extensions and no data come before the first answer, and between parts:

    {"extensions": {"trace": {"fetches": []}}, "hasNext": true}

A boundary is written right after each part, as clients take a part for complete when they have read the boundary.

Specifications: RFC 2046, section 5.1 (multipart); https://specs.apollo.dev/incremental/v0.2/; the incremental delivery
proposal over HTTP of August 24, 2022.
"""

from collections.abc import Mapping
from enum import Enum
from typing import Final

from trifolio.executor.encoding import encode_json
from trifolio.parts import Part, Parts, Pending
from trifolio.response import Response

_BOUNDARY: Final = b"graphql"
_PART_HEAD: Final = b"\r\ncontent-type: application/json; charset=utf-8\r\n\r\n"
_OPENING: Final = b"\r\n--" + _BOUNDARY
_ENDING: Final = b"--\r\n"


class PartsFormat(Enum):
    """How the parts are written."""

    DEFER_20220824 = ("deferspec", "20220824", "deferSpec=20220824")
    INCREMENTAL_0_2 = ("incrementalspec", "v0.2", "incrementalSpec=v0.2")

    def __init__(self, parameter: str, value: str, text: str) -> None:
        self.parameter = parameter
        """The parameter of Accept that asks for it, in lower case."""
        self.value_asked = value
        """The parameter's value."""
        self.content_type = f'multipart/mixed;boundary="{_BOUNDARY.decode()}";{text}'.encode()
        """The response's Content-Type."""

    @property
    def opening(self) -> bytes:
        """The body's beginning: the boundary before the first part."""
        return _OPENING

    def first(self, response: Response) -> bytes:
        """The body's beginning: the first part, up to the boundary after it."""
        return _OPENING + self.answer(response)

    def progress(self, extensions: Mapping[str, object]) -> bytes:
        """What there is to say before an answer, or between its parts, up to the boundary after it."""
        return _PART_HEAD + encode_json({"extensions": extensions, "hasNext": True}) + _OPENING

    def answer(self, response: Response) -> bytes:
        """The first part of an answer, up to the boundary after it."""
        body = {**response.to_json(), "hasNext": response.later is not None}
        if self is PartsFormat.INCREMENTAL_0_2 and response.pending:
            body["pending"] = [_pending(each) for each in response.pending]
        return _PART_HEAD + encode_json(body) + _OPENING + (b"" if response.later else _ENDING)

    def following(self, parts: Parts) -> bytes:
        """What comes at once, up to the boundary after it."""
        write = _write_20220824 if self is PartsFormat.DEFER_20220824 else _write_0_2
        body = {**write(parts), "hasNext": parts.has_next}
        return _PART_HEAD + encode_json(body) + _OPENING + (b"" if parts.has_next else _ENDING)


def _write_20220824(parts: Parts) -> dict[str, object]:
    incremental = []
    for part in parts.parts:
        item: dict[str, object] = {"path": part.pending.path, "data": part.data}
        if part.pending.label is not None:
            item["label"] = part.pending.label
        incremental.append(_with_errors(item, part))
    return {"incremental": incremental}


def _write_0_2(parts: Parts) -> dict[str, object]:
    body: dict[str, object] = {}
    if parts.pending:
        body["pending"] = [_pending(each) for each in parts.pending]
    incremental: list[dict[str, object]] = []
    completed: list[dict[str, object]] = []
    for part in parts.parts:
        own: dict[str, object] = {"id": part.pending.id}
        if part.data is None:
            completed.append(_with_errors(own, part))
            continue
        items: list[dict[str, object]] = []
        for increment in part.increments:
            item: dict[str, object] = {**own, "data": increment.data}
            if increment.sub_path:
                item["subPath"] = increment.sub_path
            items.append(item)
        if not items and (part.errors or part.extensions):
            items.append({**own, "data": {}})
        if items:
            items[0] = _with_errors(items[0], part)
        incremental += items
        completed.append(own)
    if incremental:
        body["incremental"] = incremental
    body["completed"] = completed
    return body


def _with_errors(item: dict[str, object], part: Part) -> dict[str, object]:
    if part.errors:
        item["errors"] = [error.to_json() for error in part.errors]
    if part.extensions:
        item["extensions"] = dict(part.extensions)
    return item


def _pending(pending: Pending) -> dict[str, object]:
    body: dict[str, object] = {"id": pending.id, "path": pending.path}
    if pending.label is not None:
        body["label"] = pending.label
    return body
