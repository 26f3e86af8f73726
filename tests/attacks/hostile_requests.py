"""Bytes on a connection to the router that are no request, hardly one, or a great many; each made from a seed.

What two servers could read differently stands in the tables of the protocol's own tests; it is sent here to a whole
router, damaged and in pieces, beside bodies and headers that only the application looks into.
"""

import json
from collections.abc import Callable, Mapping
from random import Random
from typing import Any, Final
from urllib.parse import quote

from tests.server.test_protocol import REFUSED, SERVED
from tests.server.wire import chunked, get, head, post

PATH: Final = "/graphql"
_JSON: Final = "content-type: application/json"

Family = Callable[[Random, int], list[bytes]]
"""What is sent, piece by piece, on one connection."""


def _post(body: bytes, *lines: str) -> list[bytes]:
    return [post(body, *(lines or (_JSON,)), path=PATH)]


def what_is_refused(chance: Random, size: int) -> list[bytes]:
    """What two servers could read differently, or is too much."""
    return [REFUSED[chance.choice([*REFUSED])][0]]


def what_is_served(chance: Random, size: int) -> list[bytes]:
    """Requests of all kinds, one behind the other, byte by byte."""
    sent = b"".join(SERVED[name][0] for name in chance.choices([*SERVED], k=3))
    return [sent[i : i + 1] for i in range(min(len(sent), 200))] + [sent[200:]]


def damaged(chance: Random, size: int) -> list[bytes]:
    """The same with pieces cut out, put in and exchanged."""
    whole = [sent for sent, _ in [*SERVED.values(), *REFUSED.values()] if len(sent) < 2_000]
    sent = bytearray(b"".join(chance.choices(whole, k=chance.randint(1, 4))))
    pieces = [b"\r\n", b"\n", b"\0", b":", b" ", b"0", b"\xff", b"", b"chunked", b"\r\n\r\n", b"HTTP/1.1"]
    for _ in range(chance.randint(1, 8)):
        place = chance.randrange(len(sent))
        sent[place : place + chance.randint(0, 3)] = chance.choice(pieces)
    cut = chance.randrange(len(sent))
    return [bytes(sent[:cut]), bytes(sent[cut:])]


def deep_json(chance: Random, size: int) -> list[bytes]:
    """A body that nests without end."""
    opening = chance.choice([b"[", b'{"a":', b'{"query":', b'{"variables":{"a":'])
    return _post(opening * (size // len(opening)))


def strange_json(chance: Random, size: int) -> list[bytes]:
    """A body whose members are of every other kind."""
    values: list[Any] = [None, 1, -1.5, "", "{ __typename }", [], {}, [[]], {"a": 1}, True, 2**70, "\ud800", "\x00"]
    members = {name: chance.choice(values) for name in ("query", "variables", "operationName", "extensions", "id")}
    return _post(json.dumps(chance.choice([members, [members], *values, members, members])).encode())


def no_json(chance: Random, size: int) -> list[bytes]:
    """A body that is almost JSON, or nothing of the kind."""
    right = b'{"query": "{ __typename }"}'
    kinds = [
        right[:-1],
        right + right,
        b"\xef\xbb\xbf" + right,
        b"\xff\xfe" + right,
        b"NaN",
        b"",
        b" " * size,
        b"\0" * size,
    ]
    kinds += [
        b"{" + b'"query":"a",' * (size // 12) + b'"query":"{ __typename }"}',
        b'"' + b"\\u0041" * (size // 6) + b'"',
    ]
    kinds += [b"[" + b"1," * (size // 2) + b"1]", b'{"query":' + b"1" * size + b"}", b"query=%7B__typename%7D"]
    return _post(chance.choice(kinds))


def strange_headers(chance: Random, size: int) -> list[bytes]:
    """Headers that the application reads, with values of every other kind."""
    names = ["accept", "content-type", "content-encoding", "origin", "x-request-id", "x-forwarded-for", "forwarded"]
    names += ["authorization", "cookie", "traceparent", "if-none-match", "apollo-require-preflight", "te", "expect"]
    values = ["", "*/*", ";", ",,,", "a;q=1;q=0", "a;q=9e99", "text/html", '"', "gzip, br", "Bearer ", "Bearer a.b.c"]
    values += [
        "application/json;charset=utf-7",
        "multipart/mixed;deferSpec=20220824",
        "100-continue",
        "\x80\xff",
        "a" * 9_000,
    ]
    values += [",".join(f"a/b{n};q=0.{n}" for n in range(500)), "1.2.3.4, " * 1_000, "=;" * 3_000]
    lines = [f"{chance.choice(names)}: {chance.choice(values)}" for _ in range(chance.randint(1, 5))]
    return _post(b'{"query": "{ __typename }"}', _JSON, *lines)


def strange_urls(chance: Random, size: int) -> list[bytes]:
    """Paths that are almost there, and queries of every kind."""
    paths = ["/", "//", "/graphql/", "/graphql/..", "/%67raphql", "/%00", "/%ff", "/health?", "/metrics", "/ready#a"]
    paths += ["/graphql?query", "/graphql?query=%7B__typename%7D&query=", "/graphql?variables=" + "%5B" * 3_000]
    paths += [
        "/graphql?" + "a&" * 7_000,
        "/graphql?query=" + quote("{" * 4_000),
        "/graphql?extensions={}",
        "/graphql?%",
    ]
    return [get(chance.choice(paths), "x-apollo-operation-name: a", "apollo-require-preflight: 1")]


def any_pages_image(chance: Random, size: int) -> list[bytes]:
    """A GET that any page can make a browser send, with an operation that would be much work."""
    query = "{ __schema { types { fields { " + " ".join(f"a{n}: name" for n in range(500)) + " } } } }"
    return [get(f"{PATH}?query={quote(query)}", "accept: image/*")]


def pipelined(chance: Random, size: int) -> list[bytes]:
    """A great many requests at once, small or large."""
    one = chance.choice(
        [get("/health"), get("/nowhere"), *_post(b'{"query": "{ __typename }"}'), *_post(b"{" * 10_000)]
    )
    return [one * min(1_000, 1 + size // len(one))]


def small_chunks(chance: Random, size: int) -> list[bytes]:
    """A body in chunks of one byte, or with extensions that are longer than it."""
    extension = chance.choice([b"", b";a=" + b"b" * 100])
    count = size // (6 + len(extension))
    return [
        head("host: x", _JSON, "transfer-encoding: chunked", start=f"POST {PATH} HTTP/1.1"),
        b"1%b\r\n \r\n" % extension * count,
    ]


def long_trailers(chance: Random, size: int) -> list[bytes]:
    """Fields behind the body, without end."""
    return [chunked(b"{}", trailers=b"a: " + b"b" * 1000 + b"\r\n", path=PATH)[:-2], b"c: d\r\n" * (size // 6)]


def other_methods(chance: Random, size: int) -> list[bytes]:
    """Methods that nobody serves."""
    method = chance.choice(["PUT", "DELETE", "PATCH", "TRACE", "HEAD", "OPTIONS", "PROPFIND", "SEARCH", "M-SEARCH"])
    lines = ["host: x", "origin: http://evil.test", "access-control-request-method: POST", "content-length: 2"]
    return [head(*lines, start=f"{method} {chance.choice([PATH, '/health', '*', '/'])} HTTP/1.1") + b"{}"]


FAMILIES: Final[Mapping[Family, int]] = {
    what_is_refused: 1,
    what_is_served: 1,
    damaged: 1,
    deep_json: 1_900_000,
    strange_json: 1,
    no_json: 1_900_000,
    strange_headers: 1,
    strange_urls: 1,
    any_pages_image: 1,
    pipelined: 500_000,
    small_chunks: 2_000_000,
    long_trailers: 2_000_000,
    other_methods: 1,
}
"""Every family with the size up to which it grows: about that of the limit on bodies."""
FAMILIES_BY_NAME: Final[Mapping[str, Family]] = {each.__name__: each for each in FAMILIES}

STATUSES: Final = frozenset({100, 200, 204, 400, 403, 404, 405, 406, 408, 413, 414, 415, 431, 503})
"""What a router may say to any of these."""
