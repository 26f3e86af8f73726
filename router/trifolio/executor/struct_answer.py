"""Answers made of a plan's structs: one in the making, and when a plan has structs at all."""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final
from weakref import finalize

import msgspec
from msgspec import Struct

from trifolio.errors import AnswerError, PathKey
from trifolio.executor.ask_text import UNEXPECTED, Group
from trifolio.executor.encoding import decode_with, values_at_most
from trifolio.executor.structs import ENCODE, Shown, StructProgram, attribute_of
from trifolio.executor.transport import SubgraphResponse
from trifolio.query_plan import Fetch

LEAVES_MAX: Final = 8
"""Answers in a row that could not be had so, after which it is not tried for a while."""
PAUSE_ANSWERS: Final = 1_000
"""For how many answers it is not tried then."""
COMBINATIONS_MAX: Final = 16
"""16 combinations of what @skip and @include look at, for each plan: four variables, or the ones that clients use."""


class StructAnswer:
    """The answer to one request in the making, as long as nothing is out of the ordinary."""

    __slots__ = ("_absences", "_failed", "_owner", "_program", "_root", "_values_left", "_values_max")

    def __init__(self, owner: "StructsOnDemand", program: "StructProgram", values_max: int) -> None:
        self._owner = owner
        self._program = program
        self._values_max = self._values_left = values_max
        self._root = program.root()
        self._absences: dict[int, list[tuple[frozenset[str], tuple[AnswerError, ...]]]] = {}
        """By the identity of an object, which keys it lacks and what is told of that."""
        self._failed: frozenset[int] = frozenset()
        """The ids of the fetches of which nothing came."""

    def ask(self, fetch: Fetch) -> list[Group] | None:
        """A group for every alias of an entity fetch; None where it is to be found out in another way."""
        try:
            return self._program.fetches[fetch.id].ask(self._root)
        except UNEXPECTED:
            return None

    def absorb(self, fetch: Fetch, response: SubgraphResponse, targets: Sequence[Sequence[list[Struct]]]) -> bool:
        """Take over what a fetch brought for the targets of each of its aliases.

        False where that cannot be done; then nothing of this answer is to be used any more.
        """
        own = self._program.fetches[fetch.id]
        try:
            if response.body is None:
                envelope = msgspec.convert(response.payload, own.decoder.type)
            else:
                envelope = decode_with(own.decoder.decode, response.body)
            if envelope.errors:
                return False
            self._values_left -= own.absorb(self._root, envelope.data, targets, self._values_left)
        except (msgspec.MsgspecError, RecursionError, *UNEXPECTED):
            return False
        return True

    def fail(self, fetch: Fetch, errors: tuple[AnswerError, ...], targets: Sequence[Sequence[list[Struct]]]) -> bool:
        """Take note that nothing came for the targets of each alias. False as for `absorb`."""
        lacking = self._program.fetches[fetch.id].lacking
        if lacking is None:
            return False
        self._failed |= {fetch.id}
        for keys, groups in zip(lacking, targets, strict=True):
            attributes = tuple(map(attribute_of, keys))
            for place in (place for group in groups for place in group):
                for attribute in attributes:
                    setattr(place, attribute, None)
                self._absences.setdefault(id(place), []).append((keys, errors))
        return True

    def errors(self, errors_max: int) -> tuple[AnswerError, ...]:
        """What is told of what is missing, in the answer's order, up to so many."""
        found: list[AnswerError] = []
        if self._absences:
            self._tell(self._program.shown, self._root, (), found, errors_max)
        return tuple(found)

    def _tell(
        self, shown: "Shown", place: Struct, path: tuple[PathKey, ...], found: list[AnswerError], errors_max: int
    ) -> None:
        absences = self._absences.get(id(place))
        lacking = {} if absences is None else {key: errors for keys, errors in reversed(absences) for key in keys}
        for key, attribute, inner in shown.objects if absences is None else shown.fields:
            reasons = lacking.get(key)
            if reasons is not None:
                room = max(0, errors_max - len(found))
                found += [error.at((*path, key)) for error in reasons[:room]]
            elif inner is not None and not self._failed.isdisjoint(inner.fetches):
                pending: list[tuple[Any, tuple[PathKey, ...]]] = [(getattr(place, attribute), (*path, key))]
                while pending:
                    value, here = pending.pop()
                    if isinstance(value, list):
                        pending += [(item, (*here, index)) for index, item in reversed(list(enumerate(value)))]
                    elif isinstance(value, Struct):
                        self._tell(inner, value, here, found, errors_max)

    def encode(self) -> bytes | None:
        """The data as JSON text, when every fetch has ended; None where it cannot be had."""
        try:
            self._program.finish(self._root)
            text = ENCODE(self._root)
        except (msgspec.MsgspecError, RecursionError, *UNEXPECTED):
            return None
        if len(text) > self._values_max and values_at_most(text) > self._values_max:
            return None
        self._owner.leaves = 0
        return text

    def leave(self) -> None:
        """Take note that the answer could not be had so."""
        self._owner.leave()


class StructsRoom:
    """How many output fields the structs of all plans may have together: each takes some 4 kB."""

    __slots__ = ("fields_left",)

    def __init__(self, fields_max: int) -> None:
        self.fields_left = fields_max

    def take(self, fields: int) -> bool:
        """Whether there is room for so many more; then it is taken."""
        if fields > self.fields_left:
            return False
        self.fields_left -= fields
        return True

    def give_back(self, fields: int) -> None:
        """They are no longer there."""
        self.fields_left += fields


class StructsByCombination:
    """A plan's structs for each combination of values that the variables of its @skip and @include have.

    What the plan shows and asks hangs on nothing else of the request, so that with such a combination it is static. As
    many are kept as were met last.
    """

    __slots__ = ("_after", "_fields", "_generate", "_kept", "_room", "_static", "_variables")

    def __init__(
        self,
        generate: "Callable[[Mapping[str, bool]], StructProgram | None]",
        variables: Sequence[str],
        *,
        fields: int,
        room: StructsRoom | None,
        after: int | None,
    ) -> None:
        """They are made with `generate` for values of these variables; the rest as of `StructsOnDemand`."""
        self._generate = generate
        self._variables = variables
        self._fields = fields
        self._room = room
        self._after = after
        self._static = None if variables else self._with(())
        self._kept: OrderedDict[tuple[bool, ...], StructsOnDemand] = OrderedDict()

    @property
    def held_bytes(self) -> int:
        """What the combinations take in memory beside the structs, by estimate."""
        combinations = min(COMBINATIONS_MAX, 1 << len(self._variables))
        return combinations * (_COMBINATION_BYTES + _VALUE_BYTES * len(self._variables))

    def begin(self, coerced: Mapping[str, object], values_max: int) -> StructAnswer | None:
        """An answer to begin with for a request with these variables; None where there are no structs, or none now."""
        return self._of(coerced).begin(values_max)

    def hurry(self, coerced: Mapping[str, object]) -> None:
        """Take note that a request with these variables had a large answer, for which structs pay at once."""
        self._of(coerced).hurry()

    def _of(self, coerced: Mapping[str, object]) -> "StructsOnDemand":
        if self._static is not None:
            return self._static
        values = tuple([bool(coerced.get(name, False)) for name in self._variables])
        structs = self._kept.get(values)
        if structs is None:
            structs = self._kept[values] = self._with(values)
            if len(self._kept) > COMBINATIONS_MAX:
                self._kept.popitem(last=False)
        else:
            self._kept.move_to_end(values)
        return structs

    def _with(self, values: tuple[bool, ...]) -> "StructsOnDemand":
        make = partial(_generate_with, self._generate, self._variables, values)
        return StructsOnDemand(make, fields=self._fields, room=self._room, after=self._after)


_COMBINATION_BYTES: Final = 900
_VALUE_BYTES: Final = 8


def _generate_with(
    generate: "Callable[[Mapping[str, bool]], StructProgram | None]",
    variables: Sequence[str],
    values: tuple[bool, ...],
) -> "StructProgram | None":
    return generate(dict(zip(variables, values, strict=True)))


class StructsOnDemand:
    """A plan's structs, made when the plan is used often, and left alone for a while where they are of no use."""

    __slots__ = ("__weakref__", "_fields", "_is_tried", "_left", "_make", "_program", "_room", "leaves")

    def __init__(
        self, make: "Callable[[], StructProgram | None]", *, fields: int, room: StructsRoom | None, after: int | None
    ) -> None:
        """They are made with `make` after so many answers, where there is `room` for their `fields`; None: never."""
        self._make = make
        self._fields = fields
        self._room = room
        self._left = None if room is None else after
        self._program: StructProgram | None = None
        self._is_tried = False
        self.leaves = 0
        """Answers in a row that could not be had so."""

    def begin(self, values_max: int) -> StructAnswer | None:
        """An answer to begin with; None where the plan has no structs, or none now."""
        if self._left is None:
            return None if self._program is None else StructAnswer(self, self._program, values_max)
        if self._left > 0:
            self._left -= 1
            return None
        self._left, self._is_tried = None, True
        if self._program is None and self._room is not None:
            self._program = self._made(self._room)
        return self.begin(values_max)

    def _made(self, room: StructsRoom) -> "StructProgram | None":
        if not room.take(self._fields):
            self._left = PAUSE_ANSWERS
            return None
        program = self._make()
        if program is None:
            room.give_back(self._fields)
        else:
            finalize(self, room.give_back, self._fields).atexit = False
        return program

    def hurry(self) -> None:
        """Make them for the next answer, unless that was tried before."""
        if self._left is not None and not self._is_tried:
            self._left = 0

    def leave(self) -> None:
        """Take note of an answer that could not be had so."""
        self.leaves += 1
        if self.leaves >= LEAVES_MAX:
            self.leaves, self._left = 0, PAUSE_ANSWERS
