"""Ids are UUIDs in lower case, over both faces and in every service."""

import re

from subgraphs.shared.errors import FieldError

ID_PATTERN = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
NO_ID = "This is not an id: ids are UUIDs in lower case."

_ID = re.compile(ID_PATTERN, re.ASCII)


def id_errors(field: str, text: str | None) -> list[FieldError]:
    """What is wrong with a client's id: nothing with one, nor with none.

    An id that becomes part of a peer's address must be one: any other text could be the address of something else.
    """
    if text is None or _ID.fullmatch(text):
        return []
    return [FieldError(field, NO_ID)]
