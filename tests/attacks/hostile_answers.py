"""What subgraphs answer: rightly, for any operation on a supergraph, and in every wrong way that one may come to.

`Subgraphs` has a value for everything that a plan asks, by the types of the supergraph. A family takes such an answer
and makes another body of it; `WIRE` has what goes wrong below the body, as bytes of a connection.
"""

import gzip
import json
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from random import Random
from typing import Any, Final

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLSchema,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
    VariableNode,
    get_named_type,
    is_abstract_type,
    is_enum_type,
    is_list_type,
    is_non_null_type,
    parse,
)

Json = dict[str, Any]


class Subgraphs:
    """All subgraphs of a supergraph: each knows what any of them may be asked."""

    def __init__(self, schema: GraphQLSchema, *, items: int = 2) -> None:
        """`schema` is the API schema; every list has so many `items`."""
        self._schema = schema
        self._items = items

    def answer(self, operation: str, variables: Mapping[str, object]) -> Json:
        """The payload for one request: `data`, and nothing wrong."""
        document = _parse(operation)
        [asked] = [each for each in document.definitions if isinstance(each, OperationDefinitionNode)]
        fragments = {
            each.name.value: each.selection_set
            for each in document.definitions
            if isinstance(each, FragmentDefinitionNode)
        }
        root = self._schema.get_root_type(asked.operation)
        return {"data": self._object(root, asked.selection_set, fragments, variables)}

    def _object(
        self,
        of: Any,
        selection_set: SelectionSetNode,
        fragments: Mapping[str, SelectionSetNode],
        variables: Mapping[str, object],
    ) -> Json:
        found: Json = {}
        for selection in selection_set.selections:
            if isinstance(selection, FieldNode):
                key = selection.alias.value if selection.alias else selection.name.value
                value = self._field(of, selection, fragments, variables)
                found[key] = _together(found[key], value) if key in found else value
            elif isinstance(selection, InlineFragmentNode):
                condition = selection.type_condition
                if condition is None or self._is_one(of, condition.name.value):
                    found = _together(found, self._object(of, selection.selection_set, fragments, variables))
            elif isinstance(selection, FragmentSpreadNode):
                found = _together(found, self._object(of, fragments[selection.name.value], fragments, variables))
        return found

    def _field(
        self, of: Any, field: FieldNode, fragments: Mapping[str, SelectionSetNode], variables: Mapping[str, object]
    ) -> Any:
        name = field.name.value
        if name == "__typename":
            return of.name if of is not None else "Query"
        if name == "_entities":
            assert field.selection_set is not None
            [argument] = field.arguments or ()
            assert isinstance(argument.value, VariableNode)
            given: Any = variables[argument.value.name.value]
            return [
                self._object(self._schema.get_type(each["__typename"]), field.selection_set, fragments, variables)
                for each in given
            ]
        definition = getattr(of, "fields", {}).get(name)
        if definition is None:  # nobody but subgraphs sees it
            return "1" if field.selection_set is None else self._object(None, field.selection_set, fragments, variables)
        return self._value(definition.type, field, fragments, variables)

    def _value(
        self, of: Any, field: FieldNode, fragments: Mapping[str, SelectionSetNode], variables: Mapping[str, object]
    ) -> Any:
        if is_non_null_type(of):
            return self._value(of.of_type, field, fragments, variables)
        if is_list_type(of):
            return [self._value(of.of_type, field, fragments, variables) for _ in range(self._items)]
        if field.selection_set is not None:
            if is_abstract_type(of):
                of = self._schema.get_possible_types(of)[0]
            return self._object(of, field.selection_set, fragments, variables)
        if is_enum_type(of):
            return next(iter(of.values))
        return {"Int": 1, "Float": 1.5, "Boolean": True}.get(get_named_type(of).name, "1")

    def _is_one(self, of: Any, condition: str) -> bool:
        if of is None or of.name == condition:
            return True
        wider = self._schema.get_type(condition)
        return wider is None or (is_abstract_type(wider) and self._schema.is_sub_type(wider, of))


@lru_cache(maxsize=64)
def _parse(operation: str) -> DocumentNode:
    return parse(operation, no_location=True)


def _together(one: Any, other: Any) -> Any:
    """Two answers to one key, merged."""
    if isinstance(one, dict) and isinstance(other, dict):
        merged = dict(one)
        for key, value in other.items():
            merged[key] = _together(merged[key], value) if key in merged else value
        return merged
    if isinstance(one, list) and isinstance(other, list):
        return [_together(mine, theirs) for mine, theirs in zip(one, other, strict=True)]
    return one


# ---- bodies ----

Family = Callable[[Json, Random, int], bytes]


def _encode(payload: object) -> bytes:
    return json.dumps(payload).encode()


def _changed(value: Any, change: Callable[[Any], Any]) -> Any:
    """The same with every leaf, list and object changed, from inside out."""
    if isinstance(value, dict):
        return change({key: _changed(each, change) for key, each in value.items()})
    if isinstance(value, list):
        return change([_changed(each, change) for each in value])
    return change(value)


def as_it_should_be(payload: Json, chance: Random, size: int) -> bytes:
    """The right answer."""
    return _encode(payload)


def long_lists(payload: Json, chance: Random, size: int) -> bytes:
    """The first list that comes has very many items."""
    left = [size]

    def change(value: Any) -> Any:
        if isinstance(value, list) and value and left[0]:
            times, left[0] = -(-left[0] // len(value)), 0
            return value * times
        return value

    return _encode(_changed(payload, change))


def many_errors(payload: Json, chance: Random, size: int) -> bytes:
    """Errors without end, with paths that are there, are not, or are no paths."""
    keys = list(payload["data"]) or ["a"]
    paths: list[Any] = [[chance.choice(keys), n % 7, "a"] for n in range(50)] + [[], None, "a", [None], [keys[0]], [-1]]
    errors = [{"message": f"error {n}", "path": paths[n % len(paths)], "extensions": {"n": n}} for n in range(size)]
    return _encode({**payload, "errors": errors})


def errors_that_are_none(payload: Json, chance: Random, size: int) -> bytes:
    """Errors of every other kind."""
    kinds: list[Any] = [None, 1, "text", [], {}, {"message": None}, {"message": {"a": 1}, "path": {}}, {"path": [[]]}]
    kinds += [{"message": "m", "extensions": 1}, {"message": "m", "locations": "x", "extensions": {"code": [1]}}]
    errors: Any = [chance.choice(kinds) for _ in range(size)]
    return _encode({"data": chance.choice([payload["data"], None]), "errors": chance.choice([errors, kinds[2], {}, 1])})


def large_extensions(payload: Json, chance: Random, size: int) -> bytes:
    """An error that has very much to say."""
    error = {"message": "m" * size, "extensions": {f"key{n}": "x" * 100 for n in range(size // 100)}}
    return _encode({**payload, "errors": [error], "extensions": {"x" * 100: list(range(size // 10))}})


def deep_values(payload: Json, chance: Random, size: int) -> bytes:
    """A value within lists and objects, hundreds of levels deep."""
    opening, closing = chance.choice([("[", "]"), ('{"a":', "}")])
    deep = opening * size + "1" + closing * size
    return _encode(_changed(payload, lambda each: each if isinstance(each, dict | list) else "DEEP")).replace(
        b'"DEEP"', deep.encode(), 1
    )


def wrong_shapes(payload: Json, chance: Random, size: int) -> bytes:
    """Here and there a value of another shape."""
    others: list[Any] = [None, 0, -1, 1e300, "", "text", True, [], [[]], {}, {"a": 1}, [None], 2**80]
    return _encode(
        {"data": _changed(payload["data"], lambda each: chance.choice(others) if chance.random() < 0.2 else each)}
    )


def no_payload(payload: Json, chance: Random, size: int) -> bytes:
    """JSON that is no GraphQL answer."""
    others: list[Any] = [
        None,
        1,
        "data",
        [],
        [payload],
        {},
        {"data": []},
        {"data": 1},
        {"errors": []},
        {"errors": None},
    ]
    return _encode(chance.choice([*others, {"data": None}, {"data": None, "errors": []}, {"DATA": payload["data"]}]))


def wrong_typenames(payload: Json, chance: Random, size: int) -> bytes:
    """Objects that say that they are something else, or nothing."""
    names: list[Any] = ["Query", "Nobody", "", None, 1, [], {}, "Mutation", "__Type", "String", "a" * size]

    def change(value: Any) -> Any:
        for key in value if isinstance(value, dict) else ():
            if "typename" in key:
                value[key] = chance.choice(names)
        return value

    return _encode(_changed(payload, change))


def duplicate_keys(payload: Json, chance: Random, size: int) -> bytes:
    """Every key twice, with other values, and one very often."""
    text = _encode(payload).decode()
    text = re.sub(r'"(\w+)": ', r'"\1": null, "\1": ', text)
    return text.replace("{", "{" + '"a": 1, ' * (size // 10), 1).encode()


def many_keys(payload: Json, chance: Random, size: int) -> bytes:
    """Every object has keys that nobody asked for."""
    extra = {f"unasked{n}": n for n in range(size // 20)}
    return _encode(_changed(payload, lambda each: {**extra, **each} if isinstance(each, dict) else each))


def no_numbers(payload: Json, chance: Random, size: int) -> bytes:
    """NaN, infinities and numbers that no machine holds."""
    texts = ["NaN", "Infinity", "-Infinity", "1e999", "-0", "00", "1" * min(size, 5_000), "0x10", "1."]
    body = _encode(_changed(payload, lambda each: each if isinstance(each, dict | list) else "NUMBER")).decode()
    return re.sub('"NUMBER"', lambda _: chance.choice(texts), body).encode()


def huge_values(payload: Json, chance: Random, size: int) -> bytes:
    """One text that is very long."""
    return _encode(payload).replace(b'"1"', b'"' + b"x" * size * 10 + b'"', 1)


def half_characters(payload: Json, chance: Random, size: int) -> bytes:
    """Halves of characters, and bytes that are no UTF-8."""
    piece = chance.choice([rb"\ud800", rb"\udc00\ud800", b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\x00", rb"\u0000"])
    return _encode(payload).replace(b'"1"', b'"' + piece + b'"')


def cut_off(payload: Json, chance: Random, size: int) -> bytes:
    """The first part of it."""
    body = _encode(payload)
    return body[: chance.randrange(len(body))]


def something_behind(payload: Json, chance: Random, size: int) -> bytes:
    """More than one answer, or something before or behind it."""
    body = _encode(payload)
    return chance.choice([body + body, b"\xef\xbb\xbf" + body, body + b"\0", b")]}'\n" + body, body + b" " * size * 10])


def nothing_but_null(payload: Json, chance: Random, size: int) -> bytes:
    """Null for every leaf, so that it climbs as far as it can."""
    return _encode(_changed(payload, lambda each: each if isinstance(each, dict | list) else None))


BODIES: Final[Mapping[Family, int]] = {
    as_it_should_be: 1,
    long_lists: 10_000,
    many_errors: 100_000,
    errors_that_are_none: 100_000,
    large_extensions: 500_000,
    deep_values: 50_000,
    wrong_shapes: 1,
    no_payload: 1,
    wrong_typenames: 10_000,
    duplicate_keys: 100_000,
    many_keys: 100_000,
    no_numbers: 5_000,
    huge_values: 500_000,
    half_characters: 1,
    cut_off: 1,
    something_behind: 100_000,
    nothing_but_null: 1,
}
"""Every family of bodies with the size up to which it grows: about that of the limit on a subgraph's response."""

BODIES_BY_NAME: Final[Mapping[str, Family]] = {each.__name__: each for each in BODIES}


# ---- below the body ----


def head(*lines: str, status: str = "200 OK") -> bytes:
    """The head of a response."""
    return "\r\n".join([f"HTTP/1.1 {status}", "content-type: application/json", *lines]).encode() + b"\r\n\r\n"


def _whole(body: bytes, *lines: str) -> bytes:
    return head(f"content-length: {len(body)}", *lines) + body


@lru_cache(maxsize=1)
def _bomb() -> bytes:
    """Two hundred megabytes of blanks in two hundred kilobytes."""
    return gzip.compress(b" " * 200_000_000, 6)


Piece = bytes | None
"""Bytes of a connection; None is a pause of a second."""

WIRE: Final[Mapping[str, Callable[[bytes], list[Piece]]]] = {
    "a gzip bomb": lambda body: [_whole(_bomb(), "content-encoding: gzip")],
    "gzip of nothing": lambda body: [_whole(b"", "content-encoding: gzip")],
    "gzip, cut off": lambda body: [_whole(gzip.compress(body)[:-6], "content-encoding: gzip")],
    "gzip twice": lambda body: [_whole(gzip.compress(gzip.compress(body)), "content-encoding: gzip, gzip")],
    "a coding that nobody knows": lambda body: [_whole(body, "content-encoding: zstd-of-mine")],
    "fields without end": lambda body: [b"HTTP/1.1 200 OK\r\n", *[b"a: " + b"b" * 8_000 + b"\r\n"] * 200],
    "a field without end": lambda body: [b"HTTP/1.1 200 OK\r\na: ", *[b"b" * 65_536] * 40],
    "interim responses without end": lambda body: [b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" * 5_000],
    "slow": lambda body: [head(f"content-length: {len(body)}"), *[bytes([each]) for each in body[:1]], None, body[1:]],
    "too short": lambda body: [head(f"content-length: {len(body) + 10}") + body],
    "too long": lambda body: [_whole(body) + body],
    "no length": lambda body: [head("connection: close") + body],
    "two lengths": lambda body: [head("content-length: 1", f"content-length: {len(body)}") + body],
    "a length and chunks": lambda body: [head("content-length: 5", "transfer-encoding: chunked") + b"0\r\n\r\n"],
    "chunks that are none": lambda body: [head("transfer-encoding: chunked") + b"zz\r\n" + body],
    "chunks of one byte": lambda body: [
        head("transfer-encoding: chunked") + b"".join(b"1\r\n%c\r\n" % each for each in body) + b"0\r\n\r\n"
    ],
    "trailers without end": lambda body: [
        head("transfer-encoding: chunked") + b"2\r\n{}\r\n0\r\n",
        *[b"a: " + b"b" * 8_000 + b"\r\n"] * 200,
    ],
    "a body without end": lambda body: [head("connection: close"), *[b" " * 65_536] * 400],
    "a status that is none": lambda body: [b"HTTP/1.1 999999 X\r\n\r\n"],
    "no HTTP": lambda body: [b"SSH-2.0-OpenSSH_9.6\r\n"],
    "zero bytes": lambda body: [b"\0" * 100_000],
    "nothing": lambda body: [],
    "a redirect": lambda body: [head("location: http://127.0.0.1:1/", "content-length: 0", status="302 Found")],
    "HTML": lambda body: [head("content-length: 6", status="502 Bad Gateway") + b"<html>"],
    "no content": lambda body: [head(status="204 No Content")],
    "an upgrade": lambda body: [head("upgrade: websocket", "connection: upgrade", status="101 Switching Protocols")],
}
"""What a subgraph's connection may bring in place of a response with this body."""
