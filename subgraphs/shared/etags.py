"""Entity tags: of an object's version, of an answer's text, or of both; If-Match and If-None-Match ask for them.

"3"         version 3, where all that is shown changes with the version
"3-9f86…"   version 3 of what is shown beside things that change without it, such as prices
"9f86…"     this text
"""

import hashlib

from subgraphs.shared.errors import MALFORMED_REQUEST, PRECONDITION_FAILED, Refusal

_DIGEST_CHARACTERS = 32


def format_etag(version: int | None = None, text: bytes | None = None) -> str:
    """The tag of a version, of a text, or of a version with its text; with its quotes."""
    parts = [] if version is None else [str(version)]
    if text is not None:
        parts.append(hashlib.sha256(text).hexdigest()[:_DIGEST_CHARACTERS])
    return f'"{"-".join(parts)}"'


def parse_if_match(header: str | None) -> int | None:
    """The version that an If-Match header asks for; None if any will do. What was shown beside it does not count.

    Raises:
        Refusal: `precondition-failed` for a tag we never issue, `malformed-request` for several tags or none.
    """
    if header is None or header.strip() == "*":
        return None
    tag = header.strip()
    if len(tag) < 2 or not tag.startswith('"') or not tag.endswith('"') or "," in tag:
        raise Refusal(MALFORMED_REQUEST, 'Send If-Match with the one ETag that was read, such as "3".')
    version = tag[1:-1].partition("-")[0]
    if not (version.isascii() and version.isdigit() and len(version) <= 18):
        raise Refusal(PRECONDITION_FAILED)
    return int(version)


def is_known(etag: str, if_none_match: str | None) -> bool:
    """Whether If-None-Match says that the client has the answer of that tag; weak tags compare as strong ones do."""
    if if_none_match is None:
        return False
    tags = (each.strip().removeprefix("W/") for each in if_none_match.split(","))
    return any(tag in ("*", etag) for tag in tags)
