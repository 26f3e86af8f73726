"""Whatever bytes and headers arrive, they are a request or a refusal, never an exception of another kind."""

import contextlib
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trifolio.errors import RequestError
from trifolio.limits import Limits
from trifolio.server.http import (
    MediaType,
    check_content_type,
    client_address,
    decode_body,
    decode_query_string,
    is_preflighted,
    negotiate,
    prefers_html,
    read_headers,
)
from trifolio.server.log import request_id

HEADER = st.text(st.characters(max_codepoint=255), max_size=40) | st.lists(
    st.sampled_from(["application/json", "*/*", ";q=", "0.5", ",", ";charset=", "utf-8", "text/html", "q", "/", " "])
).map("".join)

quick = settings(derandomize=True, max_examples=300, deadline=None)


@quick
@given(st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_body_is_a_request_or_a_refusal(body: bytes) -> None:
    """Bytes of any kind decode to a request with a query, or are refused."""
    with contextlib.suppress(RequestError):
        assert isinstance(decode_body(body).query, str)
    with contextlib.suppress(RequestError):
        assert isinstance(decode_query_string(b"query=" + body).query, str)


@pytest.mark.parametrize(
    "parameters",
    [
        r'"query": "{ s(x: \"\ud800\") }"',
        r'"query": "{ s }", "variables": {"x": ["a", "b\uD800"]}',
        r'"query": "{ s }", "variables": {"\ud800": 1}',
        r'"query": "{ s }", "extensions": {"x": "\ud800\ud83d\ude00"}',
    ],
)
def test_half_a_character_is_named_for_what_it_is(parameters: str) -> None:
    """A lone surrogate is JSON that no text in UTF-8 can hold: it is refused by its name."""
    with pytest.raises(RequestError, match=r"has a lone surrogate, \\uD800, which is half a character"):
        decode_body(f"{{{parameters}}}".encode())
    with pytest.raises(RequestError, match=r"has a lone surrogate, \\uDC00, which is half a character"):
        decode_query_string(b"query=%7Bs%7D&variables=" + quote(r'{"x": "\udc00"}').encode())


def test_other_bodies_are_not_blamed_on_half_a_character() -> None:
    """Whole pairs are read, and what is no JSON, or no UTF-8, is called that."""
    assert decode_body(rb'{"query": "{ s }", "variables": {"x": "\ud83d\ude00"}}').variables == {
        "x": "\N{GRINNING FACE}"
    }
    for body in (rb'{"query": "\ud800', b'{"query": "\xed\xa0\x80"}', rb'{"query": "\ud83d\ude00",}'):
        with pytest.raises(RequestError, match="The body is not JSON in UTF-8"):
            decode_body(body)


@quick
@given(HEADER)
def test_any_header_is_understood_or_refused(value: str) -> None:
    """Accept, Content-Type, X-Forwarded-For and X-Request-Id may hold anything."""
    assert negotiate(value) in {*MediaType, None}
    assert prefers_html(value) in {True, False}
    assert is_preflighted({"x-apollo-operation-name": value}) is (value != "")
    with contextlib.suppress(RequestError):
        check_content_type({"content-type": value})
    assert len(client_address({"client": ("::1", 1)}, {"x-forwarded-for": value}, 1) or "") <= 64
    assert request_id(value).isascii()


@quick
@given(st.lists(st.tuples(st.binary(max_size=10).map(bytes.lower), st.binary(max_size=20)), max_size=20))
def test_any_headers_are_read(raw: list[tuple[bytes, bytes]]) -> None:
    """Repeated headers are joined, and none is lost."""
    headers = read_headers({"headers": raw, "query_string": b""}, Limits())
    assert headers.keys() == {name.decode("latin-1") for name, _ in raw}
