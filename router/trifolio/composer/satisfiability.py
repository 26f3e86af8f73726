"""Satisfiability: can everything that clients may ask be answered?

A walk from the root types down, over every object that clients can reach, with every way in which subgraphs can go on
there (see `reachability`). A stop of the walk is an object type together with the ways that led to it; a stop with more
ways than one already made needs no second look, so the walk is finite. A field that no way resolves is an error, shown
with a query that reaches it and, for each subgraph that could go on, the reason why it cannot.

With progressive @override the walk is made with labels on and off, since both kinds of requests must be answered.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Final

from trifolio.composer.diagnostics import Code, Diagnostics
from trifolio.composer.reachability import Contexts, Reachability, Reachable, Target, Way
from trifolio.composer.sources import Merging, listed
from trifolio.query_graph import EntryPoint, query_graph
from trifolio.selections import SelectedField, field_set_text
from trifolio.supergraph import CompositeType, Field, Supergraph

LABELS_COMBINED_MAX: Final = 4
"""Up to so many override labels all combinations are walked (16); beyond, none, each alone, and all together."""

ERRORS_MAX: Final = 50
"""Unsatisfiable fields reported; further ones are mostly the same cause met elsewhere."""


@dataclass(frozen=True, slots=True)
class Hop:
    """One field on the way from the root, and the runtime type of the object that it led to."""

    parent: str
    field: Field
    runtime_type: str | None


@dataclass(frozen=True, slots=True)
class Stop:
    """An object that a client's query can reach."""

    type_name: str
    ways: frozenset[Way]
    contexts: Contexts
    kind: str
    path: tuple[Hop, ...] = ()


def check_satisfiability(merging: Merging, supergraph: Supergraph) -> bool:
    """Report every field of the API schema that some query reaches and no subgraph can resolve there; True where there
    is none."""
    reported: set[tuple[str, str]] = set()
    for labels in _label_sets(supergraph.labels):
        _Walk(merging, supergraph, labels, reported).run()
    return not merging.diagnostics.has_errors


def _label_sets(labels: frozenset[str]) -> Iterator[frozenset[str]]:
    names = sorted(labels)
    sizes = range(len(names) + 1) if len(names) <= LABELS_COMBINED_MAX else sorted({0, 1, len(names)})
    for size in sizes:
        for chosen in combinations(names, size):
            yield frozenset(chosen)


class _Walk:
    """One walk over the API schema; a class because the queue and what was seen live as long as the walk."""

    def __init__(
        self, merging: Merging, supergraph: Supergraph, labels: frozenset[str], reported: set[tuple[str, str]]
    ) -> None:
        self.merging = merging
        self.supergraph = supergraph
        self.labels = labels
        self.reachability = Reachability(query_graph(supergraph, labels))
        self.reported = reported
        self.seen: dict[str, list[tuple[frozenset[Way], Contexts]]] = {}
        self.queue: deque[Stop] = deque()

    def run(self) -> None:
        """Walk everything, reporting as it goes."""
        for kind, name in self.supergraph.roots.items():
            if self.supergraph.types[name].inaccessible:
                continue
            subgraphs = self.supergraph.types[name].subgraphs
            self.queue.append(Stop(name, frozenset(Way(each, name) for each in subgraphs), frozenset(), kind))
        self.walk_on()

    def walk_on(self) -> None:
        """Walk what the queue leads to."""
        while self.queue:
            stop = self.queue.popleft()
            if not self._is_covered(stop):
                self._visit(stop)

    def _is_covered(self, stop: Stop) -> bool:
        """Whether there was a stop with fewer or the same means already; if not, this one is remembered."""
        seen = self.seen.setdefault(stop.type_name, [])
        if any(ways <= stop.ways and contexts <= stop.contexts for ways, contexts in seen):
            return True
        seen.append((stop.ways, stop.contexts))
        return False

    def _visit(self, stop: Stop) -> None:
        reachable = self.reachability.at(stop.type_name, stop.ways, stop.contexts)
        if not reachable.typed:
            self._report_untyped(stop)
            return
        for field in self.supergraph.types[stop.type_name].fields.values():
            if field.inaccessible:
                continue
            targets = self.reachability.targets(reachable, stop.type_name, field.name)
            if not targets:
                self._report(stop, reachable, field)
            elif field.type.name in self.supergraph.types and self._check_shared_types(stop, field, targets):
                if stop.kind == "mutation" and not stop.path and len(targets) > 1:
                    self._check_mutation(stop, field, targets)
                else:
                    self.go_on(stop, field, targets)

    def go_on(self, stop: Stop, field: Field, targets: tuple[Target, ...]) -> None:
        """Remember the places that a field leads to, among those that clients can see."""
        contexts = self.reachability.below(stop.type_name, stop.contexts)
        target = self.supergraph.types[field.type.name]
        for name in target.possible_types:
            if self.supergraph.types[name].inaccessible:
                continue
            ways = self.reachability.arrivals(targets, name)
            if ways:
                hop = Hop(stop.type_name, field, name if target.is_abstract else None)
                self.queue.append(Stop(name, ways, contexts, stop.kind, (*stop.path, hop)))

    # ---- shared mutations ----

    def _check_mutation(self, stop: Stop, field: Field, targets: tuple[Target, ...]) -> None:
        """A mutation is run once, by one of its subgraphs: from one of them, everything below has to be had."""
        failures: list[str] = []
        for target in sorted(targets, key=lambda target: (target.subgraph, target.type_name)):
            merging = replace(self.merging, diagnostics=Diagnostics())
            alone = _Walk(merging, self.supergraph, self.labels, set())
            alone.go_on(stop, field, (target,))
            alone.walk_on()
            if not merging.diagnostics.has_errors:
                return
            failures.append(f'if subgraph "{target.subgraph}" runs it:')
            failures += [each.message for each in merging.diagnostics.in_order() if each.severity == "error"][:1]
        coordinate = f"{stop.type_name}.{field.name}"
        if (stop.type_name, field.name) in self.reported:
            return
        self.reported.add((stop.type_name, field.name))
        message = (
            f'Mutation "{coordinate}" must not be run twice, but no subgraph that has it can complete its answer '
            "without another one that runs it. Give the types below a @key.\n" + "\n".join(failures)
        )
        places = [(source.name, found.node) for source, found in self.merging.fields(stop.type_name, field.name)]
        self.merging.diagnostics.add(Code.SATISFIABILITY_ERROR, message, places)

    # ---- shared fields of abstract types ----

    def _check_shared_types(self, stop: Stop, field: Field, targets: tuple[Target, ...]) -> bool:
        """Subgraphs that share a field have to have a runtime type of it in common: else the answer depends on whom
        the router asks. False where they have none."""
        coordinate = f"{stop.type_name}.{field.name}"
        if not self.supergraph.types[field.type.name].is_abstract:
            return True
        graph = self.reachability.graph
        possible = {
            target.subgraph: graph.possible_types(target.subgraph, target.type_name)
            for target in sorted(targets, key=lambda target: (target.subgraph, target.type_name))
            if not graph.is_interface_object(target.subgraph, target.type_name)
        }
        abstract = {each.subgraph for each in targets if self.supergraph.types[each.type_name].is_abstract}
        if len(possible.keys() & abstract) < 2 or len(set(possible.values())) == 1:
            return True
        common = frozenset.intersection(*possible.values())
        if (coordinate, "types") in self.reported:
            return bool(common)
        self.reported.add((coordinate, "types"))
        spelled = ", ".join(f'{listed(sorted(names)) or "none"} in "{name}"' for name, names in possible.items())
        places = [
            (source.name, found.node)
            for source, found in self.merging.fields(stop.type_name, field.name)
            if source.name in possible
        ]
        if common:
            message = f'Shared field "{coordinate}" can return different types: {spelled}.'
            code = Code.INCONSISTENT_RUNTIME_TYPES_FOR_SHAREABLE_RETURN
        else:
            message = f'Shared field "{coordinate}" has no possible type that all its subgraphs can return: {spelled}.'
            code = Code.SHAREABLE_HAS_MISMATCHED_RUNTIME_TYPES
        self.merging.diagnostics.add(code, message, places)
        return bool(common)

    # ---- reporting ----

    def _report_untyped(self, stop: Stop) -> None:
        names = sorted({way.on for way in stop.ways})
        if (names[0], "__typename") in self.reported:
            return
        self.reported.add((names[0], "__typename"))
        subgraphs = sorted({way.subgraph for way in stop.ways})
        reasons = []
        for name in subgraphs:
            reasons.append(f'- from subgraph "{name}":')
            reasons.append(f'  - cannot find the runtime type: "{names[0]}" is an @interfaceObject there.')
            reasons += [
                f'  - cannot move to subgraph "{other}", which has interface "{names[0]}", because it has no @key '
                "there that can be resolved."
                for other in sorted(self.supergraph.types[names[0]].subgraphs)
                if other not in subgraphs
            ]
        self._add(stop, "__typename", reasons)

    def _report(self, stop: Stop, reachable: Reachable, field: Field) -> None:
        if (stop.type_name, field.name) in self.reported:
            return
        self.reported.add((stop.type_name, field.name))
        reasons: list[str] = []
        for subgraph in sorted({way.subgraph for way in reachable.ways}):
            reasons.append(f'- from subgraph "{subgraph}":')
            reasons += [f"  - {reason}" for reason in _reasons(self.reachability, stop, reachable, field, subgraph)]
        self._add(stop, f"{field.name}{_arguments(field)}{_more(self.supergraph, field)}", reasons)

    def _add(self, stop: Stop, leaf: str, reasons: list[str]) -> None:
        if len(self.reported) > ERRORS_MAX:
            return
        owners = [
            (source.name, found.node) for source, found in self.merging.fields(stop.type_name, leaf.split("(")[0])
        ]
        owners = owners or [(source.name, found.node) for source, found in self.merging.types(stop.type_name)]
        message = (
            f"The following query cannot be answered by the subgraphs:\n{_witness(stop, leaf)}\nbecause:\n"
            + "\n".join(reasons)
        )
        self.merging.diagnostics.add(Code.SATISFIABILITY_ERROR, message, owners)


def _reasons(
    reachability: Reachability, stop: Stop, reachable: Reachable, field: Field, subgraph: str
) -> Iterator[str]:
    """Why a subgraph at a stop cannot resolve a field, itself or by moving to one that does."""
    coordinate = f"{stop.type_name}.{field.name}"
    owners = reachability.subgraphs_with(stop.type_name, field.name)
    here = {way.subgraph for way in reachable.ways}
    if subgraph in owners:
        requiring = reachability.graph.requiring(subgraph, owners[subgraph]).get(field.name)
        needed = field_set_text(requiring.requires) if requiring else ""
        yield f'cannot satisfy the @requires(fields: "{needed}") of field "{coordinate}".'
    else:
        yield f'cannot find field "{coordinate}".'
    for owner in sorted(owners):
        if owner in here:
            continue
        entries = [entry for entry in reachability.graph.entries(stop.type_name) if entry.subgraph == owner]
        moving = f'cannot move to subgraph "{owner}", which has field "{coordinate}", because'
        if not entries:
            yield f'{moving} type "{stop.type_name}" has no resolvable @key there.'
        for entry in entries:
            lacking = _lacking(reachability, stop, reachable, entry)
            yield f'{moving} its key "{field_set_text(entry.key)}" {lacking}.'


def _lacking(reachability: Reachability, stop: Stop, reachable: Reachable, entry: EntryPoint) -> str:
    """What of a key cannot be had, for a message."""
    if not reachability.is_open(entry, reachable):
        return "can be used only for objects whose runtime type is known"
    for node in entry.key:
        if isinstance(node, SelectedField) and not reachability.has_all(
            stop.type_name, reachable, (node,), stop.contexts
        ):
            return f'needs "{stop.type_name}.{field_set_text((node,))}", which cannot be had here'
    return "cannot be had here without that subgraph itself"


# ---- the witness ----


def _witness(stop: Stop, leaf: str) -> str:
    """A query that reaches a stop and asks `leaf` there."""
    lines = [stop.kind if stop.kind != "query" else ""]
    lines[0] = f"{lines[0]} {{".lstrip()
    closing = ["}"]
    for hop in stop.path:
        indent = "  " * len(closing)
        lines.append(f"{indent}{hop.field.name}{_arguments(hop.field)} {{")
        closing.append(indent + "}")
        if hop.runtime_type is not None:
            indent = "  " * len(closing)
            lines.append(f"{indent}... on {hop.runtime_type} {{")
            closing.append(indent + "}")
    lines.append(f"{'  ' * len(closing)}{leaf}")
    return "\n".join([*lines, *reversed(closing)])


def _arguments(field: Field) -> str:
    """Placeholders for the arguments that have to be given."""
    required = [(name, each) for name, each in field.arguments.items() if each.non_null[0]]
    return f"({', '.join(f'{name}: <any {each.name}>' for name, each in required)})" if required else ""


def _more(supergraph: Supergraph, field: Field) -> str:
    found: CompositeType | None = supergraph.types.get(field.type.name)
    return " { ... }" if found is not None else ""
