"""JSON in and out, exact for every integer: orjson where it is faster, msgspec where orjson would round or refuse."""

from collections.abc import Callable
from typing import Final, TypeVar

import msgspec
import orjson

from trifolio.garbage import no_collection

_Decoded = TypeVar("_Decoded")

_DECODE: Final = msgspec.json.Decoder().decode

_SEPARATORS: Final = b",[{"

LARGE_BYTES: Final = 1_000_000
"""1 MB: what is longer is read without looking for garbage, as all that it becomes is in use."""


def decode_json(body: bytes) -> object:
    """The value that `body` holds; raises ValueError where it is no JSON, or is nested too deep to be read.

    Integers of any size stay exact; orjson would turn those beyond 64 bits into floats.
    """
    try:
        return decode_with(_DECODE, body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"not JSON: {error}") from error


def decode_with(decode: Callable[[bytes], _Decoded], body: bytes) -> _Decoded:
    """What `decode` makes of `body`, or raises; where that is long, without looking for garbage meanwhile."""
    if len(body) <= LARGE_BYTES:
        return decode(body)
    with no_collection():
        return decode(body)


def values_at_most(text: bytes) -> int:
    """No less than what JSON text counts as in an answer: its values, and one more for every 32 characters of them.

    In front of every value but the first stands a comma, or what opens the list or object that it is the first one of.
    """
    return values_in(1 + len(text) - len(text.translate(None, _SEPARATORS)), len(text))


def values_in(values: int, length: int) -> int:
    """What so many values count as, whose text is so long."""
    return values + (length >> 5)


def encode_json(value: object) -> bytes:
    """`value` as JSON; raises TypeError for what JSON cannot hold.

    orjson refuses integers beyond 64 bits and nesting beyond 254 levels; msgspec takes both.
    """
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        return msgspec.json.encode(value)
