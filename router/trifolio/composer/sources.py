"""A subgraph as merging sees it, and which of its elements correspond to one another."""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

from trifolio.composer.diagnostics import Diagnostics
from trifolio.composer.schema import FieldDef, SubgraphSchema, TypeDef, has
from trifolio.composer.usage import Usage, usage_of

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Source:
    """One subgraph with what merging asks of it again and again."""

    schema: SubgraphSchema
    usage: Usage
    graph: str
    """Its value in the enum join__Graph."""

    @property
    def name(self) -> str:
        """The subgraph's name."""
        return self.schema.name

    def type(self, name: str) -> TypeDef | None:
        """A type of the subgraph."""
        return self.schema.types.get(name)

    def field(self, type_name: str, name: str) -> FieldDef | None:
        """A field of the subgraph."""
        found = self.schema.types.get(type_name)
        return found.fields.get(name) if found else None

    def is_external(self, type_name: str, name: str) -> bool:
        """Whether a field is only known about here (a @provides may resolve it on some path)."""
        return (type_name, name) in self.usage.external


@dataclass(frozen=True, slots=True)
class Merging:
    """What every merge function needs: all sources in the order of their names, and where to report."""

    sources: tuple[Source, ...]
    diagnostics: Diagnostics

    def types(self, name: str) -> list[tuple[Source, TypeDef]]:
        """The definitions of a type in the subgraphs that have it."""
        return [(source, found) for source in self.sources if (found := source.type(name))]

    def type_of(self, name: str) -> TypeDef | None:
        """A type as the first subgraph that has it defines it, with the fields of all of them."""
        found = [each for _, each in self.types(name)]
        fields = {key: one for each in reversed(found) for key, one in each.fields.items()}
        return replace(found[0], fields=fields) if found else None

    def fields(self, type_name: str, name: str) -> list[tuple[Source, FieldDef]]:
        """The definitions of a field in the subgraphs that have it."""
        return [(source, found) for source in self.sources if (found := source.field(type_name, name))]

    def names(self) -> tuple[str, ...]:
        """The names of all types, in the order in which the sources bring them."""
        return tuple(dict.fromkeys(name for source in self.sources for name in source.schema.types))

    def source(self, name: str) -> Source | None:
        """The source with a subgraph's name."""
        return next((source for source in self.sources if source.name == name), None)

    def interface_objects(self, type_name: str) -> list[tuple[Source, TypeDef]]:
        """The definitions of an interface in the subgraphs that have it as @interfaceObject."""
        return [(source, found) for source, found in self.types(type_name) if has(found, "interfaceObject")]


def sources_of(schemas: Iterable[SubgraphSchema]) -> tuple[Source, ...]:
    """Sources in the order of the subgraphs' names, which is the order of everything that merging makes."""
    ordered = sorted(schemas, key=lambda schema: schema.name)
    graphs = _graph_names([schema.name for schema in ordered])
    return tuple(Source(schema, usage_of(schema), graph) for schema, graph in zip(ordered, graphs, strict=True))


def _graph_names(names: list[str]) -> Iterator[str]:
    """Enum values for subgraph names: `my-products` -> `MY_PRODUCTS`, distinct also where names are alike.

    Join specification: a name that would end in `_` and digits gets a `_`, so that numbering cannot collide.
    """
    wanted = []
    for name in names:
        text = re.sub(r"[^A-Za-z0-9_]", "_", name).upper()
        text = f"_{text}" if text[:1].isdigit() else text
        wanted.append(f"{text}_" if re.search(r"_\d+$", text) else text)
    for index, text in enumerate(wanted):
        count = wanted[:index].count(text) + 1
        yield f"{text}_{count}" if wanted.count(text) > 1 else text


def in_order(pairs: Iterable[tuple[Source, T]], names: Callable[[T], Iterable[str]]) -> tuple[str, ...]:
    """The names that some part of the sources has, first come first."""
    return tuple(dict.fromkeys(name for _, each in pairs for name in names(each)))


def listed(names: Iterable[str]) -> str:
    """`"a"`, `"b" and "c"`: names for a message."""
    quoted = [f'"{name}"' for name in names]
    return " and ".join(filter(None, [", ".join(quoted[:-1]), quoted[-1]])) if quoted else ""


def subgraphs_listed(names: Iterable[str]) -> str:
    """`subgraph "a"` or `subgraphs "a" and "b"`."""
    chosen = list(dict.fromkeys(names))
    return f"subgraph{'s' if len(chosen) != 1 else ''} {listed(chosen)}"
