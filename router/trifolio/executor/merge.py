"""Merging what subgraphs answered into one tree: objects by key, lists by index, and what is there already stays.

Nothing here trusts a shape: values that do not fit together leave the tree as it is, and the projection decides later
what that means for the answer. The one shape that cannot be repaired is told: two lists of different lengths.
"""

from collections.abc import Callable
from typing import Final

Json = dict[str, object]
"""An object of the merged tree."""


def merge_response(target: Json, source: Json) -> bool:
    """Merge `source` into `target`, which takes over `source`'s values; False where two lists did not pair up.

    {"a": {"x": 1}} + {"a": {"y": 2}, "b": 3}  ->  {"a": {"x": 1, "y": 2}, "b": 3}

    A null is replaced by whatever another subgraph knows, so that the order of responses makes no difference.
    """
    if target.keys().isdisjoint(source):
        target.update(source)
        return True
    paired = True
    pending: list[tuple[Json, Json]] = [(target, source)]
    while pending:
        into, new = pending.pop()
        for key, value in new.items():
            present = into.get(key)
            if present is None:
                into[key] = value
            elif isinstance(present, dict):
                if isinstance(value, dict):
                    pending.append((present, value))
            elif isinstance(present, list) and isinstance(value, list):
                paired = _pair_lists(present, value, pending) and paired
    return paired


def _pair_lists(present: list[object], value: list[object], pending: list[tuple[Json, Json]]) -> bool:
    """Queue the objects that stand at the same indices; False where the lists differ in length, at any level."""
    lists = [(present, value)]
    paired = True
    while lists:
        old, new = lists.pop()
        if len(old) != len(new):
            paired = False
            continue
        for index, (mine, theirs) in enumerate(zip(old, new, strict=True)):
            if mine is None:
                old[index] = theirs
            elif isinstance(mine, dict) and isinstance(theirs, dict):
                pending.append((mine, theirs))
            elif isinstance(mine, list) and isinstance(theirs, list):
                lists.append((mine, theirs))
    return paired


def count_values(value: object, limit: int) -> int:
    """How many values are in `value`, itself included; some number above `limit` where there are more than that."""
    count = 1
    pending: list[object] = [value]
    while pending and count <= limit:
        each = pending.pop()
        if isinstance(each, dict):
            count += len(each)
            pending += [item for item in each.values() if isinstance(item, dict | list)]
        elif isinstance(each, list):
            count += len(each)
            pending += [item for item in each if isinstance(item, dict | list)]
    return count


SHORT_CHARACTERS: Final = 63
"""63 characters: what a text may have without being counted for its length."""
TEXT_SHIFT: Final = 5
"""2**5: every 32 characters of a longer text count as one more value."""


def count_weight(value: object, spend: Callable[[int], None]) -> None:
    """Count what is in a value of no known shape, and how long its texts are."""
    pending: list[object] = [value]
    while pending:
        each = pending.pop()
        if isinstance(each, str):
            if len(each) > SHORT_CHARACTERS:
                spend(len(each) >> TEXT_SHIFT)
        elif isinstance(each, dict | list):
            spend(len(each))
            pending += each.values() if isinstance(each, dict) else each


def copy_json(value: object) -> object:
    """A copy that shares no object and no list with `value`, nested as deep as the decoder lets through."""
    if not isinstance(value, dict | list):
        return value
    copied: dict[str, object] | list[object] = {} if isinstance(value, dict) else []
    pending: list[tuple[object, dict[str, object] | list[object]]] = [(value, copied)]
    while pending:
        source, into = pending.pop()
        if isinstance(source, dict) and isinstance(into, dict):
            for key, item in source.items():
                into[key] = _shell(item, pending)
        elif isinstance(source, list) and isinstance(into, list):
            into.extend([_shell(item, pending) for item in source])
    return copied


def _shell(item: object, pending: list[tuple[object, dict[str, object] | list[object]]]) -> object:
    """A leaf itself; for a container an empty one, queued to be filled."""
    if isinstance(item, dict):
        copied: dict[str, object] = {}
        pending.append((item, copied))
        return copied
    if isinstance(item, list):
        copies: list[object] = []
        pending.append((item, copies))
        return copies
    return item
