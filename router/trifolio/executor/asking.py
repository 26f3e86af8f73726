"""The plain way from a fetch to a request, and from a response into the merged tree.

`ask` reads the tree and says what to send, or that there is nothing to ask; `absorb` takes what came back; `fail` takes
note that nothing did. What a subgraph answers is never trusted to have a shape: whatever does not fit becomes an error
at the objects that waited for it, and the rest of the answer stands.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from msgspec import Struct

from trifolio.errors import AnswerError, ClientText, ErrorCode, PathKey
from trifolio.executor.ask_text import Group
from trifolio.executor.context import Variant, add_variants, context_value
from trifolio.executor.encoding import encode_json
from trifolio.executor.merge import Json, copy_json, merge_response
from trifolio.executor.prepare import PreparedFetch
from trifolio.executor.representations import Batch, collect, collect_trails, missing_trail, represent
from trifolio.executor.tree import Absence, Brings, LocatedError, MergedTree, Trail
from trifolio.query_plan import Entry, Path


class Ask(Struct, frozen=True):
    """One request that is ready to go, and who waits for its parts."""

    prepared: PreparedFetch
    operation: str
    variables: Json
    representations: int
    """How many entities are asked for; 0 for a root fetch."""
    batches: tuple[tuple[int, Batch], ...] = ()
    """Every batch with its entry's index in the fetch."""
    structs: list[list[list[Any]]] | None = None
    """In place of batches: for each alias, the structs that wait for each of its representations."""


# ---- before the request ----


def ask(
    tree: MergedTree, prepared: PreparedFetch, variables: Mapping[str, object], coerced: Mapping[str, object]
) -> Ask | None:
    """What to send for a fetch whose inputs are there; None where no object of the tree asks for anything.

    `variables` are forwarded as they are; `coerced` decide the conditions of entries.
    """
    fetch = prepared.fetch
    sent: Json = {name: variables[name] for name in fetch.variables if name in variables}
    if not prepared.is_entity_fetch:
        batches = [(index, _root_batch(tree, entry)) for index, entry in enumerate(fetch.entries)]
        batches = [(index, batch) for index, batch in batches if batch.targets[0]]
        return Ask(prepared, fetch.operation, sent, 0, tuple(batches)) if batches else None
    by_alias: dict[str, _Batches] = {}
    for index, entry in enumerate(fetch.entries):
        batches_of_alias = by_alias.setdefault(entry.alias, _Batches(index, entry))
        if entry.condition.holds(coerced):
            _fill(tree, entry, partial(prepared.brings_of, index), batches_of_alias)
        else:
            _skip_entry(tree, entry, prepared.brings_of(index))
    batches = [(item.index, batch) for item in by_alias.values() for batch in item.all()]
    representations = sum(len(batch.representations) for _, batch in batches)
    if not representations:
        return None
    operation = add_variants(fetch.operation, _variants(batches))
    for _, batch in batches:
        sent[batch.variable] = batch.representations
        sent.update(batch.context)
    return Ask(prepared, operation, sent, representations, tuple(batches))


def ask_generated(prepared: PreparedFetch, groups: Sequence[Group], variables: Mapping[str, object]) -> Ask | None:
    """The same from what generated code found in the tree."""
    sent = _forwarded(prepared, variables)
    if not prepared.is_entity_fetch:
        return Ask(prepared, prepared.fetch.operation, sent, 0)
    batches, asked = [], 0
    for (index, entry), (representations, targets) in zip(prepared.aliases, groups, strict=True):
        asked += len(representations)
        sent[entry.variable] = representations
        batches.append((index, Batch(entry, entry.alias, entry.variable, representations, targets)))
    return Ask(prepared, prepared.fetch.operation, sent, asked, tuple(batches)) if asked else None


def ask_structs(prepared: PreparedFetch, groups: Sequence[Group], variables: Mapping[str, object]) -> Ask | None:
    """The same from what generated code found in structs."""
    sent = _forwarded(prepared, variables)
    if not prepared.is_entity_fetch:
        return Ask(prepared, prepared.fetch.operation, sent, 0, (), [])
    targets, asked = [], 0
    for (_, entry), (representations, waiting) in zip(prepared.aliases, groups, strict=True):
        asked += len(representations)
        sent[entry.variable] = representations
        targets.append(waiting)
    return Ask(prepared, prepared.fetch.operation, sent, asked, (), targets) if asked else None


def _forwarded(prepared: PreparedFetch, variables: Mapping[str, object]) -> Json:
    """The client's variables that a fetch uses."""
    wanted = prepared.fetch.variables
    return {name: variables[name] for name in wanted if name in variables} if wanted else {}


def _root_batch(tree: MergedTree, entry: Entry) -> Batch:
    places = [place for path in entry.paths for place in collect(tree.root, path)]
    return Batch(entry, alias="", targets=[places])


class _Batches:
    """The batches of one alias: one, or one per combination of values that @fromContext reads from ancestors."""

    def __init__(self, index: int, entry: Entry) -> None:
        self.index = index
        self._entry = entry
        self._by_values: dict[bytes, Batch] = {}

    def batch(self, values: Json) -> Batch:
        """The batch for these values; from the second on under an alias and variables with a number."""
        text = encode_json(values)
        if text not in self._by_values:
            suffix = f"_{len(self._by_values)}" if self._by_values else ""
            self._by_values[text] = Batch(
                self._entry,
                self._entry.alias + suffix,
                self._entry.variable + suffix,
                context={name + suffix: value for name, value in values.items()},
            )
        return self._by_values[text]

    def all(self) -> list[Batch]:
        """At least one, which is empty where no object asks: the operation's variables need values."""
        if not self._by_values:
            self.batch({argument.variable: None for argument in self._entry.context})
        return list(self._by_values.values())


_BringsOf = Callable[[], Brings]
"""Says what an entry brings: the operation is read for it, so it is asked only where something is missing."""


def _fill(tree: MergedTree, entry: Entry, brings: _BringsOf, batches: _Batches) -> None:
    """Put the entry's objects into the batches of its alias, and note why where that cannot be done."""
    for path in entry.paths:
        if entry.context:
            _fill_by_context(tree, path, entry, brings, batches)
            continue
        batch = batches.batch({})
        unbuilt: list[tuple[int, Json]] = []
        for index, place in enumerate(collect(tree.root, path)):
            if entry.types and place.get("__typename") not in entry.types:
                if "__typename" not in place:
                    unbuilt.append((index, place))
                continue
            representation = _first_buildable(place, entry)
            if representation is None:
                unbuilt.append((index, place))
            else:
                batch.add(place, representation)
        trails = collect_trails(tree.root, path) if unbuilt and tree.absences else []
        for index, place in unbuilt:
            _note_unbuildable(tree, place, trails[index][1] if trails else (), entry, brings)


def _first_buildable(place: Json, entry: Entry) -> Json | None:
    representation = represent(place, entry.representation)
    if representation is None and entry.fallbacks:
        built = (represent(place, fallback) for fallback in entry.fallbacks)
        representation = next((item for item in built if item is not None), None)
    return representation


def _note_unbuildable(tree: MergedTree, place: Json, trail: Trail, entry: Entry, brings: _BringsOf) -> None:
    """The fields are absent for the reason for which their inputs are; a null key is no error.

    Where no reason is known there is nothing to pass on: the object may be one whose fields a condition leaves out.
    """
    missing = missing_trail(place, entry.representation)
    if missing is None:
        tree.add_absence(place, brings())
        return
    _pass_on(tree, place, brings, tree.explain((*trail, *missing)))


def _pass_on(tree: MergedTree, place: Json, brings: _BringsOf, absence: Absence | None) -> None:
    """What is missing here is missing for a reason that is known; an error keeps the field that it is about."""
    if absence is not None:
        tree.add_absence(place, brings(), absence.errors, absence.paths if absence.place is place else ())


def _fill_by_context(tree: MergedTree, path: Path, entry: Entry, brings: _BringsOf, batches: _Batches) -> None:
    for place, trail in collect_trails(tree.root, path):
        if entry.types and place.get("__typename") not in entry.types:
            if "__typename" not in place:
                _note_unbuildable(tree, place, trail, entry, brings)
            continue
        values: Json = {}
        missing: Trail | None = None
        for argument in entry.context:
            values[argument.variable], absent = context_value(place, trail, argument)
            missing = missing or absent
        representation = _first_buildable(place, entry)
        if missing is not None:
            _pass_on(tree, place, brings, tree.explain(missing))
        elif representation is None:
            _note_unbuildable(tree, place, trail, entry, brings)
        else:
            batches.batch(values).add(place, representation)


def _variants(batches: Sequence[tuple[int, Batch]]) -> list[Variant]:
    variants = []
    for _, batch in batches:
        entry = batch.entry
        if batch.alias != entry.alias:
            suffix = batch.alias[len(entry.alias) :]
            names = (entry.variable, *(argument.variable for argument in entry.context))
            variants.append(Variant(entry.alias, batch.alias, {name: name + suffix for name in names}))
    return variants


# ---- after the response ----


def fail(tree: MergedTree, asked: Ask, errors: Sequence[AnswerError]) -> None:
    """Nothing came back: every object that waited lacks its keys for the same reason."""
    for index, batch in asked.batches:
        brings = asked.prepared.brings_of(index)
        for place in batch.places():
            tree.add_absence(place, brings, tuple(errors))


def absorb(tree: MergedTree, asked: Ask, payload: object, *, errors_max: int) -> None:
    """Merge what a subgraph answered; errors in it are kept with their places, up to `errors_max`."""
    failure = whole_failure(asked.prepared, payload, errors_max=errors_max)
    if failure is not None:
        fail(tree, asked, failure)
        return
    assert isinstance(payload, dict)
    errors = _read_errors(payload["errors"], asked.prepared.fetch.subgraph, errors_max) if payload.get("errors") else []
    data = payload.get("data")
    if not isinstance(data, dict):
        _absorb_no_root(tree, asked, data, errors)
    elif asked.prepared.is_entity_fetch:
        _absorb_entities(tree, asked, data, errors)
    else:
        _absorb_root(tree, asked, data, errors)


def whole_failure(prepared: PreparedFetch, payload: object, *, errors_max: int) -> tuple[AnswerError, ...] | None:
    """Why nothing came for any object, as if the subgraph had not been reached; None where something did.

    Of a request at the root without data the errors may have places, which `absorb` looks for.
    """
    subgraph = prepared.fetch.subgraph
    if not isinstance(payload, dict) or not ("data" in payload or payload.get("errors")):
        return (_malformed(subgraph),)
    data = payload.get("data")
    if not prepared.is_entity_fetch or isinstance(data, dict):
        return None
    errors = [error for _, error in _read_errors(payload.get("errors"), subgraph, errors_max)]
    return tuple(errors) if data is None and errors else (*errors, _malformed(subgraph))


_Located = tuple[tuple[PathKey, ...], AnswerError]
"""A subgraph's error and its path in the subgraph's own answer; empty where it has none."""


def _read_errors(errors: object, subgraph: str, errors_max: int) -> list[_Located]:
    """The errors' messages, paths and extensions; their places in the subgraph's operation are nothing to clients.

    Of more than `errors_max`, which no answer would show, one says how many they are.
    """
    found: list[_Located] = []
    if not isinstance(errors, list):
        return found
    left_out = len(errors) - errors_max + 1 if len(errors) > errors_max else 0
    if left_out:
        text = ClientText(f"The subgraph reported {left_out:,} errors more.")
        found.append(((), AnswerError(ErrorCode.SUBGRAPH_ERROR, text, subgraph=subgraph)))
    for item in errors[: len(errors) - left_out]:
        if not isinstance(item, dict):
            continue
        message = item.get("message")
        path = item.get("path")
        extensions = item.get("extensions")
        code = extensions.get("code") if isinstance(extensions, dict) else None
        error = AnswerError(
            ErrorCode.SUBGRAPH_ERROR,
            ClientText(message) if isinstance(message, str) else ErrorCode.SUBGRAPH_ERROR.text,
            subgraph=subgraph,
            own_code=code if isinstance(code, str) else None,
            own_extensions=_for_clients(extensions) if isinstance(extensions, dict) else None,
        )
        keys = path if isinstance(path, list) else []
        usable = all(isinstance(key, str | int) and not isinstance(key, bool) for key in keys)
        found.append((tuple(keys) if usable else (), error))
    return found


_INTERNAL_EXTENSIONS: Final = frozenset({"exception", "stacktrace"})
"""What servers that are not in production mode put into extensions: never for clients."""


def _for_clients(extensions: Json) -> Json | None:
    """What clients may read of an error's extensions, its code apart; None where nothing is left."""
    shown = {key: value for key, value in extensions.items() if key not in _INTERNAL_EXTENSIONS and key != "code"}
    return shown or None


def _absorb_no_root(tree: MergedTree, asked: Ask, data: object, errors: list[_Located]) -> None:
    """`data` is null or no object: the whole request failed, and the subgraph may have said where."""
    if data is not None or not errors:
        errors = [*errors, ((), _malformed(asked.prepared.fetch.subgraph))]
    told = [(path, error) for path, error in errors if _locate_root_error(tree, asked, path, error)]
    fail(tree, asked, [error for path, error in errors if (path, error) not in told])


def _absorb_root(tree: MergedTree, asked: Ask, data: Json, errors: list[_Located]) -> None:
    for _, batch in asked.batches:
        result = data
        if batch.entry.keys:
            result = {new: copy_json(data[old]) for old, new in batch.entry.keys if old in data}
        _merge(tree, asked, batch.targets[0], result, shares=False)
    for path, error in errors:
        if not _locate_root_error(tree, asked, path, error):
            tree.located.append(LocatedError(asked.prepared.fetch.id, error))


def _locate_root_error(tree: MergedTree, asked: Ask, path: tuple[PathKey, ...], error: AnswerError) -> bool:
    """Keep a root fetch's error at every object that its path concerns; False where it concerns none."""
    found = False
    for index, batch in asked.batches:
        key = path[0] if path else None
        if batch.entry.keys:
            key = dict(batch.entry.keys).get(str(key))
        if key is None or key not in asked.prepared.brings_of(index).keys:
            continue
        found = True
        for place in batch.targets[0]:
            tree.located.append(LocatedError(asked.prepared.fetch.id, error, place, (key, *path[1:])))
    return found


def _absorb_entities(tree: MergedTree, asked: Ask, data: Json, errors: list[_Located]) -> None:
    aliases = {batch.alias for _, batch in asked.batches} if errors else set()
    homeless = [error for path, error in errors if not path or path[0] not in aliases]
    told = False
    for index, batch in asked.batches:
        mine = [(path, error) for path, error in errors if path and path[0] == batch.alias]
        if batch.representations:
            told = _absorb_batch(tree, asked, index, batch, data.get(batch.alias), mine, homeless) or told
    if not told:
        tree.located.extend(LocatedError(asked.prepared.fetch.id, error) for error in homeless)


def _absorb_batch(
    tree: MergedTree,
    asked: Ask,
    index: int,
    batch: Batch,
    items: object,
    errors: list[_Located],
    homeless: list[AnswerError],
) -> bool:
    """Merge one alias's list of entities; True where the errors without a place explained what is missing."""
    fetch = asked.prepared.fetch
    if not isinstance(items, list):
        own = [error for _, error in errors] or homeless or [_malformed(fetch.subgraph)]
        brings = asked.prepared.brings_of(index)
        for place in batch.places():
            tree.add_absence(place, brings, tuple(own))
        return own is homeless
    by_index: dict[PathKey, list[_Located]] = {}
    for path, error in errors:
        by_index.setdefault(path[1] if len(path) > 1 else 0, []).append((path, error))
    first = 0 if errors else _merge_plain(batch.targets, items, asked.prepared, index)
    shares = first < len(batch.targets) and asked.prepared.shares_results[index]
    for position in range(first, len(batch.targets)):
        targets = batch.targets[position]
        own_errors = by_index.get(position, []) if by_index else []
        item = items[position] if position < len(items) else _MISSING
        if isinstance(item, dict) and not shares and len(targets) > 1 and not tree.may_copy(item, len(targets) - 1):
            for place in targets:
                tree.add_absence(place, asked.prepared.brings_of(index), (_TOO_LARGE,))
        elif isinstance(item, dict):
            _merge(tree, asked, targets, item, shares=shares)
            if own_errors:
                _locate(tree, fetch.id, targets, own_errors)
        else:
            reasons = _why_no_entity(item, own_errors, fetch.subgraph)
            paths = tuple(path[2:] for path, _ in own_errors)
            for place in targets:
                tree.add_absence(place, asked.prepared.brings_of(index), reasons, paths if any(paths) else ())
    return False


def _merge_plain(targets: list[list[Json]], items: list[object], prepared: PreparedFetch, index: int) -> int:
    """Merge entities as long as nothing about them is out of the ordinary: each is there, brings only fields that are
    not, and needs no copy. Returns how many there were; with the rest `_absorb_batch` deals one by one."""
    done = 0
    for places, item in zip(targets, items, strict=False):  # a subgraph may have sent another number
        if type(item) is not dict or not (len(places) == 1 or prepared.shares_results[index]):
            break
        if len(places) == 1:
            place = places[0]
            if not place.keys().isdisjoint(item):
                break
            place.update(item)
        else:
            if not all(place.keys().isdisjoint(item) for place in places):
                break
            for place in places:
                place.update(item)
        done += 1
    return done


_MISSING = object()
_TOO_LARGE: Final = AnswerError(ErrorCode.ANSWER_TOO_LARGE, ErrorCode.ANSWER_TOO_LARGE.text)


def _why_no_entity(item: object, errors: list[_Located], subgraph: str) -> tuple[AnswerError, ...]:
    """An entity that does not exist is null and no error, unless the subgraph says more."""
    if errors:
        return tuple(error for _, error in errors)
    if item is None:
        return ()
    if item is _MISSING:
        missing = ErrorCode.SUBGRAPH_ENTITY_MISSING
        return (AnswerError(missing, missing.text, subgraph=subgraph),)
    return (_malformed(subgraph),)


def _locate(tree: MergedTree, fetch_id: int, targets: list[Json], errors: list[_Located]) -> None:
    for path, error in errors:
        tree.located.extend(LocatedError(fetch_id, error, place, path[2:]) for place in targets)


def _merge(tree: MergedTree, asked: Ask, targets: list[Json], result: Json, *, shares: bool) -> None:
    """Merge a result into every object that waited for it, into each its own copy unless they may share."""
    fetch = asked.prepared.fetch
    for count, place in enumerate(targets):
        fresh = result if shares or count == len(targets) - 1 else copy_json(result)
        assert isinstance(fresh, dict)
        if place.keys().isdisjoint(fresh):  # the common case, without a call
            place.update(fresh)
        elif not merge_response(place, fresh):
            text = ClientText("Two subgraphs answered the same list with different lengths.")
            tree.located.append(LocatedError(fetch.id, _malformed(fetch.subgraph, text), place))


def _malformed(subgraph: str, text: ClientText | None = None) -> AnswerError:
    code = ErrorCode.SUBGRAPH_RESPONSE_MALFORMED
    return AnswerError(code, text or code.text, subgraph=subgraph)


def skip(tree: MergedTree, prepared: PreparedFetch) -> None:
    """The fetch's condition does not hold: what it would have brought is missing, and there is nothing to tell."""
    for index, entry in enumerate(prepared.fetch.entries):
        _skip_entry(tree, entry, prepared.brings_of(index))


def _skip_entry(tree: MergedTree, entry: Entry, brings: Brings) -> None:
    for path in entry.paths:
        for place in collect(tree.root, path):
            tree.add_absence(place, brings)
