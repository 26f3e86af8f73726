"""A cache that is bounded by what it holds: in number, and in bytes that each entry is said to take."""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

_Key = TypeVar("_Key", bound=Hashable)
_Value = TypeVar("_Value")


class BoundedCache(Generic[_Key, _Value]):
    """Keeps what was used last; what was used longest ago makes room."""

    __slots__ = ("_bytes_max", "_entries", "_entries_max", "held_bytes")

    def __init__(self, *, entries_max: int, bytes_max: int) -> None:
        self._entries_max = entries_max
        self._bytes_max = bytes_max
        self._entries: OrderedDict[_Key, tuple[_Value, int]] = OrderedDict()
        self.held_bytes = 0
        """What all entries take together."""

    def __len__(self) -> int:
        """How many entries there are."""
        return len(self._entries)

    def get(self, key: _Key) -> _Value | None:
        """The value, which is the last one used from here on; None where it is not kept."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        self._entries.move_to_end(key)
        return entry[0]

    def put(self, key: _Key, value: _Value, size_bytes: int) -> None:
        """Keep a value, unless it takes more than all may together."""
        replaced = self._entries.pop(key, None)
        if replaced is not None:
            self.held_bytes -= replaced[1]
        if size_bytes > self._bytes_max:
            return
        self._entries[key] = value, size_bytes
        self.held_bytes += size_bytes
        while len(self._entries) > self._entries_max or self.held_bytes > self._bytes_max:
            _, (_, freed) = self._entries.popitem(last=False)
            self.held_bytes -= freed
