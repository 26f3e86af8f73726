"""An answer in parts: the first answer, then what @defer left for later, each part when its fetches have ended.

All fetches of the plan run as one graph over one merged tree (`schedule.run`); those of deferred parts start like the
others, when their inputs are there. The first answer is read as soon as the fetches that belong to it have ended, and a
part as soon as those in its `needs` have. What the client has seen is kept (`_shown`), as it decides what comes next: a
part stands at an object that was shown, says what is new in it, and is announced together with the answer, or the part,
that shows the object.

    { me { id ... @defer(label: "pets") { pets { name ... @defer { vet { name } } } } } }

    first answer    {"me": {"id": 1}}                        pending: pets at me
    then            {"pets": [{"name": "Rex"}]} at me        pending: a part at me.pets[0]
    then            {"vet": {"name": "Ann"}} at me.pets[0]

A part that fails (a null that may not stand, `OutputField.fails_part`) has no data; the parts inside it never come. Who
stops reading closes the parts, which ends every fetch in flight.
"""

import asyncio
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, TypeVar

from trifolio.errors import AnswerError, ErrorCode
from trifolio.executor.answer import Answer, read_answer, read_plain_answer, too_large
from trifolio.executor.completion import complete_part
from trifolio.executor.fetch import Execution
from trifolio.executor.introspection import Introspected
from trifolio.executor.merge import Json, copy_json
from trifolio.executor.places import Place, tell
from trifolio.executor.prepare import PreparedFetch, PreparedPlan
from trifolio.executor.schedule import run
from trifolio.executor.tree import LocatedError, Trail
from trifolio.parts import ClientPath, Increment, Later, Part, Parts, Pending
from trifolio.query_plan import Deferred
from trifolio.work import InTurns, Work, WorkExceeded, compute_in_turns

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class FirstAnswer:
    """The answer without its deferred parts."""

    answer: Answer
    pending: tuple[Pending, ...] = ()
    later: Later | None = None
    """The parts, where there are any."""


async def deliver(
    prepared: PreparedPlan,
    execution: Execution,
    introspected: Introspected,
    deadline: float,
    in_turns: InTurns | None = None,
) -> FirstAnswer:
    """Answer one request whose plan has deferred parts; the answer and the parts are read in turns with others.

    `introspected` is what the tree has before anything is fetched. At the loop's time `deadline` the fetches end:
    before the first answer that raises TimeoutError, after it the parts that are left fail.
    """
    delivery = _Delivery(prepared, execution, deadline, in_turns)
    try:
        answer = await delivery.first(introspected)
    except WorkExceeded:
        await delivery.aclose()
        return FirstAnswer(too_large())
    except BaseException:
        await delivery.aclose()
        raise
    if not delivery.is_pending:
        await delivery.aclose()
        return FirstAnswer(answer)
    return FirstAnswer(answer, delivery.announced(), delivery)


@dataclass(frozen=True, slots=True)
class _Spot:
    """An object of the answer that a deferred part stands at."""

    pending: Pending
    place: Json
    """The object in the merged tree."""
    trail: Trail
    """How the merged tree leads to it."""
    shown: Json
    """The object as the client has it."""


_LOOKS_PER_UNIT: Final = 8
"""So many objects that were shown, and counted then, are looked at for what a value counts."""

TAKEN_VALUES: Final = 10_000
"""10,000 values, some 10 ms of reading them: parts that are ready beyond come with the next."""


class _Delivery:
    """The parts of one answer, as they come."""

    def __init__(self, prepared: PreparedPlan, execution: Execution, deadline: float, in_turns: InTurns | None) -> None:
        plan = prepared.plan
        self._prepared = prepared
        self._execution = execution
        self._tree = execution.tree
        self._variables = execution.coerced
        self._deadline = deadline
        self._in_turns = in_turns
        self._errors_left = execution.limits.answer_errors_max
        self._values_left = execution.limits.answer_values_max
        """So many values may all parts have that are still to come."""
        self._progress = asyncio.Event()
        self._bug: Exception | None = None
        self._running: asyncio.Task[None] | None = None
        self._is_closed = False
        self._is_beyond = False
        """Whether more values were looked at than an answer may have: what is left fails."""
        self._open = {fetch.id for fetch in plan.fetches}
        """The fetches that have not ended."""
        self._of_first = {fetch.id for fetch in plan.fetches if fetch.deferred is None}
        self._active = [part.condition.holds(self._variables) for part in plan.deferred]
        self._spots: dict[int, list[_Spot]] = {}
        """By index of the deferred part, where it is to come."""
        self._shown: Json = {}
        self._count = 0
        self._told: set[tuple[int, ClientPath | None]] = set()
        """Errors that subgraphs located and that were told, by identity and path."""

    # ---- the fetches ----

    async def _perform(self, prepared: PreparedFetch) -> None:
        await self._execution.perform(prepared)
        self._open.discard(prepared.fetch.id)
        self._progress.set()

    async def _wait(self, is_enough: Callable[[], bool]) -> None:
        """Until the fetches that have ended are enough. Raises TimeoutError at the deadline, and what is a bug."""
        running = self._running
        if running is None:
            running = self._running = asyncio.ensure_future(run(self._prepared, self._perform))
            running.add_done_callback(self._have_ended)
        while not is_enough():
            if running.done():
                running.result()
                raise AssertionError("every fetch has ended, and yet one is missing")
            self._progress.clear()
            async with asyncio.timeout_at(self._deadline):
                await self._progress.wait()

    def _have_ended(self, running: asyncio.Task[None]) -> None:
        if not running.cancelled():
            running.exception()  # it is said where it is met; whoever is gone by then has nobody to hear it
        self._progress.set()

    async def aclose(self) -> None:
        """End every fetch in flight; nothing comes after that, and who waits for more waits no longer."""
        self._is_closed = True
        self._spots.clear()
        self._progress.set()
        running = self._running
        if running is not None:
            running.cancel()
            await asyncio.wait({running})

    # ---- the first answer ----

    async def first(self, introspected: Introspected) -> Answer:
        """Wait for the fetches of the first answer and read it. Raises WorkExceeded where it is too large."""
        await self._wait(lambda: self._of_first.isdisjoint(self._open))
        return await self._compute(partial(self._start, introspected))

    async def _compute(self, read: Callable[[Work], _Result]) -> _Result:
        """Read something in turns with others, which counts for all parts together.

        Fetches end meanwhile, and the tree grows where nothing is read yet.
        """

        def count(work: Work) -> _Result:
            try:
                return read(work)
            finally:
                self._values_left = max(0, work.left)

        return await compute_in_turns(count, self._values_left, self._in_turns)

    def _start(self, introspected: Introspected, work: Work) -> Answer:
        work.spend(introspected.values)
        answer = self._read_first(introspected.errors, work)
        self._errors_left -= len(answer.errors)
        if answer.data is not None:
            shown = copy_json(answer.data)
            assert isinstance(shown, dict)
            self._shown = shown
            self._announce(None, frozenset(), work)
        return answer if self.is_pending else Answer(answer.data, (*answer.errors, *self._rest(work)))

    def _read_first(self, told: tuple[AnswerError, ...], work: Work) -> Answer:
        plan, tree, program = self._prepared.plan, self._tree, self._execution.program
        if program is not None and not told:
            answer = read_plain_answer(program, tree, self._variables, work)
            if answer is not None:
                return answer
        located = [item for item in tree.located if item.fetch in self._of_first]
        # What a part shows is told with the part.
        mine = self._tell(located, [(tree.root, Place((), plan.selection))], whole_only=True, work=work)
        told = (*told, *mine)
        return read_answer(
            plan.selection,
            tree,
            self._variables,
            told=told,
            guarded=None if program is None else self._prepared.code.guarded(),
            sources=self._prepared.sources,
            errors_max=self._errors_left,
            work=work,
        )

    @property
    def is_pending(self) -> bool:
        """Whether a part is to come that was announced."""
        return any(self._spots.values())

    def announced(self) -> tuple[Pending, ...]:
        """The parts that are announced and have not come."""
        return tuple(spot.pending for spots in self._spots.values() for spot in spots)

    # ---- the parts ----

    def __aiter__(self) -> "_Delivery":
        return self

    async def __anext__(self) -> Parts:
        """What comes next. A bug is raised after the parts that it took have failed."""
        if not self.is_pending:
            await self.aclose()
            if self._bug is not None:
                bug, self._bug = self._bug, None
                raise bug
            raise StopAsyncIteration
        try:
            if self._is_beyond:
                return self._fail(ErrorCode.ANSWER_TOO_LARGE)
            if self._ready():
                await asyncio.sleep(0)  # what was left for later: others come in between
            await self._wait(lambda: self._is_closed or bool(self._ready()))
            if not self._is_closed:
                parts = await self._compute(self._take)
                if not self._is_closed:
                    return parts
        except TimeoutError:
            return self._fail(ErrorCode.OPERATION_TIMEOUT)
        except Exception as bug:  # noqa: BLE001  # it is raised when the parts that it took have been read
            self._bug = bug
            return self._fail(ErrorCode.INTERNAL_SERVER_ERROR)
        raise StopAsyncIteration

    def _ready(self) -> list[int]:
        deferred = self._prepared.plan.deferred
        return [index for index, spots in self._spots.items() if spots and self._open.isdisjoint(deferred[index].needs)]

    def _take(self, work: Work) -> Parts:
        """The parts that are ready, and those inside them that are ready at once; of many values, some come later."""
        came: list[Part] = []
        announced: list[Pending] = []
        while work.spent <= TAKEN_VALUES and not self._is_beyond and (ready := self._ready()):
            index = ready[0]
            found = self._read(index, self._spots.pop(index), work)
            came += found
            shown = frozenset(part.pending.path for part in found if part.data is not None)
            announced += self._announce(index, shown, work)
        if came and not self.is_pending:
            came[-1] = replace(came[-1], errors=(*came[-1].errors, *self._rest(work)))
        return Parts(tuple(came), tuple(announced), self.is_pending)

    def _fail(self, code: ErrorCode) -> Parts:
        spots = [spot for several in self._spots.values() for spot in several]
        self._spots.clear()
        if self._running is not None:
            self._running.cancel()  # before a slow reader has these parts
        return Parts(tuple(_failed(spot, code) for spot in spots), (), has_next=False)

    def _parent(self, part: Deferred) -> int | None:
        """The part around this one, for this request: those that are not deferred for it belong to what is around."""
        parent = part.parent
        while parent is not None and not self._active[parent]:
            parent = self._prepared.plan.deferred[parent].parent
        return parent

    # ---- where they stand ----

    def _announce(self, index: int | None, came: frozenset[ClientPath], work: Work) -> list[Pending]:
        """Find the parts that stand in a part which came at these objects; None: in the first answer.

        A part with nothing to add at an object has come there as it is, and what stands in it is found at once.
        Where looking for them takes too much, those that were found are to fail.
        """
        announced: list[Pending] = []
        try:
            self._find_parts(index, came, announced, work)
        except WorkExceeded:
            self._is_beyond = True
        return announced

    def _find_parts(self, index: int | None, came: frozenset[ClientPath], announced: list[Pending], work: Work) -> None:
        for inner, part in enumerate(self._prepared.plan.deferred):
            if not self._active[inner] or self._parent(part) != index:
                continue
            idle: set[ClientPath] = set()
            for spot in self._find_spots(part, None if index is None else came, work):
                if self._adds_something(part, spot.place):
                    announced.append(spot.pending)
                    self._spots.setdefault(inner, []).append(spot)
                else:
                    idle.add(spot.pending.path)
            if idle:
                self._find_parts(inner, frozenset(idle), announced, work)

    def _find_spots(self, part: Deferred, within: frozenset[ClientPath] | None, work: Work) -> Iterator[_Spot]:
        """The objects that the client has seen at a part's position, in the objects where the part around it came."""
        parent = self._parent(part)
        outer = None if parent is None else len(self._prepared.plan.deferred[parent].path)
        found: list[tuple[ClientPath, Json, Trail, object]] = [((), self._tree.root, (), self._shown)]
        for number, step in enumerate((*part.path, None)):
            if number == outer and within is not None:
                found = [each for each in found if each[0] in within]
            if step is None:
                break
            key = part.response_keys[number]
            found = [
                (path, value, (*trail, (item, step.key)), shown)
                for up, item, trail, above in found
                if isinstance(above, dict) and (not step.types or _may_be(item, step.types))
                for path, value, shown in _entered(item.get(step.key), above.get(key), step.lists, (*up, key))
            ]
            work.spend(len(found) // _LOOKS_PER_UNIT)
        for path, item, trail, shown in found:
            if isinstance(shown, dict):
                yield _Spot(Pending(str(self._count), path, part.label), item, trail, shown)
                self._count += 1

    def _adds_something(self, part: Deferred, item: Json) -> bool:
        """Whether a part has a field for an object; it may have where the object's type comes with the part."""
        return any(
            (field.types is None or _may_be(item, field.types)) and field.condition.holds(self._variables)
            for field in part.selection.fields
        )

    # ---- what they say ----

    def _read(self, index: int, spots: Sequence[_Spot], work: Work) -> list[Part]:
        part = self._prepared.plan.deferred[index]
        starts = [(spot.place, Place(spot.pending.path, part.selection)) for spot in spots]
        try:
            located = self._tell(tuple(self._tree.located), starts, whole_only=True, work=work)
            return [self._read_at(part, spot, located, work) for spot in spots]
        except WorkExceeded:
            return [_failed(spot, ErrorCode.ANSWER_TOO_LARGE) for spot in spots]

    def _read_at(self, part: Deferred, spot: _Spot, located: Sequence[AnswerError], work: Work) -> Part:
        path = spot.pending.path
        mine = [error for error in located if error.path is not None and error.path[: len(path)] == path]
        completed = complete_part(
            part.selection,
            self._tree,
            self._variables,
            mine,
            spot.place,
            spot.shown,
            spot.trail,
            path,
            sources=self._prepared.sources,
            errors_max=self._errors_left,
            work=work,
        )
        errors = self._counted((*mine, *completed.errors))
        if completed.data is None:
            return Part(spot.pending, None, errors=errors)
        increments: list[Increment] = []
        _show(spot.shown, completed.data, (), increments)
        return Part(spot.pending, completed.data, tuple(increments), errors)

    def _counted(self, errors: Sequence[AnswerError]) -> tuple[AnswerError, ...]:
        kept = tuple(errors[: self._errors_left])
        self._errors_left -= len(kept)
        return kept

    def _tell(
        self, located: Sequence[LocatedError], starts: Sequence[tuple[Json, Place]], *, whole_only: bool, work: Work
    ) -> list[AnswerError]:
        """The located errors that concern what is shown from `starts` on, without those that were told before."""
        fresh = []
        errors_max = self._errors_left + len(self._told)
        found = tell(located, starts, self._variables, whole_only=whole_only, errors_max=errors_max, work=work)
        for told in found:
            key = (id(told.origin), told.error.path)
            if key not in self._told:
                self._told.add(key)
                fresh.append(told.error)
        return fresh

    def _rest(self, work: Work) -> tuple[AnswerError, ...]:
        """The errors that nothing has shown, each at the nearest place that the first answer has."""
        told = {identity for identity, _ in self._told}
        left = [item for item in self._tree.located if id(item.error) not in told]
        root = [(self._tree.root, Place((), self._prepared.plan.selection))]
        try:
            return self._counted(self._tell(left, root, whole_only=False, work=work))
        except WorkExceeded:
            return ()  # the parts have said it


def _failed(spot: _Spot, code: ErrorCode) -> Part:
    return Part(spot.pending, None, errors=(AnswerError(code, code.text, path=spot.pending.path),))


def _may_be(item: Json, types: Collection[str]) -> bool:
    """Whether an object is, or may turn out to be, of one of the types."""
    return "__typename" not in item or item["__typename"] in types


def _entered(value: object, shown: object, lists: int, path: ClientPath) -> Iterator[tuple[ClientPath, Json, object]]:
    """The objects below a value of the merged tree, through so many lists, with what the client has of each."""
    found: list[tuple[ClientPath, object, object]] = [(path, value, shown)]
    for _ in range(lists):
        found = [
            ((*above, index), item, seen[index])
            for above, items, seen in found
            if isinstance(items, list) and isinstance(seen, list)
            for index, item in enumerate(items[: len(seen)])
        ]
    return ((at, item, seen) for at, item, seen in found if isinstance(item, dict))


def _show(shown: Json, data: Json, sub_path: ClientPath, increments: list[Increment]) -> None:
    """Add a part's data to what the client has, and note object by object what is new."""
    fresh: Json = {}
    inner: list[tuple[object, object, ClientPath]] = []
    for key, value in data.items():
        if key not in shown:
            fresh[key] = value
            shown[key] = copy_json(value)
        else:
            inner.append((shown[key], value, (*sub_path, key)))
    if fresh:
        increments.append(Increment(sub_path, fresh))
    while inner:
        seen, value, path = inner.pop(0)
        if isinstance(seen, dict) and isinstance(value, dict):
            _show(seen, value, path, increments)
        elif isinstance(seen, list) and isinstance(value, list):
            pairs = zip(seen, value, strict=False)
            inner[:0] = [(mine, theirs, (*path, index)) for index, (mine, theirs) in enumerate(pairs)]
