"""Entity tags: an object's version as an ETag, and If-Match back to the version it asks for."""

from subgraphs.shared.errors import MALFORMED_REQUEST, PRECONDITION_FAILED, Refusal


def format_etag(version: int) -> str:
    """Version 3 is `"3"`, with its quotes."""
    return f'"{version}"'


def parse_if_match(header: str | None) -> int | None:
    """The version that an If-Match header asks for; None if any will do.

    Raises:
        Refusal: `precondition-failed` for a tag we never issue, `malformed-request` for several tags or none.
    """
    if header is None or header.strip() == "*":
        return None
    tag = header.strip()
    if len(tag) < 2 or not tag.startswith('"') or not tag.endswith('"') or "," in tag:
        raise Refusal(MALFORMED_REQUEST, 'Send If-Match with the one ETag that was read, such as "3".')
    if not (tag[1:-1].isascii() and tag[1:-1].isdigit() and len(tag) <= 20):
        raise Refusal(PRECONDITION_FAILED)
    return int(tag[1:-1])
