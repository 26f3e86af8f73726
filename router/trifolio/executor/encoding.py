"""JSON in and out, exact for every integer: orjson where it is faster, msgspec where orjson would round or refuse."""

import gc
from typing import Final

import msgspec
import orjson

_DECODER = msgspec.json.Decoder()

LARGE_BYTES: Final = 1_000_000
"""1 MB: what is longer is read without looking for garbage, as all that it becomes is in use."""


def decode_json(body: bytes) -> object:
    """The value that `body` holds; raises ValueError where it is no JSON, or is nested too deep to be read.

    Integers of any size stay exact; orjson would turn those beyond 64 bits into floats.
    """
    if len(body) > LARGE_BYTES and gc.isenabled():
        gc.disable()
        try:
            return decode_json(body)
        finally:
            gc.enable()
    try:
        return _DECODER.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"not JSON: {error}") from error


def encode_json(value: object) -> bytes:
    """`value` as JSON; raises TypeError for what JSON cannot hold.

    orjson refuses integers beyond 64 bits and nesting beyond 254 levels; msgspec takes both.
    """
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        return msgspec.json.encode(value)
