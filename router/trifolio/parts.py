"""An answer that comes in parts, as the executor hands it on: the parts, what announces them, and what is new in each.

The words are those of the GraphQL working group's incremental delivery (https://specs.apollo.dev/incremental/v0.2/).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from trifolio.errors import AnswerError, PathKey

ClientPath = tuple[PathKey, ...]
"""From the answer's root to a place in it: response keys and indices."""


@dataclass(frozen=True, slots=True)
class Pending:
    """A part that will come."""

    id: str
    """What tells it from the other parts of its answer."""
    path: ClientPath
    """The object of the answer that it belongs to."""
    label: str | None
    """The label of its @defer."""


@dataclass(frozen=True, slots=True)
class Increment:
    """What is new in one object of the answer: none of its keys were there before."""

    sub_path: ClientPath
    """The object, from the part's own object on."""
    data: dict[str, object]
    """The new keys with their values."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part that has come."""

    pending: Pending
    """What announced it."""
    data: dict[str, object] | None
    """What is new, in the objects and lists that lead to it: to be merged into the part's object. None: it failed."""
    increments: tuple[Increment, ...] = ()
    """The same, object by object."""
    errors: tuple[AnswerError, ...] = ()
    """What went wrong in it; their paths begin at the answer's root."""
    extensions: Mapping[str, object] | None = None
    """What plug-ins say beside data and errors; None: nothing."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What comes at once."""

    parts: tuple[Part, ...]
    """In the order in which they can be merged."""
    pending: tuple[Pending, ...]
    """Parts that stand in these, and are to come."""
    has_next: bool
    """Whether anything is to come after this."""


class Later(Protocol):
    """What comes after the first answer. Whoever does not read it to its end closes it."""

    def __aiter__(self) -> "Later": ...

    async def __anext__(self) -> Parts: ...

    async def aclose(self) -> None:
        """End every fetch in flight. It may be called at any time, and more than once."""
